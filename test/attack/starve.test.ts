/**
 * One guest makes work, another one's packets go on: the median of 64 packets there and back, quiet and under each attack.
 * The bounds are generous, since others may use the machine; the numbers are in the log.
 */
import type { ExecutionContext } from 'ava';
import { Attacker, startTarget, terminate, Victim, type Target, type TargetKind } from './support/attack.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('cc'));

const RING = 32768;
const MEMORY = 64 << 20;
const ALL = '0x170008000'; // MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1
const MEASURE_MS = 500;
/** What a victim may have to wait at most: so many times its quiet median, and never less than this bound. */
const TIMES = 50;
const FLOOR_US = 250_000;

const sends = ['small', 'big', 'many', 'zero', 'nothing', 'indirect', 'tablefull', 'each', 'runt', 'outside'];
const receives = [
  'tiny',
  'zero',
  'nothing',
  'indirect',
  'tablefull',
  'each',
  'many',
  'runt',
  'thin',
  'hopeless',
  'outside',
  'none',
];
/** What is sent, and with what room it is received. */
const modes = [
  ...sends.map((tx) => `${tx}/small`),
  ...receives.map((rx) => `big/${rx}`),
  'small/indirect',
  'small/zero',
];

async function quietly(t: ExecutionContext, target: Target): Promise<{ victim: Victim; quiet: number }> {
  const victim = await Victim.start(t, target.sockets.slice(-2), target.kind === 'client');
  await victim.measure(300);
  const { median } = await victim.measure(MEASURE_MS);
  return { victim, quiet: median };
}

/** Runs an attack beside a victim. @param command what the attacker does @returns what the victim suffered */
async function beside(
  t: ExecutionContext,
  { victim, quiet }: { victim: Victim; quiet: number },
  attacker: Attacker,
  name: string,
  command: string,
): Promise<string[]> {
  const attack = attacker.ask(`${command} ${MEASURE_MS + 300}`, 120_000);
  await new Promise((resolve) => setTimeout(resolve, 200));
  const seen = await victim.measure(MEASURE_MS);
  const answer = await attack;
  const times = (seen.median / quiet).toFixed(1);
  t.log(`${name}: ${seen.median} us, ${times} x quiet, max ${seen.max} us, lost ${seen.lost}; attacker: ${answer}`);
  t.regex(answer, /^ok/, name);
  const failures: string[] = [];
  if (seen.lost + seen.wrong > 0) failures.push(`${name}: ${seen.lost} packets lost, ${seen.wrong} wrong`);
  const bound = Math.max(FLOOR_US, TIMES * quiet);
  if (seen.median > bound) failures.push(`${name}: median of ${seen.median} us, quiet ${quiet} us`);
  const canary = await victim.canary();
  if (canary !== 'canary intact') failures.push(`${name}: ${canary}`);
  return failures;
}

for (const kind of ['switch', 'library'] as const satisfies readonly TargetKind[]) {
  for (const format of ['split', 'packed']) {
    test.serial(`a ${format} ring that makes work does not starve another guest of a ${kind}`, async (t) => {
      t.timeout(240_000);
      const target = await startTarget(t, kind);
      const measured = await quietly(t, target);
      t.log(`quiet: ${measured.quiet} us`);
      const attacker = new Attacker(t);
      const failures: string[] = [];
      // the library's rings are the switch's: those modes of it that cost most
      for (const mode of kind === 'switch'
        ? modes
        : modes.filter((one) => /indirect|table|many|hopeless|runt/.test(one))) {
        await attacker.ask(`connect 0 ${target.sockets[0]}`);
        t.is(await attacker.ask(`guest 0 ${format} ${RING} ${MEMORY} ${ALL}`), 'ok');
        failures.push(...(await beside(t, measured, attacker, `${format} ${mode}`, `starve 0 ${mode}`)));
        await attacker.ask('close 0');
      }
      t.deepEqual(failures, []);
      t.is(await terminate(target), 'exit code 0');
    });
  }
}

const floods = [
  ...['connects', 'questions', 'features', 'bases', 'unknown', 'flags', 'refusals', 'garbage', 'tables', 'tables-less'],
  ...['gigabytes', 'kicks', 'restarts-split', 'restarts-packed', 'guests', 'descriptors'],
];

test.serial('messages, connections and memory tables without measure do not starve another guest', async (t) => {
  t.timeout(240_000);
  const target = await startTarget(t, 'switch');
  const measured = await quietly(t, target);
  t.log(`quiet: ${measured.quiet} us`);
  const attacker = new Attacker(t);
  const failures: string[] = [];
  for (const mode of floods) {
    failures.push(...(await beside(t, measured, attacker, mode, `flood ${target.sockets[0]} ${mode}`)));
  }
  t.deepEqual(failures, []);
  t.is(await terminate(target), 'exit code 0');
});
