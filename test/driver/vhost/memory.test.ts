/** SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG with everything a front-end can get wrong about memory. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { SUPPORTED_FEATURES } from '../../../driver/vhost/index.js';
import { MAX_GUEST_MEMORY } from '../../../driver/wire/vhost-user-checks.js';
import * as wire from '../../../driver/wire/vhost-user.js';
import { VIRTIO_F_RING_PACKED } from '../../../driver/wire/virtio-features.js';
import { guardAvailable } from '../../../native/guard.js';
import { closeFd } from '../../../native/region.js';
import { socketPair } from '../../../native/socket.js';
import type { Mempool } from '../../../paths/mempool.js';
import {
  GUEST_BASE,
  MEMORY_SIZE,
  memfdMaps,
  USER_BASE,
  withFrontend,
  type RawFrontend,
} from './support/raw-frontend.js';
import { needs } from '../../support/needs.js';

/** Files of memory can be made here. */
const TMPFS = '/dev/shm';

const SPLIT = SUPPORTED_FEATURES & ~VIRTIO_F_RING_PACKED;
const SLOTS = wire.PROTOCOL_F_REPLY_ACK | wire.PROTOCOL_F_CONFIGURE_MEM_SLOTS;

/** A front-end after its features, with a running back-end that can answer. */
function withNegotiated(t: ExecutionContext, body: (front: RawFrontend, complaints: () => string) => void) {
  withFrontend(t, (front, backend) => {
    front.negotiate(SPLIT, SLOTS);
    body(front, () => backend.complaints);
  });
}

const table = (front: RawFrontend, regions: wire.MemoryRegion[], fds: number[]) =>
  front.ack(wire.SET_MEM_TABLE, wire.encodeMemoryTable(regions), fds);

/** Regions that cannot be, and what is said about each. */
const impossible: readonly (readonly [name: string, change: Partial<wire.MemoryRegion>, says: RegExp])[] = [
  ['size 0', { size: 0n }, /memory region of size 0/],
  ['size 2^63', { size: 1n << 63n }, /at most 0x/],
  ['more than 512 GiB', { size: BigInt(MAX_GUEST_MEMORY) + 4096n }, /at most 0x/],
  ['offset + size wraps', { mmapOffset: 2n ** 64n - 4096n }, /overflow/],
  ['offset beyond the file', { mmapOffset: BigInt(MEMORY_SIZE) }, /would be a bus error/],
  ['one page longer than the file', { size: BigInt(MEMORY_SIZE) + 4096n }, /would be a bus error/],
  ['one byte longer than the file', { size: BigInt(MEMORY_SIZE) + 1n }, /would be a bus error/],
  ['guest address wraps', { guestAddr: 2n ** 64n - 4096n }, /ends beyond 2\^53/],
  ['user address wraps', { userAddr: 2n ** 64n - 4096n }, /ends beyond 2\^53/],
  ['guest address beyond 2^53', { guestAddr: 1n << 53n }, /ends beyond 2\^53/],
  ['addresses that no page mapping can give', { guestAddr: GUEST_BASE + 8n }, /differ in alignment/],
];

for (const [name, change, says] of impossible) {
  test(`a region with ${name} is refused in one sentence, by table and by slot`, (t) => {
    withNegotiated(t, (front, complaints) => {
      const region = front.memoryRegion(change);
      t.is(table(front, [region], [front.memory.fd]), 1n);
      t.is(front.ack(wire.ADD_MEM_REG, wire.encodeSingleRegion(region), [front.memory.fd]), 1n);
      t.regex(complaints(), says);
      t.is(front.setMemory(), 0n, 'the session goes on');
    });
  });
}

test('descriptors of the wrong kind are refused, and named', (t) => {
  const directory = mkdtempSync(join(TMPFS, 'vpmd-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'f');
  const writable = openSync(file, 'w+');
  ftruncateSync(writable, MEMORY_SIZE);
  const pair = socketPair();
  const O_PATH = 0o10000000;
  const kinds: [string, number, RegExp][] = [
    ['a socket', pair[0], /is a socket and not a file of memory/],
    ['a directory', openSync(directory, 'r'), /is the file \/dev\/shm\/.* and not a file of memory/],
    ['/dev/null', openSync('/dev/null', 'r+'), /is the file \/dev\/null and not/],
    ['a file on a disk', openSync(import.meta.filename, 'r'), /is the file \/.*vhost\/memory.* and not/],
    ['read-only', openSync(file, 'r'), /permission denied/],
    ['O_PATH', openSync(file, O_PATH), /is the file .* and not/],
  ];
  for (const [name, fd, says] of kinds) {
    withNegotiated(t, (front, complaints) => {
      t.is(table(front, [front.memoryRegion()], [fd]), 1n, name);
      t.regex(complaints(), says);
    });
    closeSync(fd);
  }
  withNegotiated(t, (front, complaints) => {
    t.is(table(front, [front.memoryRegion()], [front.eventFd()]), 1n);
    t.regex(complaints(), /is an event descriptor and not a file of memory/);
  });
  closeFd(pair[1]);
  closeSync(writable);
});

test('a file on a disk is memory when it is asked for; what is no file at all never is', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const fd = openSync(join(directory, 'ram'), 'w+');
  ftruncateSync(fd, MEMORY_SIZE);
  const options = { anyMemoryFile: true };
  withFrontend(
    t,
    (front, backend) => {
      front.negotiate(SPLIT, SLOTS);
      t.is(table(front, [front.memoryRegion()], [fd]), 0n);
      t.is(table(front, [front.memoryRegion()], [front.eventFd()]), 1n);
      t.regex(backend.complaints, /is an event descriptor and not a file of memory/);
    },
    options,
  );
  closeSync(fd);
});

test('regions that overlap in either kind of address are refused; neighbours are not', (t) => {
  withNegotiated(t, (front) => {
    const half = BigInt(MEMORY_SIZE / 2);
    const fds = [front.memory.fd, front.memory.fd];
    const low = front.memoryRegion({ size: half });
    const high = (guest: bigint, user: bigint) =>
      front.memoryRegion({ guestAddr: guest, userAddr: user, size: half, mmapOffset: half });
    t.is(table(front, [low, high(GUEST_BASE + half - 16n, USER_BASE + half)], fds), 1n);
    t.is(table(front, [low, high(GUEST_BASE + half, USER_BASE + half - 16n)], fds), 1n);
    t.is(table(front, [low, high(GUEST_BASE + half, USER_BASE + half)], fds), 0n);
    t.is(memfdMaps(), 3, 'ours and the two of the table');
  });
});

test('a table that is refused leaves the old one as it was', (t) => {
  withNegotiated(t, (front) => {
    t.is(front.setMemory(), 0n);
    const good = front.memoryRegion({ guestAddr: 0n, userAddr: 0n });
    t.is(table(front, [good, front.memoryRegion({ size: 0n })], [front.memory.fd, front.memory.fd]), 1n);
    t.is(memfdMaps(), 2);
    t.deepEqual(front.startRing(0, 64, 0), [0n, 0n, 0n, 0n, 0n, 0n]);
  });
});

for (const count of [9, 255, 0xffffffff]) {
  test(`${count} regions end the session`, (t) => {
    withNegotiated(t, (front, complaints) => {
      const payload = new Uint8Array(wire.MEMORY_HEADER_SIZE + 9 * wire.REGION_SIZE);
      new DataView(payload.buffer).setUint32(0, count, true);
      front.send(wire.SET_MEM_TABLE, payload, new Array<number>(8).fill(front.memory.fd));
      t.true(front.closed);
      t.regex(complaints(), /too many memory regions/);
    });
  });
}

test('an empty table unmaps everything, but not under a running ring', (t) => {
  withNegotiated(t, (front, complaints) => {
    t.is(front.setMemory(), 0n);
    front.startRing(0, 64, 0);
    t.is(table(front, [], []), 1n);
    t.regex(complaints(), /empty memory table/);
    front.stop(0);
    t.is(table(front, [], []), 0n);
    t.is(memfdMaps(), 1);
  });
});

test('the same table again changes nothing; the same numbers in another file do', (t) => {
  withFrontend(t, (front, backend) => {
    front.negotiate(SPLIT);
    t.is(front.setMemory(), 0n);
    t.is(front.setMemory(), 0n);
    t.is(backend.log.filter((line) => /not changed/.test(line)).length, 1);
    const directory = mkdtempSync(join(TMPFS, 'vpmd-'));
    const fd = openSync(join(directory, 'f'), 'w+');
    ftruncateSync(fd, MEMORY_SIZE);
    t.is(table(front, [front.memoryRegion()], [fd]), 0n);
    t.is(memfdMaps(), 1, "the memfd's mapping is gone");
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });
});

test('offset and size that are no multiples of a page are mapped around', (t) => {
  withNegotiated(t, (front) => {
    const shift = 0x1230n;
    const region = front.memoryRegion({
      guestAddr: GUEST_BASE + shift,
      userAddr: USER_BASE + shift,
      mmapOffset: shift,
      size: 100_000n,
    });
    t.is(table(front, [region], [front.memory.fd]), 0n);
    // a ring right at the unaligned beginning, at the address that it has
    t.deepEqual(front.startRing(0, 64, Number(shift)), [0n, 0n, 0n, 0n, 0n, 0n]);
    // and one byte too far at its end
    t.is(front.ack(wire.SET_VRING_ADDR, front.ringAddr(1, 64, Number(shift) + 100_000 - 16)), 0n, 'size unknown yet');
    t.is(front.state(wire.SET_VRING_NUM, 1, 64), 0n);
    t.is(front.ack(wire.SET_VRING_ADDR, front.ringAddr(1, 64, Number(shift) + 100_000 - 16)), 1n);
  });
});

test('slots: 64 and no more, removed by addresses and size, a removed ring stops', (t) => {
  withFrontend(t, (front, backend) => {
    front.negotiate(SPLIT, SLOTS);
    t.is(front.get(wire.GET_MAX_MEM_SLOTS), 64n);
    const size = BigInt(MEMORY_SIZE / 128);
    const slot = (i: bigint) =>
      front.memoryRegion({
        guestAddr: GUEST_BASE + i * size,
        userAddr: USER_BASE + i * size,
        size,
        mmapOffset: i * size,
      });
    const add = (i: bigint) => front.ack(wire.ADD_MEM_REG, wire.encodeSingleRegion(slot(i)), [front.memory.fd]);
    for (let i = 0n; i < 64n; i++) t.is(add(i), 0n);
    t.is(add(65n), 1n);
    t.regex(backend.complaints, /all 64 memory slots are taken/);

    t.deepEqual(front.startRing(0, 64, 0), [0n, 0n, 0n, 0n, 0n, 0n]);
    t.deepEqual(front.startRing(1, 64, MEMORY_SIZE / 128), [0n, 0n, 0n, 0n, 0n, 0n]);
    t.deepEqual(backend.events.slice(-3), ['ring 0 on', 'ring 1 on', 'new']);
    const remove = (i: bigint, fds: number[] = []) =>
      front.ack(wire.REM_MEM_REG, wire.encodeSingleRegion({ ...slot(i), mmapOffset: 77n }), fds);
    t.is(remove(5n), 0n);
    t.true(backend.device.ready, 'other rings go on');
    t.is(remove(5n), 1n);
    t.is(remove(1n, [front.memory.fd]), 0n, 'with a descriptor, which is closed');
    t.deepEqual(backend.events.slice(-2), ['ring 1 off', 'destroy']);
    t.regex(backend.complaints, /vring 1[^]*the ring stops/);
    t.is(memfdMaps(), 1 + 62);
  });
});

test('a region that is added once per queue pair, as QEMU 7.2 does, is removed as often', (t) => {
  withFrontend(t, (front) => {
    front.negotiate(SPLIT, SLOTS);
    const maps = () => memfdMaps();
    t.true(front.memory.fd >= 0); // the front-end has mapped its own
    const before = maps();
    const region = { guestAddr: GUEST_BASE, userAddr: USER_BASE, size: BigInt(MEMORY_SIZE), mmapOffset: 0n };
    const message = wire.encodeSingleRegion(region);
    const add = () => front.ack(wire.ADD_MEM_REG, message, [front.memory.fd]);
    const remove = () => front.ack(wire.REM_MEM_REG, message);
    t.is(add(), 0n);
    const once = maps();
    t.true(once > before);
    t.deepEqual([add(), add()], [0n, 0n]);
    t.is(maps(), once);
    t.deepEqual([remove(), remove()], [0n, 0n]);
    t.is(maps(), once);
    t.is(remove(), 0n);
    t.is(maps(), before);
  });
});

test('a table under running rings: they go on where they were, in the new mapping', (t) => {
  withFrontend(t, (front, backend) => {
    front.negotiate(SPLIT);
    front.setMemory();
    front.startRing(0, 64, 0);
    front.startRing(1, 64, 1 << 16);
    const events = backend.events.length;
    const half = BigInt(MEMORY_SIZE / 2);
    const upper = { guestAddr: GUEST_BASE + half, userAddr: USER_BASE + half, size: half, mmapOffset: half };
    const fds = [front.memory.fd, front.memory.fd];
    t.is(table(front, [front.memoryRegion({ size: half }), front.memoryRegion(upper)], fds), 0n);
    t.true(backend.device.ready);
    t.deepEqual(backend.events.slice(events), [], 'nobody had to be told');
    // now a table without the rings
    t.is(table(front, [front.memoryRegion(upper)], [front.memory.fd]), 0n);
    t.deepEqual(backend.events.slice(events), ['ring 0 off', 'ring 1 off', 'destroy']);
    t.is(backend.device.dequeueBurst(1, undefined as unknown as Mempool, new Uint32Array(1), 1), 0, 'no stale pointer');
    // and they come back with the memory
    t.is(front.setMemory(), 0n);
    t.deepEqual(backend.events.slice(events + 3), ['ring 0 on', 'ring 1 on', 'new']);
  });
});

needs(guardAvailable().reason)('a file truncated after it was mapped ends the session and not the process', (t) => {
  const directory = mkdtempSync(join(TMPFS, 'vpmd-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  withFrontend(t, (front, backend) => {
    const fd = openSync(join(directory, 'f'), 'w+');
    ftruncateSync(fd, MEMORY_SIZE);
    writeSync(fd, 'x');
    front.negotiate(SPLIT);
    t.is(table(front, [front.memoryRegion()], [fd]), 0n);
    front.startRing(0, 64, 0);
    front.startRing(1, 64, 1 << 16);
    ftruncateSync(fd, 0);
    // the ring's indices are gone: reading them is a bus error
    backend.device.dequeueBurst(1, undefined as unknown as Mempool, new Uint32Array(1), 1);
    backend.driver.poll();
    t.true(front.closed);
    t.regex(backend.complaints, /was truncated/);
    closeSync(fd);
  });
});
