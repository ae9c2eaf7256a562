/** What a device sees first of a burst, it sees complete: a thread looks while another one fills the ring. */
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { helperStatus, type SimdIsa } from '../../../native/helper.js';
import { isTx, layoutOf, type RxPathName, type TxPathName } from '../../../paths/guest/queue.js';
import { packetFrom } from '../../../paths/mbuf.js';
import { destroyFixtureRegion, GuestFixture, packetBytes, shape } from '../../support/guest-fixture.js';
import type { StrictDeviceData } from './support/strict-device.js';

test.after.always(destroyFixtureRegion);

const SIZE = 256;
const BATCH = 64;
const ENOUGH = 20_000;
/** Words of the device's `control`, and what ends it. */
const [STATE, BATCHES, VIOLATIONS] = [0, 1, 2];
const STOP = 2;

/** Runs `poll` while the device is at work: for so many batches, or 5 seconds if it has to wait for a CPU. */
async function beside(t: ExecutionContext, { spec, pool }: GuestFixture, poll: () => void): Promise<void> {
  const control = new Int32Array(new SharedArrayBuffer(12));
  const layout = layoutOf(spec);
  const tx = isTx(spec);
  const workerData: StrictDeviceData = {
    mapping: { address: spec.mapping.address, byteLength: spec.mapping.byteLength },
    packed: spec.packed,
    tx,
    size: SIZE,
    desc: spec.ringOff + layout.desc,
    driver: spec.ringOff + layout.driver,
    device: spec.ringOff + layout.device,
    batch: BATCH,
    length: spec.hdrSize + (tx ? 64 : pool.dataRoom),
    usedLength: spec.hdrSize + 64,
    control,
  };
  const worker = new Worker(new URL('./support/strict-device.js', import.meta.url), { workerData });
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  t.teardown(async () => void (await worker.terminate()));
  while (Atomics.load(control, STATE) === 0) await new Promise((resolve) => setImmediate(resolve));
  const deadline = Date.now() + 5000;
  const batches = () => Atomics.load(control, BATCHES);
  while (batches() === 0 || (batches() < ENOUGH && Date.now() < deadline)) poll();
  Atomics.store(control, STATE, STOP);
  await exited;
  t.log(`${batches()} batches`);
  t.is(control[VIOLATIONS], 0, 'buffers that were shown before they were complete');
}

const isas = helperStatus().isas;
const forEachIsa = <P>(path: P): (readonly [P, SimdIsa])[] => isas.map((isa) => [path, isa] as const);

for (const [path, simd] of [
  ['virtio_recv_pkts', undefined],
  ['virtio_recv_pkts_packed', undefined],
  ...forEachIsa('virtio_recv_pkts_vec' as const),
  ...forEachIsa('virtio_recv_pkts_packed_vec' as const),
] as const satisfies readonly (readonly [RxPathName, SimdIsa | undefined])[]) {
  test.serial(
    `${path}${simd ? `, ${simd}` : ''}: the device sees no empty buffer before it is described`,
    async (t) => {
      const fixture = new GuestFixture(shape(path, { size: SIZE, simd, mbufs: 2 * SIZE }));
      const rx = fixture.openRx();
      const pkts = new Uint32Array(BATCH);
      rx.fill();
      await beside(t, fixture, () => fixture.pool.freeBulk(pkts, 0, rx.recv(pkts, BATCH)));
      t.is(fixture.broken, 0);
      fixture.finish();
    },
  );
}

for (const [path, simd] of [
  ['virtio_xmit_pkts_packed', undefined],
  ...forEachIsa('virtio_xmit_pkts_packed_vec' as const),
] as const satisfies readonly (readonly [TxPathName, SimdIsa | undefined])[]) {
  test.serial(`${path}${simd ? `, ${simd}` : ''}: the device sees no packet before it is described`, async (t) => {
    const fixture = new GuestFixture(shape(path, { size: SIZE, simd, mbufs: 2 * SIZE, inOrder: true }));
    const { pool } = fixture;
    const tx = fixture.openTx();
    const packet = packetBytes(1, 64);
    const pkts = new Uint32Array(BATCH);
    await beside(t, fixture, () => {
      if (tx.cleanup() < BATCH) return;
      for (let i = 0; i < BATCH; i++) pkts[i] = packetFrom(pool, packet);
      if (tx.xmit(pkts, BATCH) !== BATCH) t.fail('a burst was cut short');
    });
    t.is(fixture.broken, 0);
    fixture.finish();
  });
}
