/** Guests of many GiB: regions are mapped whole and seen in slices, whose borders rings and buffers may cross. */
import { readSync, writeSync } from 'node:fs';
import test from 'ava';
import { SUPPORTED_FEATURES } from '../../../driver/vhost/index.js';
import * as wire from '../../../driver/wire/vhost-user.js';
import { VIRTIO_F_RING_PACKED } from '../../../driver/wire/virtio-features.js';
import { closeFd, createRegion, destroyRegion } from '../../../native/region.js';
import { packedLayout, splitLayout } from '../../../paths/layout.js';
import { createMempool, Mempool } from '../../../paths/mempool.js';
import { readPacket } from '../../../paths/mbuf.js';
import { USER_BASE, withFrontend } from './support/raw-frontend.js';
import { sparseMemfd } from '../../support/sparse.js';

const GIB = 2 ** 30;
const SIZE = 64;

/** The guest's memory as a file, read and written as a file is. */
class GuestFile {
  readonly fd: number;

  constructor(readonly byteLength: number) {
    this.fd = sparseMemfd(byteLength);
  }

  write(at: number, ...words: readonly (readonly [bytes: 2 | 4 | 8, value: number])[]): void {
    const bytes = Buffer.alloc(words.reduce((sum, [length]) => sum + length, 0));
    let to = 0;
    for (const [length, value] of words) {
      if (length === 8) bytes.writeBigUInt64LE(BigInt(value), to);
      else bytes.writeUIntLE(value, to, length);
      to += length;
    }
    writeSync(this.fd, bytes, 0, bytes.length, at);
  }

  read(at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    readSync(this.fd, bytes, 0, length, at);
    return bytes;
  }
}

for (const packed of [false, true]) {
  test(`${packed ? 'packed' : 'split'}: a region of 5 GiB at guest address 0, its ring across 1 GiB, buffers across 2, 3 and 4 GiB`, (t) => {
    const file = new GuestFile(5 * GIB);
    const packets = createRegion('pool', 1 << 20, false);
    const spec = { name: 'p', mapping: packets, base: 0, count: 64, headroom: 128, dataRoom: 2048, cacheSize: 8 };
    const pool = new Mempool(createMempool({ ...spec, deviceAddress: (offset) => BigInt(offset) }), 0);
    withFrontend(t, (front, backend) => {
      front.negotiate(packed ? SUPPORTED_FEATURES : SUPPORTED_FEATURES & ~VIRTIO_F_RING_PACKED);
      const region = front.memoryRegion({ guestAddr: 0n, size: BigInt(5 * GIB) });
      t.is(front.ack(wire.SET_MEM_TABLE, wire.encodeMemoryTable([region]), [file.fd]), 0n);
      // the border runs through the descriptors of the Tx ring, and through the used ring of the other
      const layout = packed ? packedLayout(SIZE) : splitLayout(SIZE);
      const tx = GIB - 512;
      const rx = packed ? GIB - 8192 : GIB - layout.device - 128;
      t.deepEqual(front.startRing(1, SIZE, tx, packed), [0n, 0n, 0n, 0n, 0n, 0n]);
      t.deepEqual(front.startRing(0, SIZE, rx, packed), [0n, 0n, 0n, 0n, 0n, 0n]);

      const frames = Array.from({ length: 40 }, (_, i) => Buffer.alloc(100 + i * 40, i + 1));
      const add = (ring: number, slot: number, address: number, length: number, write: boolean) => {
        const at = ring + layout.desc + slot * 16;
        const flags = write ? 2 : 0;
        if (packed) file.write(at, [8, address], [4, length], [2, slot], [2, flags | 0x80]);
        else {
          file.write(at, [8, address], [4, length], [2, flags], [2, 0]);
          file.write(ring + layout.driver + 4 + 2 * slot, [2, slot]);
          file.write(ring + layout.driver + 2, [2, slot + 1]);
        }
      };
      const pkts = new Uint32Array(1);
      frames.forEach((frame, i) => {
        // header and frame end behind the border by another number of bytes each time
        const address = (2 + (i % 3)) * GIB - 12 - i * 3;
        writeSync(file.fd, Buffer.concat([Buffer.alloc(12), frame]), 0, 12 + frame.length, address);
        add(tx, i, address, 12 + frame.length, false);
        // a burst is the first to use one slice, not two, and not at any time
        while (backend.device.dequeueBurst(1, pool, pkts, 1) === 0);
        t.deepEqual(Buffer.from(readPacket(pool, pkts[0]!)), frame);
        const into = (2 + (i % 3)) * GIB - 500 - i;
        add(rx, i, into, 2048, true);
        while (backend.device.enqueueBurst(0, pool, pkts, 1) === 0);
        t.deepEqual(file.read(into + 12, frame.length), frame);
        pool.free(pkts[0]!);
      });
      // used entries, on both sides of the border
      if (packed) t.is(file.read(tx + 39 * 16 + 14, 2).readUInt16LE(), 0x8080);
      else t.is(file.read(rx + layout.device + 4 + 39 * 8, 4).readUInt32LE(), 39);
      t.is(front.stop(1), packed ? 0x00288028 : 40);
    });
    closeFd(file.fd);
    destroyRegion(packets);
  });
}

test('256 GiB in one region, and more than 512 GiB in all refused', (t) => {
  const fd = sparseMemfd(600 * GIB);
  withFrontend(t, (front, backend) => {
    front.negotiate(SUPPORTED_FEATURES, wire.PROTOCOL_F_REPLY_ACK | wire.PROTOCOL_F_CONFIGURE_MEM_SLOTS);
    const region = (gib: number, size: number) =>
      front.memoryRegion({
        guestAddr: BigInt(gib * GIB),
        userAddr: USER_BASE + BigInt(gib * GIB),
        size: BigInt(size * GIB),
        mmapOffset: BigInt(gib * GIB),
      });
    const table = (...regions: wire.MemoryRegion[]) =>
      front.ack(
        wire.SET_MEM_TABLE,
        wire.encodeMemoryTable(regions),
        regions.map(() => fd),
      );
    t.is(table(region(0, 256)), 0n);
    t.is(table(region(0, 256), region(256, 256)), 0n);
    t.is(table(region(0, 256), region(256, 257)), 1n);
    t.regex(backend.complaints, /513 GiB in all; at most 512 GiB/);
    t.is(front.ack(wire.ADD_MEM_REG, wire.encodeSingleRegion(region(520, 1)), [fd]), 1n);
    // again and again: cheap, and nothing is left over
    for (let i = 0; i < 200; i++) t.is(table(region(0, i % 2 === 0 ? 256 : 255)), 0n);
  });
  closeFd(fd);
});

test('a chain over many GiB that nobody has touched: one a burst, and the packet arrives in the end', (t) => {
  const gib = 20;
  const file = new GuestFile(gib * GIB);
  const packets = createRegion('pool', 1 << 20, false);
  const spec = { name: 'p', mapping: packets, base: 0, count: 64, headroom: 128, dataRoom: 2048, cacheSize: 8 };
  const pool = new Mempool(createMempool({ ...spec, deviceAddress: (offset) => BigInt(offset) }), 0);
  withFrontend(t, (front, backend) => {
    front.negotiate(SUPPORTED_FEATURES & ~VIRTIO_F_RING_PACKED);
    const region = front.memoryRegion({ guestAddr: 0n, size: BigInt(gib * GIB) });
    t.is(front.ack(wire.SET_MEM_TABLE, wire.encodeMemoryTable([region]), [file.fd]), 0n);
    const external = process.memoryUsage().external;
    t.deepEqual(front.startRing(1, SIZE, 0), [0n, 0n, 0n, 0n, 0n, 0n]);
    t.true(process.memoryUsage().external - external < GIB, 'a ring needs no views of a whole slice');
    const layout = splitLayout(SIZE);
    for (let i = 0; i < gib; i++) {
      const address = i * GIB + (1 << 20);
      writeSync(file.fd, Buffer.alloc(16, i), 0, 16, address);
      file.write(layout.desc + i * 16, [8, address], [4, i === 0 ? 12 : 16], [2, i < gib - 1 ? 1 : 0], [2, i + 1]);
    }
    file.write(layout.driver + 4, [2, 0]);
    file.write(layout.driver + 2, [2, 1]);
    const pkts = new Uint32Array(1);
    let bursts = 0;
    let taken = 0;
    while (taken === 0 && bursts++ < 10_000_000) {
      const before = process.memoryUsage().external;
      taken = backend.device.dequeueBurst(1, pool, pkts, 1);
      t.true(process.memoryUsage().external - before < 2 * GIB, 'one slice at most');
    }
    t.is(taken, 1);
    t.deepEqual(
      Buffer.from(readPacket(pool, pkts[0]!)),
      Buffer.concat(Array.from({ length: gib - 1 }, (_, i) => Buffer.alloc(16, i + 1))),
    );
    pool.free(pkts[0]!);
  });
  closeFd(file.fd);
  destroyRegion(packets);
});

test('eight regions of 2 GiB sent again and again: no typed array is made before a packet needs it', (t) => {
  const fd = sparseMemfd(16 * GIB);
  withFrontend(t, (front) => {
    front.negotiate(SUPPORTED_FEATURES);
    const before = process.memoryUsage().external;
    for (let round = 0; round < 50; round++) {
      const regions = Array.from({ length: 8 }, (_, i) =>
        front.memoryRegion({
          guestAddr: BigInt(i * 2 * GIB),
          userAddr: USER_BASE + BigInt(i * 2 * GIB) + BigInt((round % 2) << 20),
          size: BigInt(2 * GIB - (1 << 20)),
          mmapOffset: BigInt(i * 2 * GIB),
        }),
      );
      t.is(
        front.ack(
          wire.SET_MEM_TABLE,
          wire.encodeMemoryTable(regions),
          regions.map(() => fd),
        ),
        0n,
      );
    }
    t.true(process.memoryUsage().external - before < GIB);
  });
  closeFd(fd);
});
