/**
 * With a thread of its own: the device rewrites net headers and packets in the middle of their being read. What comes
 * of a packet is anybody's guess, but it is one of the outcomes that there are, and no byte beside a packet changes.
 */
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import type { RxPathName } from '../../../../paths/guest/queue.js';
import { RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_NONE, RTE_MBUF_F_RX_LRO } from '../../../../paths/mbuf.js';
import { DROP_OFFLOAD, ERRORS, PACKETS } from '../../../../paths/stats.js';
import { destroyFixtureRegion, shape, type GuestFixture } from '../../../support/guest-fixture.js';
import { inspect } from '../../support/hostile.js';
import { ifSimd } from '../../../support/simd-here.js';
import type { OffloadLiarData } from './support/offload-liar.js';
import { buildPacket, plainRecipe } from '../../../support/offload-packets.js';
import { memoryOf, place, scramble } from '../../../support/offload-pool.js';
import { emptyHeader, NEEDS_CSUM } from '../../../support/offload-reference.js';
import { deliverOne, rxOffloadFixture } from './support/offload-rx.js';
import { requestFor, txOffloadFixture, writeRequest } from './support/offload-tx.js';

test.after.always(destroyFixtureRegion);

const LENGTH = 200;
const packet = buildPacket({ ...plainRecipe, payload: LENGTH - 54 });

/** Calls `poll` again and again while the liar is at work: until `enough`, for it may have to wait for a CPU. */
async function under(
  t: ExecutionContext,
  { spec, pool }: GuestFixture,
  poll: () => void,
  enough: () => boolean,
): Promise<void> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const { hdrSize } = spec;
  const { address, byteLength } = spec.mapping;
  const headers = Array.from({ length: pool.count }, (_, m) => pool.bufOff(m) + pool.headroom - hdrSize);
  const workerData: OffloadLiarData = { address, byteLength, stop, headers, hdrSize };
  const worker = new Worker(new URL('./support/offload-liar.js', import.meta.url), { workerData });
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  t.teardown(async () => void (await worker.terminate()));
  while (Atomics.load(stop, 0) === 0) await new Promise((resolve) => setImmediate(resolve));
  const deadline = Date.now() + 60_000;
  for (let i = 0; i < 3000 || (!enough() && Date.now() < deadline); i++) poll();
  Atomics.store(stop, 0, 2);
  await exited;
}

/** The memory but that of net headers and packets: in front of them, and behind. */
function surroundings({ pool, spec }: GuestFixture, packetLength: number): Uint8Array {
  const memory = memoryOf(pool);
  for (let m = 0; m < pool.count; m++) {
    const header = m * pool.stride + pool.headroom - spec.hdrSize;
    memory.fill(0, header, header + spec.hdrSize + packetLength);
  }
  return memory;
}

const outcomes = new Set([
  ...[0, RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_NONE],
  RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE,
]);

for (const path of [
  'virtio_recv_pkts',
  'virtio_recv_mergeable_pkts',
  'virtio_recv_pkts_inorder',
  'virtio_recv_pkts_packed',
  'virtio_recv_mergeable_pkts_packed',
  ...ifSimd('virtio_recv_pkts_packed_vec' as const),
] satisfies RxPathName[]) {
  test.serial(`${path}: a thread rewrites net headers and packets while they are read`, async (t) => {
    const fixture = rxOffloadFixture(shape(path, { size: 4, mbufs: 8, dataRoom: 512 }));
    const { pool } = fixture;
    scramble(pool, 1);
    const before = surroundings(fixture, LENGTH);
    const rx = fixture.openRx();
    rx.fill();
    const header = { ...emptyHeader, flags: NEEDS_CSUM, csumStart: 34, csumOffset: 16 };
    const seen = new Set<number | undefined>();
    await under(
      t,
      fixture,
      () => {
        const m = deliverOne(fixture, rx, packet.bytes, header);
        seen.add(m === undefined ? undefined : pool.olFlags[m]);
        if (m === undefined) return;
        if (!outcomes.has(pool.olFlags[m]!)) t.fail(`flags ${pool.olFlags[m]}`);
        inspect(t, fixture, m);
        pool.free(m);
      },
      () => seen.size > 2,
    );
    t.true(seen.size > 2, 'there were several outcomes');
    t.is(fixture.broken, 0);
    t.is(fixture.stat(ERRORS), fixture.stat(DROP_OFFLOAD));
    t.true(fixture.stat(PACKETS) > 0);
    t.true(Buffer.compare(surroundings(fixture, LENGTH), before) === 0, 'bytes beside the packets have changed');
    fixture.finish();
  });
}

test.serial('prepare: a thread rewrites the packet while its pseudo header is summed', async (t) => {
  const fixture = txOffloadFixture(shape('virtio_xmit_pkts', { mbufs: 4, dataRoom: 512 }), { csum: true, tso: true });
  const { pool } = fixture;
  scramble(pool, 2);
  const before = surroundings(fixture, LENGTH);
  const tx = fixture.openTx();
  const pkts = Uint32Array.of(place(pool, [packet.bytes]));
  const results = new Set<number>();
  let round = 0;
  await under(
    t,
    fixture,
    () => {
      const request = requestFor(packet, round++ & 1 ? 100 : 0);
      writeRequest(pool, pkts[0]!, request);
      results.add(tx.prepare(pkts, 1));
    },
    () => results.size === 2,
  );
  t.deepEqual([...results].sort(), [0, 1], 'there were lengths that cannot be, and others');
  t.true(Buffer.compare(surroundings(fixture, LENGTH), before) === 0, 'bytes beside the packet have changed');
  pool.free(pkts[0]!);
  fixture.finish();
});
