/** Frames of a ring whose other side writes anything: the kernel's side is this test, in memory of its own. */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { createEal } from '../../../driver/eal/eal.js';
import { frameLayout, frameOffsets, mappingSize } from '../../../driver/vdevs/af-packet/layout.js';
import { FrameReader } from '../../../driver/vdevs/af-packet/rx.js';
import { LONGEST_TX, TX_POSITION, type RingSpec } from '../../../driver/vdevs/af-packet/socket.js';
import { FrameWriter } from '../../../driver/vdevs/af-packet/tx.js';
import { createRegion, destroyRegion, viewsOf } from '../../../native/region.js';
import { packetFrom, readPacket } from '../../../paths/mbuf.js';
import { ERRORS, PACKETS, STATS_COUNT } from '../../../paths/stats.js';

const layout = frameLayout({ blocksz: 4096, framesz: 1024, framecnt: 8 }, 'x');
const [USER, SENDING] = [1, 2];

function bench(t: ExecutionContext, vlanStrip = false) {
  const eal = createEal({ noHuge: true, memoryMiB: 8, pinMain: false, log: () => undefined });
  const region = createRegion('ring', mappingSize(layout), false);
  t.teardown(() => {
    destroyRegion(region);
    eal.close();
  });
  const mempool = eal.createMempool({ count: 128, dataRoom: 512 });
  const pool = eal.mempool(mempool);
  // no socket: the call that sends fails, as with an interface that is gone
  const ring: RingSpec = { fd: -1, mapping: region, layout, control: new SharedArrayBuffer(64) };
  const control = new Int32Array(ring.control);
  control[LONGEST_TX] = 1514;
  const stats = new Float64Array(STATS_COUNT);
  const reader = new FrameReader(ring, pool, { portId: 3, vlanStrip, stats });
  const { u8 } = viewsOf(region);
  return { eal, pool, mempool, control, stats, reader, writer: new FrameWriter(ring, pool, stats), u8 };
}

interface Header {
  readonly status: number;
  readonly len: number;
  readonly snaplen: number;
  readonly mac: number;
}

function fill(u8: Uint8Array, at: number, { status, len, snaplen, mac }: Header): void {
  const view = new DataView(u8.buffer, u8.byteOffset + at, 32);
  [status, len, snaplen].forEach((value, i) => view.setUint32(4 * i, value, true));
  view.setUint16(12, mac, true);
  view.setUint32(24, 0x81000005, true);
}

test('a frame that says anything: a packet from within the frame, or dropped and counted; and nothing is lost', (t) => {
  for (const vlanStrip of [false, true]) {
    const { pool, stats, reader, u8 } = bench(t, vlanStrip);
    const offsets = frameOffsets(layout, 'rx');
    const free = pool.available();
    let [next, seen] = [0, 0];
    const edge = (max: number) => fc.oneof(fc.nat(max), fc.constantFrom(0, 13, 14, 66, 508, 512, 513, 958, 1024, max));
    const header = fc.record({ status: fc.nat(0xffffffff), len: edge(0xffffffff), snaplen: edge(0xffffffff), mac: edge(0xffff) }); // prettier-ignore
    fc.assert(
      fc.property(fc.array(header, { minLength: 1, maxLength: 8 }), (headers) => {
        headers.forEach((one, i) => fill(u8, offsets[(next + i) % 8]!, { ...one, status: one.status | USER }));
        const pkts = new Uint32Array(8);
        const n = reader.read(pkts, 8);
        for (const m of pkts.subarray(0, n)) {
          t.true(pool.pktLen[m]! >= 14 && pool.pktLen[m]! <= 512);
          t.is(pool.dataLen[m], pool.pktLen[m]!);
          t.is(pool.port[m], 3);
        }
        pool.freeBulk(pkts, 0, n);
        seen += headers.length;
        next = (next + headers.length) % 8;
        t.is(stats[PACKETS]! + stats[ERRORS]!, seen);
        t.is(pool.available(), free);
        t.false(reader.waits());
        for (const at of offsets) t.is(u8[at]! & USER, 0);
      }),
      { numRuns: 300 },
    );
    t.true(stats[ERRORS]! > 0);
  }
});

test('no mbufs: the frame stays, and its packet comes when there are some', (t) => {
  const { pool, reader, u8 } = bench(t);
  const at = frameOffsets(layout, 'rx')[0]!;
  u8.fill(7, at + 66, at + 166);
  fill(u8, at, { status: USER, len: 100, snaplen: 100, mac: 66 });
  const all = new Int32Array(128);
  t.is(pool.getBulk(all, 128), 128);
  const pkts = new Uint32Array(4);
  t.is(reader.read(pkts, 4), 0);
  t.true(reader.waits());
  pool.putBulk(all, 128);
  t.is(reader.read(pkts, 4), 1);
  t.deepEqual(readPacket(pool, pkts[0]!), new Uint8Array(100).fill(7));
  pool.freeBulk(pkts, 0, 1);
});

test('a Tx ring that is full: the rest is the caller’s', (t) => {
  const { pool, control, stats, writer, u8 } = bench(t);
  const offsets = frameOffsets(layout, 'tx');
  offsets.forEach((at, i) => (u8[at] = i < 3 ? 0 : SENDING));
  const pkts = Uint32Array.from({ length: 5 }, () => packetFrom(pool, new Uint8Array(60)));
  t.is(writer.write(pkts, 5), 3);
  // there is no socket: those three were taken back
  t.deepEqual([stats[PACKETS], stats[ERRORS], control[TX_POSITION]], [0, 3, 0]);
  t.deepEqual([...offsets].map((at) => u8[at]), [0, 0, 0, 2, 2, 2, 2, 2]); // prettier-ignore
  t.is(writer.flush(), 3);
  control[TX_POSITION] = 5;
  t.is(writer.write(pkts.subarray(3), 2), 0);
  pool.freeBulk(pkts, 3, 2);
  t.is(pool.available(), 128);
});

test('packets whose lengths do not add up write nothing outside of their frame', (t) => {
  const { pool, u8, writer } = bench(t);
  const offsets = frameOffsets(layout, 'tx');
  u8.fill(0xaa, offsets[1]! + 4, offsets[1]! + 1024);
  const m = packetFrom(pool, new Uint8Array(1500).fill(1));
  pool.pktLen[m] = 100; // its segments have 1500
  t.is(writer.write(Uint32Array.of(m), 1), 1);
  t.true(u8.subarray(offsets[1]! + 4, offsets[1]! + 1024).every((byte) => byte === 0xaa));
  t.is(pool.available(), 128);
});
