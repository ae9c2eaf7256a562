/** Packed rings with a hostile or buggy device. */
import test from 'ava';
import { randomBytes } from 'node:crypto';
import { BROKEN_ID, BROKEN_TWICE, type RxPathName, type TxPathName } from '../../../paths/guest/queue.js';
import { DROP_RUNT, DROP_TOO_LONG, ERRORS, KICKS, KICKS_SUPPRESSED } from '../../../paths/stats.js';
import { destroyFixtureRegion, packetBytes } from '../../support/guest-fixture.js';
import {
  assertDropped,
  assertRxBroken,
  assertTxBroken,
  drain,
  fillBuffer,
  mbufsAtDevice,
  rxCase,
  txCase,
} from '../support/hostile.js';
import { ifSimd } from '../../support/simd-here.js';

test.after.always(destroyFixtureRegion);

const rxPaths: RxPathName[] = [
  'virtio_recv_pkts_packed',
  'virtio_recv_mergeable_pkts_packed',
  ...ifSimd('virtio_recv_pkts_packed_vec' as const),
];
/** Paths, and whether buffers are used in order. */
const txPaths: (readonly [TxPathName, boolean])[] = [
  ['virtio_xmit_pkts_packed', false],
  ['virtio_xmit_pkts_packed', true],
  ...ifSimd(['virtio_xmit_pkts_packed_vec', true] as const),
];
const descriptorFlags = (slot: number) => 4096 + slot * 16 + 14; // the fixture's ring begins at 4096

for (const path of rxPaths) {
  test(`${path}: used id beyond the ring`, (t) => {
    for (const [size, id] of [
      [16, 16],
      [16, 0xffff],
      [7, 7],
      [255, 255],
    ] as const) {
      const rx = rxCase(path, { size });
      rx.fixture.packed.writeUsed(0, 1, id, 100);
      t.is(rx.path.recv(rx.pkts, 64), 0);
      assertRxBroken(t, rx, BROKEN_ID);
    }
  });

  test(`${path}: used id that is not outstanding`, (t) => {
    const rx = rxCase(path, { size: 16, nbDesc: 8 });
    rx.fixture.packed.writeUsed(0, 1, 12, 100);
    t.is(rx.path.recv(rx.pkts, 64), 0);
    assertRxBroken(t, rx, BROKEN_TWICE);
  });

  test(`${path}: one id twice: the first is received, the second breaks the queue`, (t) => {
    const rx = rxCase(path);
    const payload = packetBytes(1, 64);
    const length = fillBuffer(rx, rx.buffers[0]!, payload);
    rx.fixture.packed.writeUsed(1, 1, rx.buffers[0]!.id, length);
    rx.fixture.packed.writeUsed(0, 1, rx.buffers[0]!.id, length);
    t.deepEqual(drain(rx), [payload]);
    assertRxBroken(t, rx, BROKEN_TWICE);
  });

  test(`${path}: AVAIL and USED that differ, and marks of the wrong lap, are not "used"`, (t) => {
    for (const wrap of [0, 1]) {
      const rx = rxCase(path, { start: { index: 3, wrap } });
      const { view } = rx.fixture.device;
      for (const bits of [0x0080, 0x8000, wrap ? 0 : 0x8080]) {
        view.setUint16(descriptorFlags(3), bits | 0x0123, true);
        t.is(rx.path.recv(rx.pkts, 64), 0);
      }
      t.is(rx.fixture.broken, 0);
      rx.fixture.finish();
    }
  });

  test(`${path}: a whole ring of random bytes`, (t) => {
    for (let round = 0; round < 200; round++) {
      const rx = rxCase(path);
      const { pool } = rx.fixture;
      new Uint8Array(rx.fixture.device.view.buffer, 4096, 16 * 16).set(randomBytes(256));
      const n = rx.path.recv(rx.pkts, 64);
      t.is(pool.inUse(), mbufsAtDevice(rx.fixture) + segmentsOf(pool.nbSegs, rx.pkts, n));
      pool.freeBulk(rx.pkts, 0, n);
      rx.fixture.finish();
    }
  });

  test(`${path}: used marks beyond what is outstanding are not looked at`, (t) => {
    const rx = rxCase(path, { size: 16, nbDesc: 8, mbufs: 8 });
    const payloads = rx.buffers.map((_, i) => packetBytes(i, 64));
    const lengths = rx.buffers.map((buffer, i) => fillBuffer(rx, buffer, payloads[i]!));
    for (let slot = 15; slot >= 0; slot--) {
      rx.fixture.packed.writeUsed(slot, 1, rx.buffers[slot % 8]!.id, lengths[slot % 8]!);
    }
    t.is(rx.path.recv(rx.pkts, 64), 8);
    const none = new Uint32Array(64);
    t.is(rx.path.recv(none, 64), 0);
    t.is(rx.fixture.broken, 0);
    rx.fixture.pool.freeBulk(rx.pkts, 0, 8);
    rx.fixture.finish();
  });

  test(`${path}: a length beyond the buffer`, (t) => {
    for (const length of [2048 + 13, 65536 + 100, 2 ** 31 - 1]) {
      const rx = rxCase(path);
      fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 100));
      rx.fixture.device.use([{ buffer: rx.buffers[0]!, length }]);
      assertDropped(t, rx, DROP_TOO_LONG);
    }
  });

  test(`${path}: a length of 2^31 or more is dropped, under whatever name`, (t) => {
    for (const length of [2 ** 31, 2 ** 32 - 1]) {
      const rx = rxCase(path);
      fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 100));
      rx.fixture.device.use([{ buffer: rx.buffers[0]!, length }]);
      t.deepEqual(drain(rx), []);
      t.is(rx.fixture.stat(ERRORS), 1);
      t.is(rx.fixture.stat(DROP_RUNT) + rx.fixture.stat(DROP_TOO_LONG), 1);
      rx.fixture.finish();
    }
  });

  test(`${path}: lengths without room for header and Ethernet header`, (t) => {
    for (const hdrSize of [12, 20]) {
      for (const length of [0, 1, hdrSize - 1, hdrSize, hdrSize + 13]) {
        const rx = rxCase(path, { hdrSize });
        fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 100));
        rx.fixture.device.use([{ buffer: rx.buffers[0]!, length }]);
        assertDropped(t, rx, DROP_RUNT);
      }
    }
  });

  test(`${path}: reserved event flags and offsets beyond the ring mean "always notify"`, (t) => {
    for (const [flags, eventIdx] of [
      [3, false],
      [3, true],
      [2, false],
    ] as const) {
      const rx = rxCase(path, { eventIdx });
      const before = rx.fixture.stat(KICKS);
      const event = 4096 + 4096; // device event suppression of a small ring
      rx.fixture.device.view.setUint16(event, 0x7fff, true);
      rx.fixture.device.view.setUint16(event + 2, flags, true);
      rx.fixture.device.use([{ buffer: rx.buffers[0]!, length: fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 64)) }]);
      t.is(drain(rx).length, 1);
      t.is(rx.fixture.stat(KICKS), before + 1);
      rx.fixture.finish();
    }
  });

  test(`${path}: an event offset beyond the ring does no harm`, (t) => {
    const rx = rxCase(path, { eventIdx: true });
    const event = 4096 + 4096;
    rx.fixture.device.view.setUint16(event, 0x7fff, true);
    rx.fixture.device.view.setUint16(event + 2, 2, true);
    for (let round = 0; round < 40; round++) {
      rx.fixture.device.takeAll();
      const buffer = rx.fixture.device.outstanding[0]!;
      rx.fixture.device.use([{ buffer, length: fillBuffer(rx, buffer, packetBytes(1, 64)) }]);
      t.is(drain(rx).length, 1);
    }
    t.is(rx.fixture.stat(KICKS) + rx.fixture.stat(KICKS_SUPPRESSED), 41);
    rx.fixture.finish();
  });

  test(`${path}: a used descriptor without WRITE: its length counts all the same`, (t) => {
    const rx = rxCase(path);
    const payload = packetBytes(1, 300);
    const length = fillBuffer(rx, rx.buffers[0]!, payload);
    rx.fixture.packed.writeUsed(0, 1, rx.buffers[0]!.id, length, false);
    t.deepEqual(drain(rx), [payload]);
    rx.fixture.finish();
  });

  test(`${path}: random hash reports and header bytes are not believed`, (t) => {
    const rx = rxCase(path, { hdrSize: 20 });
    const length = fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 64));
    const header = new Uint8Array(rx.fixture.device.view.buffer, rx.buffers[0]!.pieces[0]!.offset, 20);
    header.set(randomBytes(10), 0);
    header.set(randomBytes(8), 12);
    rx.fixture.device.use([{ buffer: rx.buffers[0]!, length }]);
    t.is(rx.path.recv(rx.pkts, 64), 1);
    t.is(rx.fixture.pool.olFlags[rx.pkts[0]!], 0);
    rx.fixture.pool.free(rx.pkts[0]!);
    rx.fixture.finish();
  });
}

function segmentsOf(nbSegs: Uint16Array, pkts: Uint32Array, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += nbSegs[pkts[i]!]!;
  return sum;
}

for (const [path, inOrder] of txPaths) {
  const title = `${path}${inOrder ? ' in order' : ''}`;

  test(`${title}: lengths mean nothing`, (t) => {
    const q = txCase(path, { inOrder });
    for (const length of [0, 1, 2 ** 31, 2 ** 32 - 1]) {
      q.send();
      q.fixture.device.use(q.fixture.device.takeAll().map((buffer) => ({ buffer, length })));
      t.is(q.path.cleanup(), 16);
    }
    t.is(q.fixture.pool.inUse(), 0);
    q.fixture.finish();
  });

  test(`${title}: a device that never uses anything: full, and everything comes back`, (t) => {
    const q = txCase(path, { inOrder });
    for (let i = 0; i < 16; i++) t.true(q.send());
    for (let i = 0; i < 100; i++) t.false(q.send());
    t.is(q.fixture.broken, 0);
    q.fixture.finish();
  });

  test(`${title}: used id beyond the ring`, (t) => {
    for (const id of [16, 17, 0xffff]) {
      const q = txCase(path, { inOrder });
      q.send();
      q.fixture.packed.writeUsed(0, 1, id, 0);
      q.path.cleanup();
      assertTxBroken(t, q, BROKEN_ID);
    }
  });

  test(`${title}: used id that is not outstanding`, (t) => {
    const q = txCase(path, { inOrder });
    q.send();
    q.send();
    q.fixture.packed.writeUsed(0, 1, 9, 0);
    q.path.cleanup();
    assertTxBroken(t, q, BROKEN_TWICE);
  });

  test(`${title}: one id twice frees its mbuf once`, (t) => {
    const q = txCase(path, { inOrder });
    for (let i = 0; i < 3; i++) q.send();
    const [buffer] = q.fixture.device.takeAll();
    q.fixture.packed.writeUsed(0, 1, buffer!.id, 0);
    q.fixture.packed.writeUsed(1, 1, buffer!.id, 0);
    q.path.cleanup();
    t.is(q.fixture.pool.inUse(), 2);
    assertTxBroken(t, q, BROKEN_TWICE);
  });

  test(`${title}: used marks beyond what is outstanding are not looked at`, (t) => {
    const q = txCase(path, { inOrder });
    q.send();
    const [buffer] = q.fixture.device.takeAll();
    for (let slot = 15; slot >= 0; slot--) q.fixture.packed.writeUsed(slot, 1, buffer!.id, 0);
    t.is(q.path.cleanup(), 16);
    t.is(q.path.cleanup(), 16);
    t.is(q.fixture.broken, 0);
    t.is(q.fixture.pool.inUse(), 0);
    q.fixture.finish();
  });

  test(`${title}: a whole ring of random bytes`, (t) => {
    for (let round = 0; round < 200; round++) {
      const q = txCase(path, { inOrder });
      for (const segments of [1, 3, 2, 1]) q.send(segments);
      new Uint8Array(q.fixture.device.view.buffer, 4096, 16 * 16).set(randomBytes(256));
      q.path.cleanup();
      t.is(q.fixture.pool.inUse(), mbufsAtDevice(q.fixture));
      q.fixture.finish();
    }
  });
}

test('virtio_xmit_pkts_packed: the id of a longer chain: its own length is skipped, nothing is freed twice', (t) => {
  const q = txCase('virtio_xmit_pkts_packed');
  q.send(1);
  q.send(4);
  const [, long] = q.fixture.device.takeAll();
  q.fixture.packed.writeUsed(0, 1, long!.id, 0);
  t.is(q.path.cleanup(), 15);
  t.is(q.fixture.pool.inUse(), 1);
  q.fixture.finish();
});

test('in order: one used descriptor for all up to its id', (t) => {
  const starts = [0, 10, 15];
  const cases = txPaths.flatMap(([path, inOrder]) => (inOrder ? starts.map((index) => [path, index] as const) : []));
  for (const [path, index] of cases) {
    const q = txCase(path, { inOrder: true, start: { index, wrap: 1 } });
    for (const segments of [1, 3, 1, 2]) t.true(q.send(segments));
    const buffers = q.fixture.device.takeAll();
    q.fixture.device.useBatch(buffers.slice(0, 3));
    q.path.cleanup();
    t.is(q.fixture.pool.inUse(), 2);
    q.fixture.device.useBatch(buffers.slice(3));
    t.is(q.path.cleanup(), 16);
    t.is(q.fixture.pool.inUse(), 0);
    q.fixture.finish();
  }
});
