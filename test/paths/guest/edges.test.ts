/** What the random sequences do not say aloud: limits and counters of the guest paths, one by one. */
import test from 'ava';
import { STARTED, type RxPathName, type TxPathName } from '../../../paths/guest/queue.js';
import { packetFrom, readPacket, RTE_MBUF_F_RX_VLAN, RTE_MBUF_F_RX_VLAN_STRIPPED } from '../../../paths/mbuf.js';
import { NIL } from '../../../paths/mempool.js';
import { BYTES, DROP_RESET, DROP_TX, KICKS, NOMBUF, PACKETS } from '../../../paths/stats.js';
import { destroyFixtureRegion, packetBytes, shape, GuestFixture } from '../../support/guest-fixture.js';
import { drain, fillBuffer, restart, rxCase, txCase, type RxCase } from '../support/hostile.js';
import { ifSimd } from '../../support/simd-here.js';
import { gather } from '../../support/reference-ring.js';

test.after.always(destroyFixtureRegion);

const rxPaths: RxPathName[] = [
  'virtio_recv_pkts',
  'virtio_recv_mergeable_pkts',
  'virtio_recv_pkts_inorder',
  'virtio_recv_pkts_packed',
  'virtio_recv_mergeable_pkts_packed',
  ...ifSimd('virtio_recv_pkts_vec' as const, 'virtio_recv_pkts_packed_vec' as const),
];
const txPaths: TxPathName[] = [
  'virtio_xmit_pkts',
  'virtio_xmit_pkts_inorder',
  'virtio_xmit_pkts_packed',
  ...ifSimd('virtio_xmit_pkts_packed_vec' as const),
];

/** The device delivers `count` packets of 64 bytes, if it has the buffers. */
function deliver(rx: RxCase, count: number): void {
  const { device } = rx.fixture;
  device.takeAll();
  const buffers = device.outstanding.slice(0, count);
  device.use(buffers.map((buffer, i) => ({ buffer, length: fillBuffer(rx, buffer, packetBytes(i, 64)) })));
}

for (const path of rxPaths) {
  test(`${path}: a queue that is not started receives nothing and touches nothing`, (t) => {
    const rx = rxCase(path);
    deliver(rx, 1);
    rx.fixture.state.words[STARTED] = 0;
    t.is(rx.path.recv(rx.pkts, 64), 0);
    rx.fixture.state.words[STARTED] = 1;
    t.is(drain(rx).length, 1);
    rx.fixture.finish();
  });

  test(`${path}: at most 64 packets a call, however many are asked for, and none when none is`, (t) => {
    const rx = rxCase(path, { size: 256 });
    deliver(rx, 200);
    const pkts = new Uint32Array(256);
    t.is(rx.path.recv(pkts, 0), 0);
    const n = rx.path.recv(pkts, 256);
    t.true(n > 0 && n <= 64);
    rx.fixture.pool.freeBulk(pkts, 0, n);
    t.is(drain(rx).length, 200 - n);
    rx.fixture.finish();
  });

  test(`${path}: an empty mempool costs no packet; rx_nombuf counts what was wanted; the ring recovers`, (t) => {
    const rx = rxCase(path, { size: 16, mbufs: 16 });
    deliver(rx, 16);
    const taken: number[] = [];
    let n = 0;
    while ((n = rx.path.recv(rx.pkts, 64)) > 0) taken.push(...rx.pkts.subarray(0, n));
    t.is(taken.length, 16);
    t.true(rx.fixture.stat(NOMBUF) >= 16);
    t.is(rx.fixture.pool.inUse(), 16);
    deliver(rx, 1);
    t.is(rx.path.recv(rx.pkts, 64), 0, 'no buffer is with the device');
    for (const m of taken) rx.fixture.pool.free(m);
    t.is(rx.path.recv(rx.pkts, 64), 0);
    deliver(rx, 16);
    t.is(drain(rx).length, 16);
    rx.fixture.finish();
  });

  test(`${path}: VLAN stripping takes the tag out of tagged packets and leaves others alone`, (t) => {
    const rx = rxCase(path, { vlanStrip: true });
    const tagged = packetBytes(1, 64);
    tagged.set([0x81, 0x00, 0x60, 0x7b], 12);
    const plain = packetBytes(2, 64);
    const tiny = packetBytes(3, 17); // no room for a whole tag
    tiny.set([0x81, 0x00, 0x60, 0x7b], 12);
    const payloads = [tagged, plain, tiny];
    rx.fixture.device.use(
      payloads.map((payload, i) => ({ buffer: rx.buffers[i]!, length: fillBuffer(rx, rx.buffers[i]!, payload) })),
    );
    t.is(rx.path.recv(rx.pkts, 64), 3);
    const { pool } = rx.fixture;
    const [a, b, c] = rx.pkts;
    t.deepEqual(readPacket(pool, a!), Uint8Array.of(...tagged.subarray(0, 12), ...tagged.subarray(16)));
    t.is(pool.vlanTci[a!], 0x607b);
    t.is(pool.olFlags[a!], RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
    t.deepEqual(readPacket(pool, b!), plain);
    t.is(pool.olFlags[b!], 0);
    t.deepEqual(readPacket(pool, c!), tiny);
    pool.freeBulk(rx.pkts, 0, 3);
    rx.fixture.finish();
  });

  test(`${path}: opened again by another thread's handle, the queue goes on where it was`, (t) => {
    const rx = rxCase(path);
    deliver(rx, 3);
    const again = { ...rx, path: rx.fixture.openRx() };
    t.is(drain(again).length, 3);
    deliver(again, 5);
    t.is(drain(rx).length, 5);
    rx.fixture.finish();
  });

  test(`${path}: a reset gives back the buffers of the old life; the counters stay`, (t) => {
    const rx = rxCase(path);
    deliver(rx, 5);
    t.is(drain(rx).length, 5);
    restart(rx.fixture);
    t.is(rx.fixture.pool.inUse(), 0);
    t.is(rx.fixture.stat(PACKETS), 5);
    t.is(rx.fixture.stat(DROP_RESET), 0);
    rx.fixture.finish();
  });
}

for (const path of txPaths) {
  test(`${path}: a queue that is not started sends nothing`, (t) => {
    const tx = txCase(path);
    tx.fixture.state.words[STARTED] = 0;
    t.false(tx.send());
    tx.fixture.state.words[STARTED] = 1;
    t.true(tx.send());
    tx.fixture.finish();
  });

  test(`${path}: a burst into a ring with less room: the first packets go, the rest stay the caller's`, (t) => {
    const tx = txCase(path, { size: 16, nbDesc: 12, mbufs: 64 });
    const { pool, device } = tx.fixture;
    const pkts = Uint32Array.from({ length: 20 }, (_, i) => packetFrom(pool, packetBytes(i, 64)));
    t.is(tx.path.xmit(pkts, 20), 12);
    t.is(tx.fixture.stat(KICKS), 1);
    t.is(tx.fixture.stat(PACKETS), 12);
    t.is(tx.fixture.stat(BYTES), 12 * 64);
    t.deepEqual([...gather(device, device.takeAll()[11]!).subarray(12)], [...packetBytes(11, 64)]);
    t.is(tx.path.xmit(pkts.subarray(12), 8), 0);
    t.is(tx.fixture.stat(KICKS), 1, 'nothing new, nothing to tell');
    pool.freeBulk(pkts, 12, 8);
    tx.fixture.finish();
  });

  test(`${path}: mbufs come back late, but no later than they are needed`, (t) => {
    const tx = txCase(path, { size: 16, freeThresh: 4 });
    for (let i = 0; i < 12; i++) t.true(tx.send());
    tx.fixture.device.use(tx.fixture.device.takeAll().map((buffer) => ({ buffer, length: 0 })));
    t.is(tx.fixture.pool.inUse(), 12, 'nothing looks until descriptors run short');
    t.true(tx.send());
    t.is(tx.fixture.pool.inUse(), 1);
    tx.fixture.finish();
  });

  test(`${path}: a packet of more segments than the ring has descriptors is dropped and counted: it would hold up its queue for ever`, (t) => {
    const tx = txCase(path, { size: 4 });
    for (let i = 0; i < 3; i++) t.true(tx.send(9));
    t.is(tx.fixture.pool.inUse(), 0);
    t.is(tx.fixture.stat(DROP_TX), 3);
    t.true(tx.send());
    t.is(tx.fixture.stat(PACKETS), 1);
    tx.fixture.finish();
  });

  test(`${path}: a header is pushed when there is just room for it, at an even address, and else goes by itself`, (t) => {
    for (const [hdrSize, headroom, anyLayout, descriptors] of [
      [12, 12, true, 1],
      [12, 11, true, 2],
      [12, 13, true, 2], // the header would be at an odd address
      [20, 20, true, 1],
      [20, 19, true, 2],
      [10, 128, true, 1],
      [10, 128, false, 2], // legacy framing
    ] as const) {
      const tx = txCase(path, { hdrSize, anyLayout });
      const { pool, device } = tx.fixture;
      const m = packetFrom(pool, packetBytes(1, 64));
      const from = pool.dataStart(m);
      pool.u8.copyWithin(pool.bufOff(m) + headroom, from, from + 64);
      pool.dataOff[m] = headroom;
      t.is(tx.path.xmit(Uint32Array.of(m), 1), 1);
      const [buffer] = device.takeAll();
      t.is(buffer!.descriptors, descriptors, `header ${hdrSize}, headroom ${headroom}`);
      t.deepEqual([...gather(device, buffer!)], [...new Uint8Array(hdrSize), ...packetBytes(1, 64)]);
      tx.fixture.finish();
    }
  });

  test(`${path}: one descriptor for 2 to 7 segments when INDIRECT_DESC was negotiated, except in order on a split ring`, (t) => {
    for (const segments of [2, 7, 8]) {
      const tx = txCase(path, { indirect: true });
      t.true(tx.send(segments));
      const [buffer] = tx.fixture.device.takeAll();
      const indirect = segments < 8 && path !== 'virtio_xmit_pkts_inorder';
      t.is(buffer!.descriptors, indirect ? 1 : segments + 1);
      t.is(buffer!.pieces.length, segments + 1);
      tx.fixture.finish();
    }
  });

  test(`${path}: a reset frees what was in flight and counts it`, (t) => {
    const tx = txCase(path);
    for (let i = 0; i < 5; i++) tx.send();
    restart(tx.fixture);
    t.is(tx.fixture.pool.inUse(), 0);
    t.is(tx.fixture.stat(DROP_RESET), 5);
    tx.fixture.finish();
  });
}

test('a path opened in the wrong direction is an error that names it', (t) => {
  const rx = new GuestFixture(shape('virtio_recv_pkts'));
  t.throws(() => rx.openTx(), { message: /virtio_recv_pkts does not transmit/ });
  rx.finish();
  const tx = new GuestFixture(shape('virtio_xmit_pkts'));
  t.throws(() => tx.openRx(), { message: /virtio_xmit_pkts does not receive/ });
  tx.finish();
  t.is(tx.pool.get(), NIL);
});

test('a vectorized path whose SIMD code cannot run here is an error that names the instruction set', (t) => {
  const simd = process.arch === 'arm64' ? 'AVX2' : 'NEON';
  const expected = { code: 'ECONFIG', message: new RegExp(`no ${simd} code`) };
  for (const path of ['virtio_recv_pkts_vec', 'virtio_recv_pkts_packed_vec'] as const) {
    const fixture = new GuestFixture(shape(path, { simd }));
    t.throws(() => fixture.openRx(), expected);
    fixture.finish();
  }
  const fixture = new GuestFixture(shape('virtio_xmit_pkts_packed_vec', { simd }));
  t.throws(() => fixture.openTx(), expected);
  fixture.finish();
});
