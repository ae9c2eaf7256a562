/**
 * In one thread: between polls the device writes plausible lies and random bytes into the ring. Whatever comes of
 * it, every mbuf is in exactly one place and a received packet lies inside its buffers.
 */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { type RxPathName, type TxPathName } from '../../../paths/guest/queue.js';
import { destroyFixtureRegion, type GuestFixture } from '../../support/guest-fixture.js';
import { inspect, mbufsAtDevice, restart, rxCase, txCase } from '../support/hostile.js';
import { ifSimd } from '../../support/simd-here.js';

test.after.always(destroyFixtureRegion);

/** Deterministic, so that a failure can be repeated from its seed. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** One lie of the device. Most are nearly right: those get furthest. */
function lie(fixture: GuestFixture, random: (below: number) => number): void {
  const { spec, device } = fixture;
  const { view } = device;
  const id = random(8) === 0 ? random(0x10000) : random(spec.size + 1);
  const length = random(8) === 0 ? random(2 ** 31) * 2 : random(2100);
  const bytes = (spec.packed ? 4096 : 4096 + 8 * spec.size) + 8;
  switch (random(4)) {
    case 0: // a random byte anywhere in the ring
      view.setUint8(spec.ringOff + random(bytes), random(256));
      return;
    case 1: // num_buffers of whatever lies in the memory of the mbufs
      view.setUint16(fixture.pool.bufOff(random(fixture.pool.count)) + 128 - 2, random(5), true);
      return;
    default:
      if (spec.packed) {
        const { words } = fixture.state;
        fixture.packed.writeUsed(words[2]!, words[6]!, id, length, random(2) === 0); // USED_IDX, USED_WRAP
      } else {
        fixture.split.usedIdx = fixture.state.words[2]!;
        const count = random(4);
        for (let i = 0; i < count; i++) fixture.split.writeEntry(i, random(4) ? i + id : id, random(3) ? length : 100);
        fixture.split.advance(count);
      }
  }
}

const rounds = 300;

function fuzzRx(t: ExecutionContext, path: RxPathName, mergeable: boolean, seed: number): void {
  const random = randomNumbers(seed);
  const rx = rxCase(path, { mergeable, size: 16, nbDesc: 16 - random(4), mbufs: 80 });
  const { fixture, pkts } = rx;
  for (let round = 0; round < rounds; round++) {
    for (let lies = random(4); lies >= 0; lies--) lie(fixture, random);
    const n = rx.path.recv(pkts, 1 + random(64));
    let held = 0;
    for (let i = 0; i < n; i++) held += inspect(t, fixture, pkts[i]!);
    const inUse = fixture.pool.inUse();
    if (inUse !== mbufsAtDevice(fixture) + held) t.fail(`${inUse} in use, ${mbufsAtDevice(fixture)} + ${held} known`);
    fixture.pool.freeBulk(pkts, 0, n);
    if (fixture.broken !== 0) {
      restart(fixture);
      rx.path.fill();
    }
  }
  fixture.finish();
}

function fuzzTx(t: ExecutionContext, path: TxPathName, inOrder: boolean, seed: number): void {
  const random = randomNumbers(seed);
  const tx = txCase(path, { inOrder, indirect: random(2) === 0, size: 16, nbDesc: 16 - random(4), mbufs: 80 });
  const { fixture } = tx;
  for (let round = 0; round < rounds; round++) {
    for (let sends = random(4); sends > 0; sends--) tx.send(1 + random(4));
    for (let lies = random(3); lies >= 0; lies--) lie(fixture, random);
    if (random(2) === 0) tx.path.cleanup(); // else sending has to
    const inUse = fixture.pool.inUse();
    if (inUse !== mbufsAtDevice(fixture)) t.fail(`${inUse} in use, ${mbufsAtDevice(fixture)} known`);
    if (fixture.broken !== 0) restart(fixture);
  }
  fixture.finish();
}

function fuzz(t: ExecutionContext, run: (seed: number) => void): void {
  fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), run), {
    numRuns: 150,
    includeErrorInReport: true,
    endOnFailure: true,
  });
  t.pass();
}

for (const [path, mergeable] of [
  ['virtio_recv_pkts', false],
  ['virtio_recv_mergeable_pkts', true],
  ['virtio_recv_pkts_inorder', false],
  ['virtio_recv_pkts_inorder', true],
  ['virtio_recv_pkts_packed', false],
  ['virtio_recv_mergeable_pkts_packed', true],
  ...ifSimd(['virtio_recv_pkts_vec', false] as const, ['virtio_recv_pkts_packed_vec', false] as const),
] as const) {
  test(`${path}${mergeable ? ' mergeable' : ''}: lies and random bytes between polls`, (t) => {
    fuzz(t, (seed) => fuzzRx(t, path, mergeable, seed));
  });
}

for (const [path, inOrder] of [
  ['virtio_xmit_pkts', false],
  ['virtio_xmit_pkts_inorder', true],
  ['virtio_xmit_pkts_packed', false],
  ['virtio_xmit_pkts_packed', true],
  ...ifSimd(['virtio_xmit_pkts_packed_vec', true] as const),
] as const) {
  test(`${path}${inOrder ? ' in order' : ''}: lies and random bytes between bursts`, (t) => {
    fuzz(t, (seed) => fuzzTx(t, path, inOrder, seed));
  });
}
