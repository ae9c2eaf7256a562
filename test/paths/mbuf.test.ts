import test from 'ava';
import { isVirtioPmdError } from '../../native/errors.js';
import { createRegion, destroyRegion } from '../../native/region.js';
import {
  copyPacket,
  headroomOf,
  lastSegment,
  MbufView,
  packetFrom,
  readPacket,
  resetMbuf,
  tailroomOf,
  writeBytes,
} from '../../paths/mbuf.js';
import { createMempool, Mempool, NIL } from '../../paths/mempool.js';

const region = createRegion('mbuf-test', 64 * 1024, false);
test.after.always(() => destroyRegion(region));

function pool(more: { count?: number; headroom?: number; dataRoom?: number; cacheSize?: number } = {}): Mempool {
  const terms = { count: 8, headroom: 128, dataRoom: 256, cacheSize: 4, ...more };
  return new Mempool(
    createMempool({ name: 'test', mapping: region, base: 0, deviceAddress: (offset) => BigInt(offset), ...terms }),
    0,
  );
}

const pattern = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + 3) & 0xff);

test('writeBytes makes a packet of one segment, whatever the mbuf was before', (t) => {
  const p = pool();
  const m = p.get();
  p.dataOff[m] = 5;
  p.olFlags[m] = 0xffffffff;
  p.vlanTci[m] = 9;
  t.true(writeBytes(p, m, pattern(100)));
  t.is(p.dataOff[m], 128);
  t.is(p.pktLen[m], 100);
  t.is(p.nbSegs[m], 1);
  t.is(p.olFlags[m], 0);
  t.is(p.vlanTci[m], 0);
  t.deepEqual(readPacket(p, m), pattern(100));
});

test('writeBytes refuses what does not fit and leaves the mbuf alone', (t) => {
  const p = pool();
  const m = p.get();
  writeBytes(p, m, pattern(10));
  t.false(writeBytes(p, m, pattern(257)));
  t.deepEqual(readPacket(p, m), pattern(10));
  t.true(writeBytes(p, m, pattern(256)));
  t.true(writeBytes(p, m, pattern(300), 20), 'only the first bytes are wanted');
  t.deepEqual(readPacket(p, m), pattern(20));
});

test('packetFrom spreads a packet over segments, and readPacket collects them', (t) => {
  const p = pool();
  for (const [length, segmentSize, segments] of [
    [700, 256, 3],
    [512, 256, 2],
    [256, 256, 1],
    [100, 30, 4],
    [0, 30, 1],
    [700, 9999, 3],
  ] as const) {
    const m = packetFrom(p, pattern(length), segmentSize);
    t.is(p.nbSegs[m], segments);
    t.is(p.pktLen[m], length);
    t.deepEqual(readPacket(p, m), pattern(length));
    p.free(m);
    t.is(p.inUse(), 0);
  }
});

test('packetFrom with too few mbufs takes none', (t) => {
  const p = pool({ count: 3 });
  t.is(packetFrom(p, pattern(1000)), NIL);
  t.is(p.inUse(), 0);
});

test('a freed chain comes back as single mbufs', (t) => {
  const p = pool({ count: 4 });
  p.free(packetFrom(p, pattern(1000)));
  for (let m = p.get(); m !== NIL; m = p.get()) {
    t.is(p.next[m], NIL);
    t.is(p.nbSegs[m], 1);
  }
});

test('a view moves without allocating and shows what the mempool has', (t) => {
  const p = pool();
  const a = packetFrom(p, pattern(60));
  const b = packetFrom(p, pattern(300));
  p.port[b] = 3;
  const view = new MbufView(p);
  t.is(view.at(a), view);
  t.is(view.pktLen, 60);
  t.is(view.at(b).pktLen, 300);
  t.is(view.dataLen, 256);
  t.is(view.nbSegs, 2);
  t.is(view.port, 3);
  t.is(view.next, lastSegment(p, b));
  t.is(view.at(view.next).dataLen, 44);
  t.is(view.next, NIL);
  t.deepEqual([view.olFlags, view.vlanTci, view.hash], [0, 0, 0]);
});

test('data is the segment in place, toBytes a copy of the packet', (t) => {
  const p = pool();
  const view = new MbufView(p).at(packetFrom(p, pattern(300)));
  const copy = view.toBytes();
  view.data[0] = 0xee;
  t.is(view.readU8(0), 0xee);
  t.is(view.data.length, 256);
  t.is(copy[0], 3);
  t.is(copy.length, 300);
});

test('fields are read and written in network byte order, at odd offsets too', (t) => {
  const p = pool();
  const view = new MbufView(p).at(packetFrom(p, Uint8Array.of(0xff, 0x12, 0x34, 0xfe, 0xdc, 0xba, 0x98)));
  t.is(view.readU16(1), 0x1234);
  t.is(view.readU32(3), 0xfedcba98);
  view.writeU8(0, 0x01);
  view.writeU16(1, 0xabcd);
  view.writeU32(3, 0x80000001);
  t.deepEqual(view.toBytes(), Uint8Array.of(0x01, 0xab, 0xcd, 0x80, 0x00, 0x00, 0x01));
});

test('reading or writing outside the segment is an error and touches nothing', (t) => {
  const p = pool();
  const view = new MbufView(p).at(packetFrom(p, pattern(10)));
  for (const access of [
    () => view.readU8(10),
    () => view.readU8(-1),
    () => view.readU8(NaN),
    () => view.readU16(9),
    () => view.readU32(7),
    () => view.writeU8(10, 0),
    () => view.writeU16(9, 0),
    () => view.writeU32(7, 0),
  ]) {
    t.true(isVirtioPmdError(t.throws(access), 'ECONFIG'));
  }
  t.deepEqual(view.toBytes(), pattern(10));
});

test('append and trim work on the last segment', (t) => {
  const p = pool();
  const m = packetFrom(p, pattern(300));
  const view = new MbufView(p).at(m);
  const last = view.next;
  const at = view.append(2);
  p.u8.fill(0x77, at, at + 2);
  t.is(view.pktLen, 302);
  t.is(p.dataLen[last], 46);
  t.deepEqual([...view.toBytes().subarray(300)], [0x77, 0x77]);
  view.trim(46);
  t.is(view.pktLen, 256);
  t.is(tailroomOf(p, last), 256);
  t.throws(() => view.append(257), { message: /0 to 256 are possible/ });
  t.throws(() => view.trim(1), { message: /0 to 0 are possible/ });
});

test('prepend and adj work on the first segment, down to the whole headroom', (t) => {
  const p = pool();
  const view = new MbufView(p).at(packetFrom(p, pattern(20)));
  t.is(view.headroom, 128);
  view.adj(14);
  t.is(view.pktLen, 6);
  t.is(headroomOf(p, view.m), 142);
  const at = view.prepend(142);
  t.is(at, p.bufOff(view.m));
  t.is(view.headroom, 0);
  t.throws(() => view.prepend(1), { message: /0 to 0 are possible/ });
  t.throws(() => view.prepend(-1));
  t.throws(() => view.adj(view.dataLen + 1));
});

test('resetMbuf leaves an empty packet with the whole room behind it', (t) => {
  const p = pool();
  const m = packetFrom(p, pattern(100));
  resetMbuf(p, m);
  t.is(p.pktLen[m], 0);
  t.is(tailroomOf(p, m), 256);
  t.is(new MbufView(p).at(m).tailroom, 256);
});

test('getBulk gives everything the pool has, also far beyond the cache', (t) => {
  for (const cacheSize of [0, 1, 4]) {
    const p = pool({ count: 64, headroom: 64, dataRoom: 64, cacheSize });
    const out = new Int32Array(64);
    t.is(p.getBulk(out, 3), 3);
    t.is(p.getBulk(out.subarray(3), 60), 60);
    t.is(p.getBulk(out.subarray(63), 5), 1);
    t.is(new Set(out).size, 64);
    t.is(p.get(), NIL);
    p.putBulk(out, 64);
    t.is(p.inUse(), 0);
  }
});

test('a pool without cache works', (t) => {
  const p = pool({ count: 5, cacheSize: 0 });
  for (let round = 0; round < 3; round++) {
    const taken = Array.from({ length: 5 }, () => p.get());
    t.is(new Set(taken).size, 5);
    t.is(p.get(), NIL);
    for (const m of taken) p.put(m);
    t.is(p.inUse(), 0);
  }
});

test('copyPacket copies all segments and the metadata; both packets are whole, and freed apart', (t) => {
  for (const [length, segmentSize] of [
    [0, 256],
    [200, 256],
    [256, 256],
    [700, 256],
    [700, 100], // 7 segments into 3
  ] as const) {
    const p = pool({ count: 16, cacheSize: 0 });
    const m = packetFrom(p, pattern(length), segmentSize);
    p.olFlags[m] = 0x1001;
    p.vlanTci[m] = 7;
    p.hash[m] = 0xdeadbeef;
    p.port[m] = 3;
    p.l4Len[m] = 20;
    const copy = copyPacket(p, m);
    t.deepEqual(readPacket(p, copy), pattern(length));
    t.is(p.nbSegs[copy], Math.max(1, Math.ceil(length / 256)));
    t.deepEqual([p.olFlags[copy], p.vlanTci[copy], p.hash[copy], p.port[copy], p.l4Len[copy]], [0x1001, 7, 0xdeadbeef, 3, 20]); // prettier-ignore
    p.free(copy);
    t.deepEqual(readPacket(p, m), pattern(length), 'the first is as it was');
    p.free(m);
    t.is(p.getBulk(new Int32Array(16), 16), 16);
  }
});

test('copyPacket without enough mbufs takes none', (t) => {
  const p = pool({ cacheSize: 0 });
  const m = packetFrom(p, pattern(5 * 256));
  t.is(copyPacket(p, m), NIL);
  t.deepEqual(readPacket(p, m), pattern(5 * 256));
  p.free(m);
  t.is(p.getBulk(new Int32Array(8), 8), 8);
  t.is(copyPacket(p, 0), NIL, 'not even one');
});
