/** Every command of dpdk-testpmd: supported, or one sentence with the reason; and what is said of lines that are none. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import test from 'ava';
import { grammar } from '../../../tools/testpmd/commands/index.js';
import { explain } from '../../../tools/testpmd/commands/explain.js';
import { splitWords } from '../../../tools/testpmd/commands/grammar.js';
import { parseAppOptions } from '../../../tools/testpmd/options/app-options.js';
import { whyUnsupported } from '../../../tools/testpmd/commands/unsupported.js';
import { startTestpmd } from '../../support/testpmd-process.js';

const commands = readFileSync(new URL('./support/dpdk-commands.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

/** What is printed of a line that is no command; undefined of one that is. */
function answer(line: string): string | undefined {
  const parsed = grammar.parse(line);
  return parsed.kind === 'command' ? undefined : explain(line, parsed);
}

test('each command of dpdk-testpmd is a command here, or gets one sentence with the reason', (t) => {
  t.true(commands.length > 400);
  for (const line of commands) {
    const text = answer(line);
    if (text === undefined) continue;
    t.regex(text, /^[^\n]+ is not supported: [^\n]{10,}$/, line);
    t.true(line.startsWith(text.slice(0, text.indexOf(' is not supported'))), text);
  }
});

test('a slip in a supported command is told as one', (t) => {
  t.is(answer('show port stats'), 'Bad arguments\n  show port (info|stats|xstats) (port_id|all)');
  t.is(
    answer('set burst x'),
    'Bad arguments\n  set burst (packets)\n  set burst tx delay (microseconds) retry (retries)',
  );
  t.is(answer('port config mtu 0 99999'), 'Bad arguments\n  port config mtu (port_id) (mtu)');
});

const answers: readonly [line: string, text: string | RegExp][] = [
  ['foo bar', 'Command not found'],
  ['tos show 0', 'Command not found\n  did you mean tso?'],
  ['shwo port info 0', 'Command not found\n  did you mean show?'],
  ['set', /^Bad arguments\n {2}set what\? One of allmulti, burst, .*verbose \(help all\)$/],
  ['set fdw io', 'Bad arguments\n  there is no set fdw: did you mean set fwd?'],
  ['set something 3', 'Bad arguments\n  there is no set something: help all lists the commands'],
  ['set burst', 'Bad arguments\n  set burst (packets)\n  set burst tx delay (microseconds) retry (retries)'],
  ['set txsplit on', /^set txsplit is not supported: /],
  ['set vf mac addr 0 0 00:11:22:33:44:55', 'set vf is not supported: ports here have no virtual functions to manage'],
  [
    'flow create 0 ingress pattern eth / end actions drop / end',
    'flow is not supported: ports here have no flow rules',
  ],
  ['set fwd noisy', /^set fwd noisy is not supported: /],
  ['port 0 rxq 1 stop', /^port 0 rxq is not supported: /],
];
for (const [line, text] of answers) {
  test(`answer: ${line}`, (t) => {
    if (typeof text === 'string') t.is(answer(line), text);
    else t.regex(answer(line)!, text);
  });
}

test('any line at all: a command, or a few short lines', (t) => {
  const words = fc.oneof(
    fc.constantFrom(...new Set(commands.flatMap((line) => splitWords(line)))),
    fc.string({ minLength: 1, maxLength: 8 }),
  );
  fc.assert(
    fc.property(fc.array(words, { minLength: 1, maxLength: 6 }), (some) => {
      const line = some.join(' ').trim();
      if (line === '') return;
      const text = answer(line);
      if (text !== undefined) t.true(text.split('\n').length <= 7, text);
    }),
    { numRuns: 2000 },
  );
});

test('forwarding modes that dpdk-testpmd has: the option says the same', (t) => {
  for (const mode of ['noisy', 'ieee1588', 'shared_rxq', 'shared-rxq', 'recycle_mbufs']) {
    const { message } = t.throws(() => parseAppOptions([`--forward-mode=${mode}`]), { code: 'EOPTION' });
    const why = whyUnsupported(['set', 'fwd', mode])!;
    t.is(message, `testpmd: --forward-mode=${mode} is not supported: ${why.split(': ')[1]}`);
  }
});

test.serial('through the program', async (t) => {
  const ours = await startTestpmd(t);
  await ours.waitFor(/testpmd> /, 30_000);
  await ours.ask('flow list 0', /flow is not supported: ports here have no flow rules\n/);
  await ours.ask('foo bar', /Command not found\n/);
  await ours.ask('set fwd foo', /Bad arguments\n/);
  const longest = Array<number>(256).fill(8).join(',');
  await ours.ask(`set txpkts ${longest}`, /Number of txpkt segments = 256 > 255 \(maximum items\)\n/);
  await ours.ask(
    `set txpkts ${Array<number>(40).fill(2000).join(',')}`,
    /total packet length=80000 > 65535 - give up\n/,
  );
  await ours.ask('port stop 0', /Done\n/);
  await ours.ask('port config all txd 32', /testpmd> /);
  await ours.ask(
    `set txpkts ${Array<number>(32).fill(8).join(',')}`,
    /nb segments per TX packets=32 >= nb_txd\(32\) - ignored\n/,
  );
  await ours.ask(`set txpkts ${Array<number>(31).fill(8).join(',')}`, /testpmd> /);
  await ours.ask('show config txpkts', /Number of segments: 31\n/);
  t.is(await ours.stop(), 'exit code 0');
});
