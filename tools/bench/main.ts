#!/usr/bin/env node
/**
 * `npm run bench -- [--recipe TEXT] [--pairs N] [--seconds N] [--json FILE]`: io forwarding of 64-byte packets, our
 * testpmd and DPDK's in turn, against the same DPDK vhost PMD. Best one-second window of each; the ratio is what counts.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname } from 'node:path';
import arg from 'arg';
import { RECIPES } from '../recipes.js';
import { formatTable, thousands } from '../table.js';
import { measure, type Measurement, type Side } from './run.js';

const options = arg({
  '--recipe': String,
  '--pairs': Number,
  '--seconds': Number,
  '--warm-up': Number,
  '--json': String,
});
const pairs = options['--pairs'] ?? 2;
const seconds = options['--seconds'] ?? 4;
const warmUpSeconds = options['--warm-up'] ?? 3;
const file = options['--json'] ?? 'bench-out/forwarding.json';
const wanted = options['--recipe'] ?? '';
const recipes = RECIPES.filter(({ name }) => name.includes(wanted));
if (recipes.length === 0) {
  console.error(
    `error[EOPTION]: no recipe has "${wanted}" in its name; there are: ${RECIPES.map((r) => r.name).join(', ')}`,
  );
  process.exit(2);
}

const best = (runs: readonly Measurement[]) => Math.max(...runs.flatMap((run) => run.windows));
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
const mpps = (pps: number) => (pps / 1e6).toFixed(3);
/** Packets that were not handed on, in parts per million of those received. */
const lossPpm = (runs: readonly Measurement[]) =>
  ((sum(runs.map((run) => run.dropped)) / sum(runs.map((run) => run.received))) * 1e6).toFixed(1);

const machine = { cpu: cpus()[0]?.model.trim() ?? 'unknown', cpus: cpus().length, node: process.version };
console.log(`io forwarding, 64 bytes, 1 queue pair; ${machine.cpu}, ${machine.cpus} CPUs, Node ${machine.node}`);

const all: Measurement[] = [];
const rows: string[][] = [];
for (const recipe of recipes) {
  for (let pair = 0; pair < pairs; pair++) {
    for (const side of ['ours', 'dpdk'] satisfies Side[]) {
      const result = await measure(recipe, side, { seconds, warmUpSeconds });
      all.push(result);
      const windows = result.windows.map(mpps).join(' ');
      const collections = result.collections === undefined ? '' : `, ${result.collections} garbage collections`;
      console.log(`${recipe.name}: ${side} ${windows} Mpps, ${thousands(result.dropped)} dropped${collections}`);
    }
  }
  const of = (side: Side) => all.filter((run) => run.recipe === recipe.name && run.side === side);
  const [ours, dpdk] = [best(of('ours')), best(of('dpdk'))];
  rows.push([
    ...[recipe.name, mpps(ours), mpps(dpdk), (ours / dpdk).toFixed(2), lossPpm(of('ours')), lossPpm(of('dpdk'))],
    String(sum(of('ours').map((run) => run.collections ?? 0))),
  ]);
}
console.log(
  `\n${formatTable(['Recipe', 'Ours Mpps', 'DPDK Mpps', 'Ratio', 'Ours ppm lost', 'DPDK ppm lost', 'GCs'], rows)}`,
);
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, `${JSON.stringify({ machine, pairs, seconds, warmUpSeconds, runs: all }, undefined, 2)}\n`);
console.log(`\n${file}`);
