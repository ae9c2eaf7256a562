/** The real driver's paths on one end of a ring, the real device's on the other: both halves mean the same thing. */
import test from 'ava';
import fc from 'fast-check';
import { viewsOf } from '../../../native/region.js';
import { GuestMemory } from '../../../paths/device/guest-memory.js';
import { openDeviceQueue } from './support/device-queue.js';

import type { TestQueue } from './support/device-queue.js';
import { isTx, layoutOf, ringBase, type RxPathName, type TxPathName } from '../../../paths/guest/queue.js';
import { destroyFixtureRegion, GuestFixture, shape } from '../../support/guest-fixture.js';
import { packet, World } from './support/mock-driver.js';

const GUEST_ADDRESS = 0x12_4000_0000;
const USER_ADDRESS = 0x7f00_0000_0000;

const host = new World(512);
test.after.always(() => {
  host.destroy();
  destroyFixtureRegion();
});

function deviceOf(guest: GuestFixture): TestQueue {
  const { spec } = guest;
  const { mapping, ringOff } = spec;
  const layout = layoutOf(spec);
  const region = {
    guestAddr: GUEST_ADDRESS,
    userAddr: USER_ADDRESS,
    size: mapping.byteLength,
    views: viewsOf(mapping),
    address: Number(mapping.address),
    viewBytes: mapping.byteLength,
    offset: 0,
  };
  return openDeviceQueue(
    {
      ...spec,
      index: isTx(spec) ? 1 : 0,
      descAddr: USER_ADDRESS + ringOff + layout.desc,
      driverAddr: USER_ADDRESS + ringOff + layout.driver,
      deviceAddr: USER_ADDRESS + ringOff + layout.device,
      base: ringBase(spec),
      left: ringBase(spec),
      callFd: -1,
    },
    new GuestMemory([region]),
  );
}

const settings = fc.record({
  hdrSize: fc.constantFrom(10, 12, 20),
  anyLayout: fc.boolean(),
  eventIdx: fc.boolean(),
  indirect: fc.boolean(),
  inOrder: fc.boolean(),
  size: fc.constantFrom(32, 64, 256),
  start: fc.nat(65535),
  bursts: fc.array(
    fc.record({
      lengths: fc.array(fc.oneof(fc.integer({ min: 60, max: 128 }), fc.integer({ min: 60, max: 9728 })), {
        minLength: 1,
        maxLength: 32,
      }),
      receive: fc.integer({ min: 0, max: 32 }),
      room: fc.constantFrom(512, 2048),
    }),
    { maxLength: 20 },
  ),
});
type Settings = typeof settings extends fc.Arbitrary<infer T> ? T : never;

function guestOf(path: RxPathName | TxPathName, s: Settings): GuestFixture {
  const packed = path.includes('_packed');
  const mergeable = path.includes('_mergeable') || (path.includes('_inorder') && s.hdrSize === 12);
  return new GuestFixture(
    shape(path, {
      ...s,
      hdrSize: mergeable ? 12 : s.hdrSize,
      mergeable,
      inOrder: path.includes('_inorder') || (packed && s.inOrder),
      start: packed ? { index: s.start % s.size, wrap: s.start >> 15 } : { index: s.start, wrap: 0 },
      mbufs: 800,
    }),
  );
}

/** Sends and receives as the bursts say; whatever was taken must arrive. */
function run(
  s: Settings,
  maxLength: number,
  send: (pkts: Uint32Array, n: number) => number,
  receive: (pkts: Uint32Array, n: number) => number,
  make: (bytes: number[], room: number) => number,
  drop: (pkts: Uint32Array, from: number, n: number) => void,
  read: (m: number) => number[],
): void {
  const expected: number[][] = [];
  const pkts = new Uint32Array(64);
  let serial = 0;
  const take = (n: number) => {
    const count = receive(pkts, n);
    for (let i = 0; i < count; i++) {
      const bytes = read(pkts[i]!);
      const wanted = expected.shift() ?? [];
      if (Buffer.compare(Buffer.from(bytes), Buffer.from(wanted)) !== 0) {
        throw new Error(`${bytes.length} bytes received, ${wanted.length} expected`);
      }
    }
    return count;
  };
  for (const { lengths, receive: n, room } of s.bursts) {
    const packets = lengths.map((length) => packet(serial++, Math.min(length, maxLength)));
    const burst = Uint32Array.from(packets.map((bytes) => make(bytes, room)));
    const sent = send(burst, burst.length);
    drop(burst, sent, burst.length - sent);
    expected.push(...packets.slice(0, sent));
    take(n);
  }
  while (take(32) > 0);
  if (expected.length > 0) throw new Error(`${expected.length} packets never arrived`);
}

/** A packet of the guest in mbufs of its pool. */
function guestPacket(guest: GuestFixture, bytes: number[], room: number): number {
  const { pool } = guest;
  const first = pool.get();
  let m = first;
  let segments = 1;
  for (let at = 0; ; at += room, segments++) {
    const part = bytes.slice(at, at + room);
    pool.dataOff[m] = pool.headroom;
    pool.dataLen[m] = part.length;
    pool.u8.set(part, pool.dataStart(m));
    if (at + room >= bytes.length) break;
    m = pool.next[m] = pool.get();
  }
  pool.pktLen[first] = bytes.length;
  pool.nbSegs[first] = segments;
  pool.olFlags[first] = 0;
  return first;
}

for (const path of ['virtio_xmit_pkts', 'virtio_xmit_pkts_inorder', 'virtio_xmit_pkts_packed'] as const) {
  test(`${path} -> dequeue`, (t) => {
    fc.assert(
      fc.property(settings, (s) => {
        const guest = guestOf(path, s);
        const device = deviceOf(guest);
        const tx = guest.openTx();
        run(
          s,
          9728,
          (pkts, n) => tx.xmit(pkts, n),
          (pkts, n) => device.dequeue(host.pool, pkts, n),
          (bytes, room) => guestPacket(guest, bytes, room),
          (pkts, from, n) => guest.pool.freeBulk(pkts, from, n),
          (m) => host.take(m),
        );
        if (device.broken !== undefined || guest.broken !== 0) throw new Error(device.broken ?? 'guest');
        if (host.pool.inUse() !== 0) throw new Error('the device leaks');
        guest.finish();
      }),
      { numRuns: 40 },
    );
    t.pass();
  });
}

for (const path of [
  'virtio_recv_pkts',
  'virtio_recv_mergeable_pkts',
  'virtio_recv_pkts_inorder',
  'virtio_recv_pkts_packed',
  'virtio_recv_mergeable_pkts_packed',
] as const) {
  test(`enqueue -> ${path}`, (t) => {
    fc.assert(
      fc.property(settings, (s) => {
        const guest = guestOf(path, s);
        const device = deviceOf(guest);
        const rx = guest.openRx();
        rx.fill();
        run(
          s,
          guest.spec.mergeable ? 9728 : 1518,
          (pkts, n) => {
            const sent = device.enqueue(host.pool, pkts, n);
            host.pool.freeBulk(pkts, 0, sent); // copied; the rest is dropped below
            return sent;
          },
          (pkts, n) => rx.recv(pkts, n),
          (bytes, room) => host.mbuf(bytes, room),
          (pkts, from, n) => host.pool.freeBulk(pkts, from, n),
          (m) => {
            const { pool } = guest;
            const bytes: number[] = [];
            for (let i = m; i >= 0; i = pool.next[i]!) {
              bytes.push(...pool.u8.subarray(pool.dataStart(i), pool.dataStart(i) + pool.dataLen[i]!));
            }
            pool.free(m);
            return bytes;
          },
        );
        if (device.broken !== undefined || guest.broken !== 0) throw new Error(device.broken ?? 'guest');
        if (host.pool.inUse() !== 0) throw new Error('the device leaks');
        guest.finish();
      }),
      { numRuns: 40 },
    );
    t.pass();
  });
}
