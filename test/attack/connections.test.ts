/**
 * Connections that never become devices, and lines that a peer can cause: places are given back, the program's memory and
 * output stay bounded, whether its output is read or not.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Attacker, footprint, startTarget, terminate, unharmed, Victim } from './support/attack.js';
import { eventually, sleep, temporaryDirectory } from '../support/peers.js';
import { root } from '../../tools/bench/common/peer.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('cc'));

/** A guest finds a place within this time while all are taken by connections that say nothing. */
const PLACE_MS = 10_000;

for (const mode of ['silent', 'slow']) {
  test.serial(`70 connections that are ${mode} keep nobody out for long`, async (t) => {
    t.timeout(180_000);
    const target = await startTarget(t, 'switch');
    const victim = await Victim.start(t, target.sockets);
    const before = footprint(target.peer.pid);
    const attack = new Attacker(t).ask(`flood ${target.sockets[0]} ${mode} ${PLACE_MS + 5000}`, PLACE_MS + 60_000);
    attack.catch(() => {}); // the test has failed before
    await sleep(2000);
    await unharmed(t, target, victim, 'the guest that was there');
    const late = new Attacker(t);
    const begun = performance.now();
    await eventually(
      'a place for another guest',
      () => late.all('close 0', `connect 0 ${target.sockets[0]}`, 'guest 0 split 256 0x1000000 0x150008000'),
      (answers) => answers.at(-1) === 'ok',
      PLACE_MS,
    );
    t.log(`another guest found its place after ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    t.regex(await late.ask('send 0 100 100'), /^ok sent 100/);
    await unharmed(t, target, victim, 'the guest that was there');
    await late.ask('close 0');
    process.kill(target.peer.pid, 0);
    t.log(await attack);
    await eventually(
      'descriptors',
      () => footprint(target.peer.pid).fds,
      (fds) => fds <= before.fds,
    );
    t.is(await terminate(target), 'exit code 0');
  });
}

const floods = [
  'features',
  'bases',
  'unknown',
  'flags',
  'refusals',
  'garbage',
  'descriptors',
  'guests',
  'restarts-split',
];
const FLOOD_MS = 1500;
/** Lines of this many bytes in all, for one flood: a burst and some lines a second. */
const OUTPUT_BYTES = 200_000;

test.serial('lines that a peer causes are limited', async (t) => {
  t.timeout(120_000);
  const target = await startTarget(t, 'switch');
  const victim = await Victim.start(t, target.sockets);
  const attacker = new Attacker(t);
  const much: string[] = [];
  for (const mode of floods) {
    const before = target.peer.output.length;
    const answer = await attacker.ask(`flood ${target.sockets[0]} ${mode} ${FLOOD_MS}`);
    await unharmed(t, target, victim, mode);
    const bytes = target.peer.output.length - before;
    t.log(`${mode}: ${answer.slice(3)} messages or connections, ${bytes} bytes of output`);
    if (bytes > OUTPUT_BYTES) much.push(`${mode}: ${bytes} bytes`);
  }
  t.deepEqual(much, []);
  t.is(await terminate(target), 'exit code 0');
});

/** vhost-switch whose output nobody reads. */
async function unread(t: ExecutionContext): Promise<{ pid: number; socket: string; ended: () => boolean }> {
  const socket = join(temporaryDirectory(t), 's');
  const args = ['--import', './tools/ts.mjs', 'tools/vhost-switch/main.ts', '--socket-file', socket, '--verbose'];
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  await eventually('a socket', () => existsSync(socket), Boolean, 60_000);
  return { pid: child.pid!, socket, ended: () => child.exitCode !== null || child.signalCode !== null };
}

test.serial('lines do not queue up behind an output that nobody reads', async (t) => {
  t.timeout(120_000);
  const { pid, socket, ended } = await unread(t);
  const victim = await Victim.start(t, [socket]);
  const attacker = new Attacker(t);
  await attacker.ask(`flood ${socket} features 300`);
  const before = footprint(pid).rss;
  for (const mode of floods) await attacker.ask(`flood ${socket} ${mode} ${FLOOD_MS}`);
  const after = footprint(pid).rss;
  t.log(`memory: ${before} MiB before, ${after} MiB after`);
  t.true(after < before + 64, `${before} MiB before, ${after} MiB after`);
  const { lost, wrong } = await victim.measure(300);
  t.deepEqual([lost, wrong, ended()], [0, 0, false]);
  process.kill(pid, 'SIGTERM');
  await eventually('the end', ended, Boolean, 15_000);
});
