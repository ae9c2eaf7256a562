/**
 * Descriptors whose close waits for their maker: the program closes them, and nobody waits; when many do not come back, those
 * that are connected go on.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Attacker, footprint, startTarget, terminate, unharmed, Victim, whyNoFuse } from './support/attack.js';
import { eventually, temporaryDirectory } from '../support/peers.js';
import { canGoOn, lacks, needs } from '../support/needs.js';

const test = needs(lacks('cc'));
const fuseTest = needs(lacks('cc') || whyNoFuse());

const FEATURES = '0x170008000'; // MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1
const MIB = 1 << 20;
const SECOND = 0x1_0000_0000;
const USER = 0x7f00_0000_0000;
/** A lingering socket waits for 20 s (kinds.c). */
const SOON_MS = 5000;

/** Requests of vhost-user, as 32-bit numbers and their payload in hexadecimal. */
const ring = '0000000000000000';
const requests = {
  SET_VRING_KICK: `12 0x9 ${ring}`,
  SET_VRING_CALL: `13 0x9 ${ring}`,
  SET_VRING_ERR: `14 0x9 ${ring}`,
  'SET_FEATURES, which has none': `2 0x9 ${ring}`,
  'an unknown request': `77 0x9 ${ring}`,
  'a request of the wrong version': `13 0x2 ${ring}`,
} as const;

/** `unharmed`, in good time: a program that waits for a close makes the victim wait. */
async function goesOn(t: ExecutionContext, scene: Parameters<typeof unharmed>, what: string): Promise<void> {
  const begun = performance.now();
  await unharmed(t, scene[1], scene[2], what);
  const ms = performance.now() - begun;
  t.true(ms < SOON_MS, `${what}: the victim's packets took ${ms.toFixed(0)} ms`);
}

for (const kind of ['switch', 'library'] as const) {
  test.serial(`sockets that linger, with every request, read and not read: ${kind}`, async (t) => {
    t.timeout(180_000);
    const target = await startTarget(t, kind);
    const victim = await Victim.start(t, target.sockets);
    const attacker = new Attacker(t);
    const before = footprint(target.peer.pid).fds;
    const scene = [t, target, victim, ''] as const;
    for (const [name, request] of Object.entries(requests)) {
      await attacker.all('close 0', `connect 0 ${target.sockets[0]}`, `handshake 0 ${FEATURES}`);
      await attacker.ask(`message 0 ${request} linger`);
      await goesOn(t, [...scene], name);
    }
    // behind a message that ends the connection: never read
    await attacker.all('close 0', `connect 0 ${target.sockets[0]}`, `handshake 0 ${FEATURES}`);
    const garbage = 'ffffffffffffffffffffffff';
    await attacker.all(`bytes 0 ${garbage}`, `message 0 ${requests.SET_VRING_CALL} linger linger`);
    await goesOn(t, [...scene], 'not read');
    // a burst: the second comes while the first is being refused
    for (let i = 0; i < 8; i++) {
      await attacker.all('close 0', `connect 0 ${target.sockets[0]}`);
      await attacker.ask(`message 0 ${requests['SET_FEATURES, which has none']} linger linger linger`);
      await attacker.ask(`message 0 ${requests.SET_VRING_CALL} linger`);
      await attacker.ask('close 0');
    }
    await goesOn(t, [...scene], 'many');
    attacker.peer.send('quit'); // the other ends: whoever lingers has nothing to wait for any more
    await eventually(
      'descriptors',
      () => footprint(target.peer.pid).fds,
      (fds) => fds <= before,
    );
    t.is(await terminate(target), 'exit code 0');
  });
}

fuseTest.serial('a FUSE file that never answers a close: refused, and nobody waits', async (t) => {
  const target = await startTarget(t, 'switch');
  const victim = await Victim.start(t, target.sockets);
  const attacker = new Attacker(t);
  const before = footprint(target.peer.pid).fds;
  const mount = join(temporaryDirectory(t), 'fuse');
  mkdirSync(mount);
  await attacker.all('close 0', `connect 0 ${target.sockets[0]}`, `handshake 0 ${FEATURES}`);
  const numbers = [SECOND, 4 * MIB, USER + SECOND, 0, 4 * MIB, 4096].map((n) => `0x${n.toString(16)}`).join(' ');
  const made = await attacker.ask(`fuse 0 ${numbers} ${mount}`);
  t.regex(made, /^ok/, 'FUSE');
  await attacker.ask('manners flush');
  const answer = await attacker.ask('table 0');
  t.true(['refused', 'closed'].includes(answer), answer);
  await goesOn(t, [t, target, victim, ''], 'a file that is not closed');
  t.true(footprint(target.peer.pid).fds > before, 'the close waits: in a thread of its own');
  attacker.peer.send('quit'); // and its file system
  await eventually(
    'descriptors',
    () => footprint(target.peer.pid).fds,
    (fds) => fds <= before,
  );
  t.is(await terminate(target), 'exit code 0');
});

test.serial(
  'descriptors that do not close, ever more: no connection more is taken, those that are there go on',
  async (t) => {
    t.timeout(120_000);
    const target = await startTarget(t, 'switch');
    const victim = await Victim.start(t, target.sockets);
    const attacker = new Attacker(t);
    for (let i = 0; i < 20; i++) {
      await attacker.all('close 0', `connect 0 ${target.sockets[0]}`);
      await attacker.ask(`message 0 ${requests.SET_VRING_CALL} linger linger linger`);
    }
    await target.peer.waitFor(/\d+ descriptors that came from peers do not close/, 30_000);
    t.true(footprint(target.peer.pid).fds < 120, 'what is not taken brings no descriptors');
    await goesOn(t, [t, target, victim, ''], 'no close comes back');
    const late = new Attacker(t);
    await late.ask(`connect 0 ${target.sockets[0]}`); // in the backlog
    attacker.peer.send('quit');
    t.is(await late.ask('guest 0 split 256 0x1000000 0x150008000'), 'ok');
    t.regex(await late.ask('send 0 100 100'), /^ok sent 100/);
    await goesOn(t, [t, target, victim, ''], 'afterwards');
    t.is(await terminate(target), 'exit code 0');
  },
);

test.serial('a guest of 2 GiB ends, and its memory is freed: the others do not wait for that', async (t) => {
  const target = await startTarget(t, 'switch');
  const victim = await Victim.start(t, target.sockets);
  const attacker = new Attacker(t);
  const before = footprint(target.peer.pid);
  await attacker.all(`connect 0 ${target.sockets[0]}`, `handshake 0 ${FEATURES}`, `memory 0 0x100000 ${64 * MIB}`);
  t.is(await attacker.ask(`memory 0 ${SECOND} ${2048 * MIB}`), 'ok 1');
  t.is(await attacker.ask('table 0'), 'ok');
  const left = await attacker.ask('leave 0 1');
  if (left !== 'ok' && !canGoOn(t, 'no 2 GiB of memory are free')) return; // known when they are taken
  const measured = victim.measure(1500);
  await attacker.ask('close 0');
  const { max, lost } = await measured;
  t.log(`the longest round of the other guest took ${max} us`);
  t.is(lost, 0);
  await eventually(
    'descriptors and mappings',
    () => footprint(target.peer.pid),
    ({ fds, maps }) => fds <= before.fds && maps <= before.maps,
  );
  t.is(await terminate(target), 'exit code 0');
});
