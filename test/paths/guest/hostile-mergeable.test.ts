/** Packets over several buffers from a hostile or buggy device. */
import test from 'ava';
import {
  BROKEN_ID,
  BROKEN_ORDER,
  BROKEN_STALLED,
  BROKEN_TWICE,
  MAX_STALLED_POLLS,
  type RxPathName,
} from '../../../paths/guest/queue.js';
import { DROP_RUNT, DROP_SEGMENTS, DROP_TOO_LONG, ERRORS } from '../../../paths/stats.js';
import { destroyFixtureRegion, packetBytes, type Shape } from '../../support/guest-fixture.js';
import { assertDropped, assertRxBroken, drain, fillBuffer, rxCase, type RxCase } from '../support/hostile.js';
import { ifSimd } from '../../support/simd-here.js';
import { scatter } from '../../support/reference-ring.js';

test.after.always(destroyFixtureRegion);

const paths: RxPathName[] = [
  'virtio_recv_mergeable_pkts',
  'virtio_recv_pkts_inorder',
  'virtio_recv_mergeable_pkts_packed',
];

const mergeable = (path: RxPathName, more: Partial<Shape> = {}) => rxCase(path, { mergeable: true, ...more });

/** Uses the first buffers: a header that announces `numBuffers`, and these lengths, however many they are. */
function use(rx: RxCase, numBuffers: number, lengths: readonly number[]): void {
  const { device } = rx.fixture;
  const payload = packetBytes(1, rx.fixture.shape.dataRoom);
  fillBuffer(rx, rx.buffers[0]!, payload, numBuffers);
  device.use(lengths.map((length, i) => ({ buffer: rx.buffers[i]!, length })));
}

/** A packet over three buffers, and what it looks like when it arrives. */
function threeParts(rx: RxCase): { lengths: number[]; whole: Uint8Array } {
  const { shape, device } = rx.fixture;
  const whole = packetBytes(3, shape.dataRoom + 2 * (shape.dataRoom + shape.hdrSize) - 5);
  const lengths = [fillBuffer(rx, rx.buffers[0]!, whole.subarray(0, shape.dataRoom), 3)];
  let at = shape.dataRoom;
  for (const buffer of rx.buffers.slice(1, 3)) {
    const written = scatter(device, buffer, whole.subarray(at));
    lengths.push(written);
    at += written;
  }
  return { lengths, whole };
}

for (const path of paths) {
  test(`${path}: three full buffers are one packet of three segments`, (t) => {
    const rx = mergeable(path);
    const { lengths, whole } = threeParts(rx);
    rx.fixture.device.use(lengths.map((length, i) => ({ buffer: rx.buffers[i]!, length })));
    t.deepEqual(drain(rx), [whole]);
    rx.fixture.finish();
  });

  test(`${path}: a later buffer with no length, or one beyond it`, (t) => {
    for (const length of [0, 2048 + 13, 65536 + 5, 2 ** 31, 2 ** 32 - 1]) {
      const rx = mergeable(path);
      use(rx, 3, [2060, length, 100]);
      assertDropped(t, rx, DROP_SEGMENTS);
    }
  });

  test(`${path}: a last buffer that is bad`, (t) => {
    const rx = mergeable(path);
    use(rx, 3, [2060, 100, 4000]);
    assertDropped(t, rx, DROP_SEGMENTS);
  });

  test(`${path}: a packet longer than any that is allowed`, (t) => {
    const rx = mergeable(path);
    use(rx, 5, [2060, 2060, 2060, 2060, 2060]); // 2048 + 4 * 2060 > 9728
    assertDropped(t, rx, DROP_SEGMENTS);
  });

  test(`${path}: a first buffer that is too short or too long`, (t) => {
    for (const [length, counter] of [
      [12 + 13, DROP_RUNT],
      [2061, DROP_TOO_LONG],
    ] as const) {
      const rx = mergeable(path);
      use(rx, 1, [length]);
      assertDropped(t, rx, counter);
    }
  });

  test(`${path}: num_buffers 0 counts as 1`, (t) => {
    const rx = mergeable(path);
    const payload = packetBytes(4, 500);
    rx.fixture.device.use([{ buffer: rx.buffers[0]!, length: fillBuffer(rx, rx.buffers[0]!, payload, 0) }]);
    t.deepEqual(drain(rx), [payload]);
    rx.fixture.finish();
  });

  test(`${path}: num_buffers beyond any packet`, (t) => {
    for (const numBuffers of [7, 256, 0xffff]) {
      const rx = mergeable(path);
      use(rx, numBuffers, [2060]);
      assertDropped(t, rx, DROP_SEGMENTS);
    }
  });

  test(`${path}: more buffers announced than the ring has: waits, then gives the queue up`, (t) => {
    const rx = mergeable(path, { size: 4 });
    use(rx, 6, [2060, 2060, 2060, 2060]);
    t.is(rx.path.recv(rx.pkts, 64), 0);
    t.is(rx.fixture.broken, 0);
    for (let poll = 1; poll < MAX_STALLED_POLLS; poll++) rx.path.recv(rx.pkts, 64);
    t.is(rx.fixture.broken, 0);
    t.is(rx.path.recv(rx.pkts, 64), 0);
    assertRxBroken(t, rx, BROKEN_STALLED);
  });

  test(`${path}: parts that show up one by one: the packet arrives with the last, none is lost`, (t) => {
    const rx = mergeable(path);
    const { lengths, whole } = threeParts(rx);
    lengths.forEach((length, i) => {
      t.is(rx.path.recv(rx.pkts, 64), 0);
      rx.fixture.device.use([{ buffer: rx.buffers[i]!, length }]);
    });
    t.deepEqual(drain(rx), [whole]);
    t.is(rx.fixture.stat(ERRORS), 0);
    rx.fixture.finish();
  });

  test(`${path}: a burst shorter than a packet has parts receives it all the same`, (t) => {
    const rx = mergeable(path);
    const { lengths, whole } = threeParts(rx);
    rx.fixture.device.use(lengths.map((length, i) => ({ buffer: rx.buffers[i]!, length })));
    t.is(rx.path.recv(rx.pkts, 1), 1);
    t.is(rx.fixture.pool.pktLen[rx.pkts[0]!], whole.length);
    rx.fixture.pool.free(rx.pkts[0]!);
    rx.fixture.finish();
  });
}

// What a later part of a packet can have wrong besides its length; in each position.
for (const position of [1, 2]) {
  for (const [what, id, reason] of [
    ['beyond the ring', 16, BROKEN_ID],
    ['of this packet already', 0, BROKEN_TWICE],
  ] as const) {
    test(`virtio_recv_mergeable_pkts: part ${position} has an id ${what}`, (t) => {
      const rx = mergeable('virtio_recv_mergeable_pkts');
      fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 2048), 3);
      const { split } = rx.fixture;
      for (let i = 0; i < 3; i++) split.writeEntry(i, i === position ? id : rx.buffers[i]!.id, 2060);
      split.advance(3);
      t.is(rx.path.recv(rx.pkts, 64), 0);
      t.is(rx.fixture.pool.inUse(), rx.fixture.spec.nbDesc - 1 - (position - 1), 'what it had gathered is free');
      assertRxBroken(t, rx, reason);
    });

    test(`virtio_recv_mergeable_pkts_packed: part ${position} has an id ${what}`, (t) => {
      const rx = mergeable('virtio_recv_mergeable_pkts_packed');
      fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 2048), 3);
      const { packed } = rx.fixture;
      for (let i = 2; i >= 0; i--) packed.writeUsed(i, 1, i === position ? id : rx.buffers[i]!.id, 2060);
      t.is(rx.path.recv(rx.pkts, 64), 0);
      assertRxBroken(t, rx, reason);
    });
  }

  test(`virtio_recv_pkts_inorder: part ${position} is out of order`, (t) => {
    const rx = mergeable('virtio_recv_pkts_inorder');
    fillBuffer(rx, rx.buffers[0]!, packetBytes(1, 2048), 3);
    const { split } = rx.fixture;
    for (let i = 0; i < 3; i++) split.writeEntry(i, i === position ? 9 : rx.buffers[i]!.id, 2060);
    split.advance(3);
    t.is(rx.path.recv(rx.pkts, 64), 0);
    assertRxBroken(t, rx, BROKEN_ORDER);
  });
}

test('num_buffers means nothing on paths without mergeable buffers', (t) => {
  const vectorized = ifSimd<RxPathName>('virtio_recv_pkts_vec', 'virtio_recv_pkts_packed_vec');
  for (const path of [
    'virtio_recv_pkts',
    'virtio_recv_pkts_inorder',
    'virtio_recv_pkts_packed',
    ...vectorized,
  ] as const) {
    for (const numBuffers of [0, 2, 0xffff]) {
      const rx = rxCase(path);
      const payload = packetBytes(4, 500);
      rx.fixture.device.use([{ buffer: rx.buffers[0]!, length: fillBuffer(rx, rx.buffers[0]!, payload, numBuffers) }]);
      t.deepEqual(drain(rx), [payload]);
      rx.fixture.finish();
    }
  }
});
