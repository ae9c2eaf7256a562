/** Complete conversations, every message acknowledged, and packets through the rings that they start. */
import test from 'ava';
import { SUPPORTED_FEATURES, SUPPORTED_PROTOCOL_FEATURES, type VhostDevice } from '../../../driver/vhost/index.js';
import * as wire from '../../../driver/wire/vhost-user.js';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../../../driver/wire/virtio-features.js';
import { drainFd } from '../../../native/event.js';
import { createRegion, destroyRegion, viewsOf } from '../../../native/region.js';
import { packedLayout, splitLayout } from '../../../paths/layout.js';
import { AVAIL_WRAP, queueState } from '../../../paths/guest/queue.js';
import { createMempool, Mempool } from '../../../paths/mempool.js';
import { fillAndBlock } from '../../support/hostile-eventfd.js';
import { withFrontend, type RawFrontend } from './support/raw-frontend.js';
import { RawGuest, type GuestShape } from './support/raw-guest.js';

/** Gives the guest back what it has sent. @returns packets. */
function loop(device: VhostDevice, pool: Mempool): number {
  const pkts = new Uint32Array(32);
  const n = device.dequeueBurst(1, pool, pkts, 32);
  const taken = device.enqueueBurst(0, pool, pkts, n);
  pool.freeBulk(pkts, 0, n);
  return taken;
}

function hostPool() {
  const mapping = createRegion('host', 512 * 2176, false);
  const options = { name: 'host', mapping, base: 0, count: 512, headroom: 128, dataRoom: 2048, cacheSize: 32 };
  const pool = new Mempool(createMempool({ ...options, deviceAddress: BigInt }), 0);
  return { pool, destroy: () => destroyRegion(mapping) };
}

/** Bytes that follow from a number. */
const frame = (serial: number, length: number) =>
  Uint8Array.from({ length }, (_, i) => (serial * 31 + i * 7 + (i >> 8)) & 0xff);

const shapes: Record<string, GuestShape> = {
  'split mergeable': {
    rx: 'virtio_recv_mergeable_pkts',
    tx: 'virtio_xmit_pkts',
    size: 64,
    mergeable: true,
    inOrder: false,
    indirect: true,
  },
  'split in-order': {
    rx: 'virtio_recv_pkts_inorder',
    tx: 'virtio_xmit_pkts_inorder',
    size: 64,
    mergeable: true,
    inOrder: true,
  },
  split: { rx: 'virtio_recv_pkts', tx: 'virtio_xmit_pkts', size: 128, mergeable: false, inOrder: false },
  packed: {
    rx: 'virtio_recv_pkts_packed',
    tx: 'virtio_xmit_pkts_packed',
    size: 255,
    mergeable: false,
    inOrder: false,
  },
  'packed in-order mergeable': {
    rx: 'virtio_recv_mergeable_pkts_packed',
    tx: 'virtio_xmit_pkts_packed',
    size: 64,
    mergeable: true,
    inOrder: true,
    indirect: true,
  },
};

function featuresOf(shape: GuestShape): bigint {
  let features = SUPPORTED_FEATURES & ~VIRTIO_F_EVENT_IDX;
  if (!shape.rx.includes('_packed')) features &= ~VIRTIO_F_RING_PACKED;
  if (!shape.mergeable) features &= ~VIRTIO_NET_F_MRG_RXBUF;
  if (!shape.inOrder) features &= ~VIRTIO_F_IN_ORDER;
  if (!shape.indirect) features &= ~VIRTIO_F_INDIRECT_DESC;
  return features;
}

/** From the owner to DRIVER_OK, each message with NEED_REPLY where that is possible. */
function converse(front: RawFrontend, guest: RawGuest, features: bigint): (bigint | undefined)[] {
  const { size, packed } = guest.rx.spec;
  const protocol = wire.PROTOCOL_F_MQ | wire.PROTOCOL_F_REPLY_ACK | wire.PROTOCOL_F_STATUS;
  const status = (value: number) => front.ack(wire.SET_STATUS, wire.encodeU64(BigInt(value)));
  front.send(wire.SET_OWNER);
  front.send(wire.SET_PROTOCOL_FEATURES, wire.encodeU64(protocol));
  return [
    ...[0, 1].map((index) => front.ack(wire.SET_VRING_CALL, wire.encodeVringFd(index, true), [front.eventFd()])),
    front.ack(wire.SET_FEATURES, wire.encodeU64(features)),
    status(0xb),
    front.setMemory(),
    ...[0, 1].flatMap((index) => [
      front.state(wire.SET_VRING_NUM, index, size),
      front.state(wire.SET_VRING_BASE, index, packed ? 0x8000 : 0),
      front.ack(wire.SET_VRING_ADDR, front.ringAddr(index, size, guest.ringOff[index]!, packed)),
      front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(index, true), [front.eventFd()]),
    ]),
    ...[0, 1].map((index) => front.state(wire.SET_VRING_ENABLE, index, 1)),
    status(0xf),
  ];
}

for (const [name, shape] of Object.entries(shapes)) {
  test(`${name}: DPDK's order of messages, each acknowledged, then packets of all sizes come back whole`, (t) => {
    const { pool, destroy } = hostPool();
    withFrontend(t, (front, backend) => {
      const features = featuresOf(shape);
      t.is(front.get(wire.GET_FEATURES), SUPPORTED_FEATURES);
      t.is(front.get(wire.GET_PROTOCOL_FEATURES), SUPPORTED_PROTOCOL_FEATURES);
      t.is(front.get(wire.GET_QUEUE_NUM), 1n);
      const guest = new RawGuest(front, shape);
      const answers = converse(front, guest, features);
      t.deepEqual(answers, new Array<bigint>(answers.length).fill(0n));
      t.is(front.get(wire.GET_STATUS), 0xfn);
      const hex = `features 0x${features.toString(16)}`;
      t.deepEqual(backend.events, ['connect', hex, 'ring 0 on', 'ring 1 on', 'new']);
      t.is(backend.complaints, '');

      // several laps of the ring, a change of memory in the middle of them
      const { device } = backend;
      let serial = 0;
      for (let round = 0; round < 40; round++) {
        const sent: Uint8Array[] = [];
        for (let i = 0; i < 20; i++) {
          const longest = shape.mergeable ? 9000 : 1900;
          const length = i === 0 ? (round % 2 ? 60 : longest) : 60 + ((serial * 97) % 1400);
          const bytes = frame(serial++, length);
          if (guest.send(bytes, i % 5 === 0 ? 500 : 2048)) sent.push(bytes);
        }
        if (round === 20) t.is(front.ack(wire.SET_MEM_TABLE, wire.encodeMemoryTable([]), []), 1n);
        const back: Uint8Array[] = [];
        for (let turn = 0; turn < 4; turn++) {
          loop(device, pool);
          back.push(...guest.receive());
        }
        t.deepEqual(back, sent, `round ${round}`);
        if (round === 10) {
          // the same memory in two halves: a new table under traffic
          const half = front.memoryRegion().size / 2n;
          const upper = front.memoryRegion({
            guestAddr: front.memoryRegion().guestAddr + half,
            userAddr: front.memoryRegion().userAddr + half,
            mmapOffset: half,
            size: half,
          });
          const table = wire.encodeMemoryTable([front.memoryRegion({ size: half }), upper]);
          t.is(front.ack(wire.SET_MEM_TABLE, table, [front.memory.fd, front.memory.fd]), 0n);
        }
      }
      const stats = device.ringStats(1);
      t.is(stats.get('rx_q0_good_packets'), serial);
      t.is(device.ringStats(0).get('tx_q0_good_packets'), serial);
      t.is(stats.size, 24, "rte_vhost's 21 and three of ours");
      t.is(device.enqueueBurst(1, pool, new Uint32Array(1), 1), 0, 'a guest Tx ring cannot be enqueued to');
      t.regex(backend.complaints, /enqueue: invalid virtqueue idx 1/);

      // stop as DPDK does: disable, ask for the bases, reset
      for (const index of [0, 1]) t.is(front.state(wire.SET_VRING_ENABLE, index, 0), 0n);
      const base = front.stop(1);
      if (!shape.rx.includes('_packed')) t.is(base, serial & 0xffff);
      front.stop(0);
      t.is(front.ack(wire.SET_STATUS, wire.encodeU64(0n)), 0n);
      t.deepEqual(backend.events.slice(5), ['ring 0 off', 'destroy', 'ring 1 off']);
      t.is(guest.leaked(), 0, "the guest's mbufs");
    });
    t.is(pool.inUse(), 0, "the back-end's mbufs");
    destroy();
  });
}

for (const name of ['split mergeable', 'packed'] as const) {
  test(`${name}: call and error eventfds that the guest fills and makes blocking again and again: nobody waits`, (t) => {
    const { pool, destroy } = hostPool();
    const shape = shapes[name]!;
    withFrontend(t, (front, backend) => {
      const guest = new RawGuest(front, shape);
      converse(front, guest, featuresOf(shape));
      const fds = [front.eventFd(), front.eventFd(), front.eventFd()];
      for (const index of [0, 1]) {
        t.is(front.ack(wire.SET_VRING_CALL, wire.encodeVringFd(index, true), [fds[index]!]), 0n);
        t.is(front.ack(wire.SET_VRING_ERR, wire.encodeVringFd(index, true), [fds[2]!]), 0n);
        // the guest wants notifications: flags 0
        const { mapping, ringOff, size } = index === 0 ? guest.rx.spec : guest.tx.spec;
        const flags = name === 'packed' ? packedLayout(size).driver + 2 : splitLayout(size).driver;
        viewsOf(mapping).u16[(ringOff + flags) / 2] = 0;
      }
      for (let i = 0; i < 300; i++) {
        fds.forEach(fillAndBlock);
        guest.send(frame(i, 100));
        t.is(loop(backend.device, pool), 1);
        t.is(guest.receive().length, 1);
      }
      t.is(backend.device.ringStats(0).get('tx_q0_guest_notifications'), 300);
      t.is(backend.device.ringStats(1).get('rx_q0_guest_notifications'), 300);
      t.true(fds.slice(0, 2).every(drainFd));

      // the error descriptor: the ring is broken
      fds.forEach(fillAndBlock);
      const { mapping, ringOff, size } = guest.tx.spec;
      if (name === 'packed') {
        // a chain that never ends: every descriptor is available, and none is the last
        const { u32 } = viewsOf(mapping);
        const { words } = queueState(guest.tx.spec);
        const available = words[AVAIL_WRAP] ? 0x80 : 0x8000;
        for (let i = 0; i < size; i++) u32[ringOff / 4 + 4 * i + 3] = (available | 1) << 16;
      } else viewsOf(mapping).u16[(ringOff + splitLayout(size).driver) / 2 + 1]! += 1000;
      loop(backend.device, pool);
      backend.driver.poll();
      t.regex(backend.complaints, /vring 1 is given up/);
    });
    destroy();
  });
}

test('a guest that vanishes in the middle of traffic takes nothing with it', (t) => {
  const { pool, destroy } = hostPool();
  for (let round = 0; round < 5; round++) {
    withFrontend(t, (front, backend) => {
      const guest = new RawGuest(front, shapes['split mergeable']!);
      converse(front, guest, featuresOf(shapes['split mergeable']!));
      const { device } = backend;
      for (let i = 0; i < 30; i++) guest.send(frame(i, 100));
      const pkts = new Uint32Array(16);
      const n = device.dequeueBurst(1, pool, pkts, 16);
      t.is(n, 16);
      front.channel.close();
      backend.driver.poll();
      t.deepEqual(backend.events.slice(-4), ['ring 0 off', 'ring 1 off', 'destroy', 'disconnect']);
      t.is(device.enqueueBurst(0, pool, pkts, n), 0);
      t.is(device.dequeueBurst(1, pool, pkts, 16), 0);
      pool.freeBulk(pkts, 0, n);
    });
  }
  t.is(pool.inUse(), 0);
  destroy();
});
