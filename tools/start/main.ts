#!/usr/bin/env node
/** `npm start`: forwards packets through each of the eleven path recipes between two ports, and prints a table. */
import { featureName } from '../../driver/wire/virtio-features.js';
import { bitsOf } from '../../driver/virtio/features.js';
import { Ending } from '../common/ending.js';
import { runMain } from '../common/program.js';
import { RECIPES } from '../common/recipes.js';
import { formatTable, thousands } from '../common/table.js';
import { understandsEscapes } from '../common/terminal.js';
import { runRecipe, type Row } from './run.js';

const out = process.stdout;
const live = understandsEscapes();
const colours = live && !process.env['NO_COLOR'];
const green = (text: string) => (colours ? `\x1b[32m${text}\x1b[0m` : text);
const red = (text: string) => (colours ? `\x1b[31m${text}\x1b[0m` : text);
const clear = live ? '\r\x1b[K' : '';

const ending = new Ending('shell');

const said = new Set<string>();
/** Prints a line of the environment once, not once per row. */
function log(line: string): void {
  if (!said.has(line)) out.write(`${clear}${line}\n`);
  said.add(line);
}

const verdict = (row: Row) => (row.errors.length === 0 ? green('ok') : red(row.errors.join('; ')));

async function main(): Promise<number> {
  out.write('net_virtio_user and net_vhost, two ports of one process, one lcore each; 64-byte packets go round.\n');
  const rows: Row[] = [];
  for (const recipe of RECIPES) {
    const title = recipe.name.padEnd(29);
    const watch = (packets: number, mpps: number) => {
      if (live) out.write(`${clear}${title} ${mpps.toFixed(2)} Mpps  ${thousands(packets)} packets`);
    };
    const row = await runRecipe(recipe, watch, log, ending.signal);
    rows.push(row);
    out.write(`${clear}${title} ${row.mpps.toFixed(2)} Mpps  ${verdict(row)}\n`);
  }
  const head = ['Recipe', 'Rx callback', 'Tx callback', 'Features', 'Mpps', 'Packets', 'Verified', 'Errors'];
  const cells = rows.map((row) => [
    ...[row.recipe, row.rx, row.tx, `0x${row.acknowledged.toString(16)}`, row.mpps.toFixed(2)],
    ...[thousands(row.packets), thousands(row.verified), String(row.errors.length)],
  ]);
  out.write(`\n${formatTable(head, cells)}\n\nFeatures acknowledged:\n`);
  const acknowledged = rows.reduce((all, row) => all | row.acknowledged, 0n);
  for (const bit of bitsOf(acknowledged)) {
    out.write(`  0x${bit.toString(16).padEnd(10)} ${featureName(bit)}\n`);
  }
  return rows.every((row) => row.errors.length === 0) ? 0 : 1;
}

await runMain(async () => {
  try {
    return await main();
  } catch (error) {
    out.write(clear);
    if (!ending.signal.aborted) throw error;
    out.write('interrupted\n');
    return ending.exitCode;
  }
});
