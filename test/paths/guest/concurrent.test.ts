/**
 * With a thread of its own: the device rewrites the ring while the driver is in the middle of it. What
 * was checked must be what is used, every mbuf stays in exactly one place, and a packet lies inside its buffers.
 */
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { layoutOf, type RxPathName, type TxPathName } from '../../../paths/guest/queue.js';
import { destroyFixtureRegion, type GuestFixture } from '../../support/guest-fixture.js';
import { inspect, mbufsAtDevice, restart, rxCase, txCase } from '../support/hostile.js';
import { ifSimd } from '../../support/simd-here.js';
import type { LiarData } from './support/liar.js';

test.after.always(destroyFixtureRegion);

const POLLS = 20_000;

/** Calls `poll` again and again while the liar is at work: until `enough`, for it may have to wait for a CPU. */
async function under(
  t: ExecutionContext,
  { spec, pool }: GuestFixture,
  poll: () => void,
  enough: () => boolean,
): Promise<void> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const workerData: LiarData = {
    address: spec.mapping.address,
    byteLength: spec.mapping.byteLength,
    stop,
    packed: spec.packed,
    size: spec.size,
    ringOff: spec.ringOff,
    usedOff: spec.ringOff + layoutOf(spec).device,
    numBuffersOffs: Array.from({ length: pool.count }, (_, m) => pool.bufOff(m) + pool.headroom - 2),
  };
  const worker = new Worker(new URL('./support/liar.js', import.meta.url), { workerData });
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  t.teardown(async () => void (await worker.terminate()));
  while (Atomics.load(stop, 0) === 0) await new Promise((resolve) => setImmediate(resolve));
  const deadline = Date.now() + 60_000;
  for (let i = 0; i < POLLS || (!enough() && Date.now() < deadline); i++) poll();
  Atomics.store(stop, 0, 2);
  await exited;
}

for (const [path, mergeable] of [
  ['virtio_recv_pkts', false],
  ['virtio_recv_mergeable_pkts', true],
  ['virtio_recv_pkts_inorder', true],
  ['virtio_recv_pkts_packed', false],
  ['virtio_recv_mergeable_pkts_packed', true],
  ...ifSimd(['virtio_recv_pkts_vec', false] as const, ['virtio_recv_pkts_packed_vec', false] as const),
] as const satisfies readonly (readonly [RxPathName, boolean])[]) {
  test.serial(`${path}: a thread rewrites ring and headers while it is polled`, async (t) => {
    const { fixture, path: rx, pkts } = rxCase(path, { mergeable, size: 16, mbufs: 80 });
    const { pool } = fixture;
    let packets = 0;
    let resets = 0;
    const poll = () => {
      const n = rx.recv(pkts, 32);
      let held = 0;
      for (let i = 0; i < n; i++) held += inspect(t, fixture, pkts[i]!);
      if (pool.inUse() !== mbufsAtDevice(fixture) + held) t.fail(`${pool.inUse()} mbufs in use, ${held} received`);
      pool.freeBulk(pkts, 0, n);
      packets += n;
      if (fixture.broken === 0) return;
      resets++;
      restart(fixture);
      rx.fill();
    };
    await under(t, fixture, poll, () => packets > 0 && resets > 0);
    t.log(`${packets} packets, ${resets} resets`);
    t.true(packets > 0 && resets > 0, 'both happened');
    fixture.finish();
  });
}

for (const [path, inOrder] of [
  ['virtio_xmit_pkts', false],
  ['virtio_xmit_pkts_inorder', true],
  ['virtio_xmit_pkts_packed', false],
  ['virtio_xmit_pkts_packed', true],
  ...ifSimd(['virtio_xmit_pkts_packed_vec', true] as const),
] as const satisfies readonly (readonly [TxPathName, boolean])[]) {
  test.serial(`${path}${inOrder ? ' in order' : ''}: a thread rewrites the ring while it sends`, async (t) => {
    const { fixture, path: tx, send } = txCase(path, { inOrder, indirect: !inOrder, size: 16, mbufs: 80 });
    const { pool } = fixture;
    let resets = 0;
    const vectorized = path.endsWith('_vec');
    let round = 0;
    const poll = () => {
      send(1 + (vectorized ? 0 : round % 4)); // of one segment, as the SIMD code sends no others
      if (round++ % 16 === 0) tx.cleanup(); // else sending has to
      if (pool.inUse() !== mbufsAtDevice(fixture)) t.fail(`${pool.inUse()} mbufs in use`);
      if (fixture.broken === 0) return;
      resets++;
      restart(fixture);
    };
    await under(t, fixture, poll, () => resets > 0);
    t.log(`${resets} resets`);
    t.true(resets > 0, 'some lies were noticed');
    fixture.finish();
  });
}
