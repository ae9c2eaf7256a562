/** What dpdk-testpmd itself says that it has: options are known here, commands are supported or refused with a reason. */
import { spawnSync } from 'node:child_process';
import { appTable } from '../../tools/testpmd/options/app-options.js';
import { grammar } from '../../tools/testpmd/commands/index.js';
import { ealTable } from '../../tools/common/eal-options.js';
import type { OptionTable } from '../../tools/common/parse.js';
import { whyUnsupported } from '../../tools/testpmd/commands/unsupported.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

function dpdk(args: readonly string[], input: string): string {
  const eal = ['--no-huge', '-m', '1024', '--no-pci', '--no-telemetry', `--file-prefix=commands-${process.pid}`];
  const { stdout } = spawnSync('dpdk-testpmd', [...eal, ...args], { input, encoding: 'utf8', timeout: 120_000 });
  return stdout;
}

/** Names of `  --name`, `  -x` and `  -x, --name` at the beginnings of lines. */
function optionsIn(help: string): string[] {
  return [...help.matchAll(/^ {2}(-[^ ].*)$/gm)].flatMap(([, line]) =>
    [...line!.matchAll(/(?:^|, | or )--?([a-zA-Z][a-z0-9-]*)/g)].map(([, name]) => name!),
  );
}

const unknownTo = ({ kinds, aliases }: OptionTable, names: readonly string[]) =>
  [...new Set(names)].filter((name) => !kinds.has(name) && aliases[name] === undefined);

test('every option that its help names is known', (t) => {
  const app = optionsIn(dpdk(['--vdev', 'net_null0', '--', '-h'], ''));
  t.true(app.length > 90, `${app.length} options`);
  t.deepEqual(unknownTo(appTable, app), []);
  const eal = optionsIn(dpdk(['-h'], ''));
  t.true(eal.length > 30, `${eal.length} options`);
  // a vdev driver's own help follows the EAL's
  t.deepEqual(unknownTo(ealTable, eal), []);
});

/** `set port <port_id> gro on|off` -> its words, once for each choice between words, with 0 for every argument. */
function linesOf(syntax: string): string[][] {
  // its help writes "update" and "delete" of two commands that begin with add and del
  const words = syntax.replace(/^add\/update/, 'add').replace(/^delete/, 'del').split(/: | \(|:\(/)[0]!.split(' '); // prettier-ignore
  const end = words.findIndex((word) => /^[[{.]/.test(word));
  let all: string[][] = [[]];
  for (const word of words.slice(0, end < 0 ? words.length : end)) {
    const choices = word.startsWith('<') ? ['0'] : word.replace(/[:,)]$/, '').split('|');
    all = all.flatMap((begun) => choices.map((choice) => [...begun, choice]));
  }
  return all;
}

test('every command that its ? names is supported, or refused with a reason', (t) => {
  // ^U takes the question mark's line away
  const listed = dpdk(['--vdev', 'net_null0', '--', '-i'], '?\u0015\nquit\n').replaceAll('\r', '');
  const syntaxes = [...listed.matchAll(/^ \S+ \[[^\]]*STRING\]: ([a-z].*)$/gm)].map(([, syntax]) => syntax!);
  t.true(syntaxes.length > 200, `${syntaxes.length} commands`);
  const missing = syntaxes.flatMap(linesOf).filter((words) => {
    const parsed = grammar.parse(words.join(' '));
    const fixed = words.indexOf('0') < 0 ? words.length : words.indexOf('0');
    const known = parsed.kind === 'command' || (parsed.kind === 'bad' && parsed.fits >= fixed);
    return !known && whyUnsupported(words) === undefined;
  });
  t.deepEqual(missing, []);
});
