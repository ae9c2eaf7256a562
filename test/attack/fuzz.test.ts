/**
 * Random messages, memory tables and rings against running programs: thousands of cases, the seed in the log
 * (VPMD_ATTACK_SEED repeats it). The program lives, the guest beside is unharmed, nothing is left behind.
 */
import { Attacker, footprint, startTarget, terminate, unharmed, Victim, type TargetKind } from './support/attack.js';
import { eventually } from '../support/peers.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('cc'));

const seed = Number(process.env['VPMD_ATTACK_SEED'] ?? Date.now() % 1_000_000);

const groups: readonly (readonly [mode: string, cases: number])[] = [
  ['messages', 6000],
  ['tables', 300],
  ['split', 20_000],
  ['packed', 20_000],
];

for (const kind of ['switch', 'library'] as const satisfies readonly TargetKind[]) {
  test.serial(`random messages, tables and rings do no harm to another guest of a ${kind}`, async (t) => {
    t.timeout(240_000);
    t.log(`seed ${seed}`);
    const target = await startTarget(t, kind);
    const victim = await Victim.start(t, target.sockets);
    const attacker = new Attacker(t);
    // once of everything before the baseline: code and lazily made things stay
    for (const [mode] of groups) await attacker.ask(`fuzz ${target.sockets[0]} ${mode} ${seed + 1} 10`);
    await victim.measure(200);
    const before = footprint(target.peer.pid);
    for (const [mode, cases] of groups) {
      const answer = await attacker.ask(`fuzz ${target.sockets[0]} ${mode} ${seed} ${cases}`, 120_000);
      t.log(`${mode}: ${answer}`);
      t.true(Number(/cases (\d+)/.exec(answer)?.[1]) >= cases, `${mode}: all cases were run`);
      t.regex(answer, / leaks 0$/, mode);
      await unharmed(t, target, victim, mode);
      await eventually(
        `descriptors and mappings after ${mode}`,
        () => footprint(target.peer.pid),
        ({ fds, maps }) => fds <= before.fds && maps <= before.maps,
      );
    }
    const after = footprint(target.peer.pid);
    t.log(`memory: ${before.rss} MiB before, ${after.rss} MiB after`);
    t.true(after.rss < before.rss + 256, 'memory stays bounded');
    t.is(await terminate(target), 'exit code 0');
  });
}
