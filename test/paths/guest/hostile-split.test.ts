/** Split rings with a hostile or buggy device. */
import test from 'ava';
import { randomBytes } from 'node:crypto';
import {
  BROKEN_ID,
  BROKEN_INDEX,
  BROKEN_ORDER,
  BROKEN_TWICE,
  type RxPathName,
  type TxPathName,
} from '../../../paths/guest/queue.js';
import { DROP_RUNT, DROP_TOO_LONG, ERRORS, KICKS, KICKS_SUPPRESSED } from '../../../paths/stats.js';
import { destroyFixtureRegion, packetBytes } from '../../support/guest-fixture.js';
import {
  assertDropped,
  assertRxBroken,
  assertTxBroken,
  drain,
  fillBuffer,
  rxCase,
  txCase,
} from '../support/hostile.js';
import { ifSimd } from '../../support/simd-here.js';

test.after.always(destroyFixtureRegion);

const rxPaths: RxPathName[] = [
  'virtio_recv_pkts',
  'virtio_recv_mergeable_pkts',
  'virtio_recv_pkts_inorder',
  ...ifSimd('virtio_recv_pkts_vec' as const),
];
const txPaths: TxPathName[] = ['virtio_xmit_pkts', 'virtio_xmit_pkts_inorder'];
const inOrder = (path: string) => path.includes('_inorder');

for (const path of rxPaths) {
  test(`${path}: used idx runs past what is outstanding`, (t) => {
    for (const [nbDesc, jump] of [
      [16, 17],
      [16, 0x7fff],
      [8, 9],
    ] as const) {
      const rx = rxCase(path, { size: 16, nbDesc });
      rx.fixture.split.advance(jump);
      t.is(rx.path.recv(rx.pkts, 64), 0);
      assertRxBroken(t, rx, BROKEN_INDEX);
    }
  });

  test(`${path}: used idx goes backwards; standing still is fine`, (t) => {
    const rx = rxCase(path, { start: { index: 5, wrap: 0 } });
    rx.fixture.split.advance(0);
    t.is(rx.path.recv(rx.pkts, 64), 0);
    t.is(rx.fixture.broken, 0);
    rx.fixture.split.advance(-1);
    t.is(rx.path.recv(rx.pkts, 64), 0);
    assertRxBroken(t, rx, BROKEN_INDEX);
  });

  test(`${path}: used id beyond the ring`, (t) => {
    for (const id of [16, 17, 0xffff, 2 ** 31, 2 ** 32 - 1]) {
      const rx = rxCase(path);
      rx.fixture.split.writeEntry(0, id, 100);
      rx.fixture.split.advance(1);
      t.is(rx.path.recv(rx.pkts, 64), 0);
      assertRxBroken(t, rx, inOrder(path) ? BROKEN_ORDER : BROKEN_ID);
    }
  });

  test(`${path}: used id of a descriptor that is not outstanding`, (t) => {
    const rx = rxCase(path, { size: 16, nbDesc: 8 });
    rx.fixture.split.writeEntry(0, 12, 100);
    rx.fixture.split.advance(1);
    t.is(rx.path.recv(rx.pkts, 64), 0);
    assertRxBroken(t, rx, inOrder(path) ? BROKEN_ORDER : BROKEN_TWICE);
  });

  test(`${path}: one id twice in a batch: the first is received, the second breaks the queue`, (t) => {
    const rx = rxCase(path);
    const payload = packetBytes(1, 64);
    const length = fillBuffer(rx, rx.buffers[0]!, payload);
    const { split } = rx.fixture;
    split.writeEntry(0, rx.buffers[0]!.id, length);
    split.writeEntry(1, rx.buffers[0]!.id, length);
    split.advance(2);
    t.deepEqual(drain(rx), [payload]);
    assertRxBroken(t, rx, inOrder(path) ? BROKEN_ORDER : BROKEN_TWICE);
  });

  test(`${path}: one id again in a later batch, before it was made available again`, (t) => {
    const rx = rxCase(path, { mbufs: 16 });
    const { split, pool } = rx.fixture;
    const id = rx.buffers[0]!.id;
    split.writeEntry(0, id, fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 64)));
    split.advance(1);
    t.is(rx.path.recv(rx.pkts, 64), 1); // the pool is empty: no buffer follows
    split.writeEntry(0, id, 100);
    split.advance(1);
    const one = new Uint32Array(64);
    t.is(rx.path.recv(one, 64), 0);
    pool.free(rx.pkts[0]!);
    assertRxBroken(t, rx, inOrder(path) ? BROKEN_ORDER : BROKEN_TWICE);
  });

  test(`${path}: a length beyond the buffer, also one that is small in 16 bits`, (t) => {
    for (const length of [2048 + 13, 65536 + 100, 2 ** 31, 2 ** 32 - 1]) {
      const rx = rxCase(path);
      fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 100));
      rx.fixture.device.use([{ buffer: rx.buffers[0]!, length }]);
      assertDropped(t, rx, DROP_TOO_LONG);
    }
  });

  test(`${path}: lengths without room for header and Ethernet header`, (t) => {
    for (const hdrSize of path === 'virtio_recv_mergeable_pkts' ? [12, 20] : [10, 12, 20]) {
      for (const length of [0, 1, hdrSize - 1, hdrSize, hdrSize + 13]) {
        const rx = rxCase(path, { hdrSize });
        fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 100));
        rx.fixture.device.use([{ buffer: rx.buffers[0]!, length }]);
        assertDropped(t, rx, DROP_RUNT);
      }
      const rx = rxCase(path, { hdrSize });
      const payload = packetBytes(1, 14);
      rx.fixture.device.use([{ buffer: rx.buffers[0]!, length: fillBuffer(rx, rx.buffers[0]!, payload) }]);
      t.deepEqual(drain(rx), [payload]);
      rx.fixture.finish();
    }
  });

  test(`${path}: used entries that change after they were read mean nothing`, (t) => {
    const rx = rxCase(path);
    const payload = packetBytes(1, 64);
    const { split } = rx.fixture;
    split.use([{ buffer: rx.buffers[0]!, length: fillBuffer(rx, rx.buffers[0]!, payload) }]);
    t.deepEqual(drain(rx), [payload]);
    for (let behind = 1; behind <= 16; behind++) split.writeEntry(-behind, 0xffffffff, 0xffffffff);
    t.deepEqual(drain(rx), []);
    t.is(rx.fixture.broken, 0);
    rx.fixture.finish();
  });

  test(`${path}: random used flags and avail_event cost a doorbell at most`, (t) => {
    for (const eventIdx of [false, true]) {
      const rx = rxCase(path, { eventIdx });
      const { device } = rx.fixture;
      const used = rx.fixture.spec.ringOff + 4096;
      for (let round = 0; round < 40; round++) {
        device.view.setUint16(used, Math.imul(round, 40503) & 0xffff, true);
        device.view.setUint16(used + 4 + 8 * 16, Math.imul(round, 30011) & 0xffff, true);
        device.takeAll();
        const buffer = device.outstanding[0]!;
        device.use([{ buffer, length: fillBuffer(rx, buffer, packetBytes(round, 64)) }]);
        t.deepEqual(drain(rx), [packetBytes(round, 64)]);
      }
      t.is(rx.fixture.stat(KICKS) + rx.fixture.stat(KICKS_SUPPRESSED), 41);
      rx.fixture.finish();
    }
  });

  test(`${path}: a rewritten descriptor table changes nothing for the driver`, (t) => {
    const rx = rxCase(path);
    const { split, spec } = rx.fixture;
    for (let round = 0; round < 3; round++) {
      const { id } = rx.buffers[round]!;
      const payload = packetBytes(round, 300);
      split.writeEntry(0, id, fillBuffer(rx, rx.buffers[round]!, payload));
      new Uint8Array(split.view.buffer, spec.ringOff, 16 * 16).set(randomBytes(256));
      split.advance(1);
      t.deepEqual(drain(rx), [payload]);
    }
    t.is(rx.fixture.broken, 0);
    rx.fixture.finish();
  });

  test(`${path}: a rewritten avail ring is published anew`, (t) => {
    const rx = rxCase(path);
    const { split, spec } = rx.fixture;
    const avail = spec.ringOff + 16 * 16;
    new Uint8Array(split.view.buffer, avail, 4 + 2 * 16 + 2).fill(0xee);
    const payload = packetBytes(1, 64);
    split.use([{ buffer: rx.buffers[0]!, length: fillBuffer(rx, rx.buffers[0]!, payload) }]);
    t.deepEqual(drain(rx), [payload]);
    t.is(split.view.getUint16(avail + 2, true), 17);
    t.is(split.view.getUint16(avail + 4, true), rx.buffers[0]!.id);
    rx.fixture.finish();
  });

  test(`${path}: random hash reports and header bytes are not believed`, (t) => {
    const rx = rxCase(path, { hdrSize: 20 });
    const payload = packetBytes(1, 64);
    const length = fillBuffer(rx, rx.buffers[0]!, payload);
    const header = new Uint8Array(rx.fixture.device.view.buffer, rx.buffers[0]!.pieces[0]!.offset, 20);
    header.set(randomBytes(10), 0);
    header.set(randomBytes(8), 12);
    rx.fixture.device.use([{ buffer: rx.buffers[0]!, length }]);
    t.is(rx.path.recv(rx.pkts, 64), 1);
    t.is(rx.fixture.pool.olFlags[rx.pkts[0]!], 0);
    t.is(rx.fixture.pool.dataLen[rx.pkts[0]!], 64);
    rx.fixture.pool.free(rx.pkts[0]!);
    rx.fixture.finish();
  });
}

for (const path of txPaths) {
  test(`${path}: used idx runs past what is outstanding`, (t) => {
    for (const jump of [5, 17, 0x7fff]) {
      const tx = txCase(path);
      for (let i = 0; i < 4; i++) tx.send();
      tx.fixture.split.advance(jump);
      tx.path.cleanup();
      assertTxBroken(t, tx, BROKEN_INDEX);
    }
  });

  test(`${path}: used idx goes backwards`, (t) => {
    const tx = txCase(path);
    for (let i = 0; i < 4; i++) tx.send();
    tx.fixture.split.advance(-1);
    tx.path.cleanup();
    assertTxBroken(t, tx, BROKEN_INDEX);
  });

  test(`${path}: lengths mean nothing`, (t) => {
    const tx = txCase(path);
    for (const length of [0, 1, 2 ** 31, 2 ** 32 - 1]) {
      tx.send();
      const [buffer] = tx.fixture.device.takeAll();
      tx.fixture.device.use([{ buffer: buffer!, length }]);
      t.is(tx.path.cleanup(), 16);
    }
    t.is(tx.fixture.pool.inUse(), 0);
    t.is(tx.fixture.stat(ERRORS), 0);
    tx.fixture.finish();
  });

  test(`${path}: a rewritten descriptor table changes nothing: chains come back by the driver's own records`, (t) => {
    const tx = txCase(path, { size: 32, anyLayout: false });
    for (let round = 0; round < 20; round++) {
      const sent = [1, 3, 5].filter((segments) => tx.send(segments)).length;
      t.is(sent, 3);
      const { split, spec } = tx.fixture;
      const buffers = split.takeAll().slice(-3);
      buffers.forEach((buffer, i) => split.writeEntry(i, buffer.id, 0));
      const table = new Uint8Array(split.view.buffer, spec.ringOff, 32 * 16);
      const saved = table.slice();
      table.set(randomBytes(table.length));
      split.advance(3);
      t.is(tx.path.cleanup(), 32);
      table.set(saved);
      split.advance(-3); // so that the reference may put it on record
      split.use(buffers.map((buffer) => ({ buffer, length: 0 })));
    }
    t.is(tx.fixture.broken, 0);
    t.is(tx.fixture.pool.inUse(), 0);
    tx.fixture.finish();
  });

  test(`${path}: a rewritten avail index is published anew`, (t) => {
    const tx = txCase(path);
    tx.send();
    const avail = tx.fixture.spec.ringOff + 16 * 16;
    tx.fixture.split.view.setUint16(avail + 2, 0xbeef, true);
    tx.send();
    t.is(tx.fixture.split.view.getUint16(avail + 2, true), 2);
    t.is(tx.fixture.device.takeAll().length, 2);
    tx.fixture.finish();
  });

  test(`${path}: a device that never uses anything: full, and everything comes back`, (t) => {
    const tx = txCase(path);
    for (let i = 0; i < 16; i++) t.true(tx.send());
    for (let i = 0; i < 100; i++) t.false(tx.send());
    t.is(tx.fixture.broken, 0);
    t.is(tx.fixture.pool.inUse(), 16);
    tx.fixture.finish();
  });
}

test('virtio_xmit_pkts: used id beyond the ring', (t) => {
  for (const id of [16, 17, 0xffff, 2 ** 31, 2 ** 32 - 1]) {
    const tx = txCase('virtio_xmit_pkts');
    tx.send();
    tx.fixture.split.writeEntry(0, id, 0);
    tx.fixture.split.advance(1);
    tx.path.cleanup();
    assertTxBroken(t, tx, BROKEN_ID);
  }
});

test('virtio_xmit_pkts: used id free, or in the middle of a chain', (t) => {
  for (const pick of [(members: readonly number[]) => members[1]!, () => 12]) {
    const tx = txCase('virtio_xmit_pkts');
    tx.send(3);
    const [buffer] = tx.fixture.device.takeAll();
    tx.fixture.split.writeEntry(0, pick(buffer!.members), 0);
    tx.fixture.split.advance(1);
    tx.path.cleanup();
    assertTxBroken(t, tx, BROKEN_TWICE);
  }
});

test('virtio_xmit_pkts: one id twice frees its mbuf once', (t) => {
  for (const together of [true, false]) {
    const tx = txCase('virtio_xmit_pkts');
    for (let i = 0; i < 3; i++) tx.send();
    const [buffer] = tx.fixture.device.takeAll();
    tx.fixture.split.writeEntry(0, buffer!.id, 0);
    tx.fixture.split.writeEntry(1, buffer!.id, 0);
    if (!together) {
      tx.fixture.split.advance(1);
      tx.path.cleanup();
      t.is(tx.fixture.broken, 0);
    }
    tx.fixture.split.advance(together ? 2 : 1);
    tx.path.cleanup();
    t.is(tx.fixture.pool.inUse(), 2);
    assertTxBroken(t, tx, BROKEN_TWICE);
  }
});

test('virtio_recv_pkts_inorder: buffers used out of order', (t) => {
  const rx = rxCase('virtio_recv_pkts_inorder');
  rx.fixture.split.writeEntry(0, rx.buffers[1]!.id, 100);
  rx.fixture.split.advance(1);
  t.is(rx.path.recv(rx.pkts, 64), 0);
  assertRxBroken(t, rx, BROKEN_ORDER);
});

test('virtio_xmit_pkts_inorder: more completions than packets, where chains have descriptors enough', (t) => {
  const tx = txCase('virtio_xmit_pkts_inorder');
  tx.send(3);
  tx.fixture.split.advance(2);
  tx.path.cleanup();
  assertTxBroken(t, tx, BROKEN_ORDER);
});

test('virtio_xmit_pkts_inorder: the index says what is complete, ids say nothing', (t) => {
  const tx = txCase('virtio_xmit_pkts_inorder');
  for (let i = 0; i < 3; i++) tx.send();
  tx.fixture.split.writeEntry(0, 0xffffffff, 0);
  tx.fixture.split.advance(2);
  t.is(tx.path.cleanup(), 15);
  t.is(tx.fixture.broken, 0);
  t.is(tx.fixture.pool.inUse(), 1);
  tx.fixture.finish();
});
