/**
 * The guest's side of split and packed rings, in the slowest and most obvious way, with every word within reach so that
 * tests can write what no driver would. Memory is a memfd in two adjacent regions of guest address space.
 */
import { createRegion, destroyRegion, viewsOf, type Region, type Views } from '../../../../native/region.js';
import { GuestMemory } from '../../../../paths/device/guest-memory.js';
import { openDeviceQueue, type TestQueue, type TestSpec } from './device-queue.js';
import type { GuestSlice } from '../../../../paths/device/queue.js';
import { packedLayout, splitLayout } from '../../../../paths/layout.js';
import { createMempool, Mempool } from '../../../../paths/mempool.js';

export const GUEST_BASE = 0x1_0000_0000;
export const USER_BASE = 0x7f00_0000_0000;
const MEMORY_SIZE = 4 << 20;
/** Guest addresses change regions here; the second region begins where the first one ends. */
export const BOUNDARY = 3 << 20;
const HEAP = 2 << 20;

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;

/** A buffer: guest address and length. */
export interface Buffer {
  address: number;
  length: number;
  /** Overrides: what to put into the descriptor besides the flags that its place asks for. */
  flags?: number;
  next?: number;
}

export interface Used {
  id: number;
  length: number;
}

/** Shared memory with a mempool of ours beside it. */
export class World {
  readonly guest: Region;
  readonly views: Views;
  readonly regions: GuestSlice[];
  readonly memory: GuestMemory;
  readonly pool: Mempool;
  private readonly packets: Region;
  private heap = HEAP;

  constructor(mbufs = 512, dataRoom = 2048) {
    this.guest = createRegion('mock-guest', MEMORY_SIZE, false);
    this.views = viewsOf(this.guest);
    const region = (from: number, to: number): GuestSlice => ({
      guestAddr: GUEST_BASE + from,
      userAddr: USER_BASE + from,
      size: to - from,
      views: this.views,
      address: Number(this.guest.address),
      viewBytes: MEMORY_SIZE,
      offset: from,
    });
    this.regions = [region(BOUNDARY, MEMORY_SIZE), region(0, BOUNDARY)];
    this.memory = new GuestMemory(this.regions);
    this.packets = createRegion('mock-pool', mbufs * (dataRoom + 128) + 65536, false);
    this.pool = new Mempool(
      createMempool({
        name: 'test',
        mapping: this.packets,
        base: 0,
        count: mbufs,
        headroom: 128,
        dataRoom,
        cacheSize: 32,
        deviceAddress: (offset) => BigInt(offset),
      }),
      0,
    );
  }

  /** Fresh memory. @returns a guest address */
  alloc(length: number, alignment = 1): number {
    if (this.heap + length + alignment > MEMORY_SIZE) this.heap = HEAP;
    this.heap = Math.ceil(this.heap / alignment) * alignment;
    const address = GUEST_BASE + this.heap;
    this.heap += length;
    return address;
  }

  write(address: number, bytes: ArrayLike<number>): void {
    this.views.u8.set(bytes, address - GUEST_BASE);
  }

  read(address: number, length: number): number[] {
    return [...this.views.u8.slice(address - GUEST_BASE, address - GUEST_BASE + length)];
  }

  /** A packet in mbufs of `room` bytes each. */
  mbuf(bytes: readonly number[], room = 2048): number {
    const { pool } = this;
    const first = pool.get();
    let m = first;
    let segments = 0;
    for (let at = 0; ; at += room) {
      const part = bytes.slice(at, at + room);
      pool.dataOff[m] = 128;
      pool.dataLen[m] = part.length;
      pool.u8.set(part, pool.dataStart(m));
      segments++;
      if (at + room >= bytes.length) break;
      const next = pool.get();
      pool.next[m] = next;
      m = next;
    }
    pool.pktLen[first] = bytes.length;
    pool.nbSegs[first] = segments;
    return first;
  }

  /** The bytes of an mbuf, which is freed. */
  take(first: number): number[] {
    const { pool } = this;
    const bytes: number[] = [];
    for (let m = first; m >= 0; m = pool.next[m]!) {
      bytes.push(...pool.u8.slice(pool.dataStart(m), pool.dataStart(m) + pool.dataLen[m]!));
    }
    pool.free(first);
    return bytes;
  }

  destroy(): void {
    destroyRegion(this.guest);
    destroyRegion(this.packets);
  }
}

export type RingOptions = Partial<Omit<TestSpec, 'descAddr' | 'driverAddr' | 'deviceAddr' | 'size'>> & {
  /** 16-bit index (split) at which the ring begins; packed: base in the vhost-user format. */
  start?: number;
};

/** What both kinds of ring can do for the guest. */
export interface MockRing {
  readonly spec: TestSpec;
  readonly size: number;
  free: number;
  open(): TestQueue;
  /** Makes a chain available. @returns its id, or -1 when there are not enough descriptors. */
  add(buffers: readonly Buffer[], write: boolean, indirect?: boolean, direct?: number): number;
  /** What the device has used since, in order. */
  collect(): Used[];
  /** Byte offset of descriptor `i` in the memory. */
  descriptor(i: number): number;
}

function specOf(packed: boolean, size: number, options: RingOptions): TestSpec {
  const layout = packed ? packedLayout(size) : splitLayout(size);
  return {
    index: 0,
    packed,
    size,
    hdrSize: 12,
    mergeable: false,
    inOrder: false,
    indirect: true,
    eventIdx: false,
    base: 0,
    left: undefined,
    callFd: -1,
    ...options,
    descAddr: USER_BASE + layout.desc,
    driverAddr: USER_BASE + layout.driver,
    deviceAddr: USER_BASE + layout.device,
  };
}

/** Descriptor table entries in memory, for tables of both kinds. */
function writeDescriptor(world: World, at: number, buffer: Buffer, last2: readonly [number, number]): void {
  const { u32, u16 } = world.views;
  u32[at / 4] = buffer.address % 2 ** 32;
  u32[at / 4 + 1] = Math.floor(buffer.address / 2 ** 32);
  u32[at / 4 + 2] = buffer.length;
  u16[at / 2 + 6] = last2[0];
  u16[at / 2 + 7] = last2[1];
}

/** An indirect table of `buffers`. */
function writeTable(world: World, packed: boolean, buffers: readonly Buffer[], write: boolean): Buffer {
  const address = world.alloc(buffers.length * 16, 16);
  buffers.forEach((buffer, i) => {
    const last = i === buffers.length - 1;
    const flags = buffer.flags ?? (last || packed ? 0 : NEXT) | (write ? WRITE : 0);
    const next = buffer.next ?? (last ? 0 : i + 1);
    writeDescriptor(world, address - GUEST_BASE + i * 16, buffer, packed ? [next, flags] : [flags, next]);
  });
  return { address, length: buffers.length * 16 };
}

export class MockSplit implements MockRing {
  readonly spec: TestSpec;
  free: number;
  availIdx: number;
  usedIdx: number;
  private readonly layout;
  private readonly freeIds: number[] = [];
  private readonly chains = new Map<number, number[]>();

  constructor(
    readonly world: World,
    readonly size: number,
    options: RingOptions = {},
  ) {
    this.spec = specOf(false, size, options);
    this.layout = splitLayout(size);
    this.free = size;
    for (let i = 0; i < size; i++) this.freeIds.push(i);
    world.views.u8.fill(0, 0, this.layout.byteLength);
    this.availIdx = this.usedIdx = (options.start ?? 0) & 0xffff;
    this.setAvailIdx(this.availIdx);
    world.views.u16[this.layout.device / 2 + 1] = this.usedIdx;
  }

  open(): TestQueue {
    return openDeviceQueue(this.spec, this.world.memory);
  }

  descriptor(i: number): number {
    return i * 16;
  }

  setAvailIdx(idx: number): void {
    this.world.views.u16[this.layout.driver / 2 + 1] = idx;
  }

  setAvailFlags(flags: number): void {
    this.world.views.u16[this.layout.driver / 2] = flags;
  }

  setUsedEvent(idx: number): void {
    this.world.views.u16[this.layout.driver / 2 + 2 + this.size] = idx;
  }

  usedFlags(): number {
    return this.world.views.u16[this.layout.device / 2]!;
  }

  /** Puts `head` into the avail ring, whatever it is. */
  offer(head: number): void {
    this.world.views.u16[this.layout.driver / 2 + 2 + (this.availIdx % this.size)] = head;
    this.availIdx = (this.availIdx + 1) & 0xffff;
    this.setAvailIdx(this.availIdx);
  }

  add(buffers: readonly Buffer[], write: boolean, indirect = false, direct = 0): number {
    let list = buffers.map((buffer, i) => ({ ...buffer, table: false, last: i === buffers.length - 1 }));
    if (indirect) {
      const table = writeTable(this.world, false, buffers.slice(direct), write);
      list = list.slice(0, direct).map((buffer) => ({ ...buffer, last: false }));
      list.push({ ...table, table: true, last: true });
    }
    if (list.length > this.free) return -1;
    const ids = this.freeIds.splice(0, list.length);
    list.forEach((buffer, i) => {
      // the WRITE flag on a reference to a table means nothing: set it at times
      const kind = buffer.table ? INDIRECT | (ids[i]! & 1 ? WRITE : 0) : write ? WRITE : 0;
      const flags = buffer.flags ?? kind | (buffer.last ? 0 : NEXT);
      writeDescriptor(this.world, ids[i]! * 16, buffer, [flags, buffer.next ?? ids[i + 1] ?? 0]);
    });
    this.free -= list.length;
    this.chains.set(ids[0]!, ids);
    this.offer(ids[0]!);
    return ids[0]!;
  }

  collect(): Used[] {
    const { u16, u32 } = this.world.views;
    const used: Used[] = [];
    while (this.usedIdx !== u16[this.layout.device / 2 + 1]) {
      const entry = (this.layout.device + 4) / 4 + (this.usedIdx % this.size) * 2;
      const id = u32[entry]!;
      used.push({ id, length: u32[entry + 1]! });
      const ids = this.chains.get(id);
      if (!ids) throw new Error(`used id ${id} is not outstanding`);
      this.chains.delete(id);
      this.freeIds.push(...ids);
      this.free += ids.length;
      this.usedIdx = (this.usedIdx + 1) & 0xffff;
    }
    return used;
  }
}

export class MockPacked implements MockRing {
  readonly spec: TestSpec;
  free: number;
  private availAt = 0;
  private availWrap = 1;
  private usedAt = 0;
  private usedWrap = 1;
  private readonly layout;
  private readonly chains = new Map<number, number>();
  private readonly freeIds: number[] = [];

  constructor(
    readonly world: World,
    readonly size: number,
    options: RingOptions = {},
  ) {
    const start = options.start ?? 0x8000;
    this.spec = specOf(true, size, { base: start, ...options });
    this.layout = packedLayout(size);
    this.free = size;
    for (let i = 0; i < size; i++) this.freeIds.push(i);
    world.views.u8.fill(0, 0, this.layout.byteLength);
    this.availAt = this.usedAt = start & 0x7fff;
    this.availWrap = this.usedWrap = (start >> 15) & 1;
    // as the ring looks after a lap: everything used, with the wrap counter that was current there
    for (let i = 0; i < size; i++) {
      const wrap = i < this.availAt ? this.availWrap : this.availWrap ^ 1;
      world.views.u16[i * 8 + 7] = wrap ? 0x8080 : 0;
    }
  }

  open(): TestQueue {
    return openDeviceQueue(this.spec, this.world.memory);
  }

  descriptor(i: number): number {
    return i * 16;
  }

  setDriverEvent(offWrap: number, flags: number): void {
    this.world.views.u16[this.layout.driver / 2] = offWrap;
    this.world.views.u16[this.layout.driver / 2 + 1] = flags;
  }

  deviceFlags(): number {
    return this.world.views.u16[this.layout.device / 2 + 1]!;
  }

  get position(): number {
    return this.availAt;
  }

  add(buffers: readonly Buffer[], write: boolean, indirect = false): number {
    const list = indirect ? [writeTable(this.world, true, buffers, write)] : buffers;
    if (list.length > this.free) return -1;
    const id = this.freeIds.shift()!;
    const plan: [at: number, buffer: Buffer, flags: number][] = [];
    list.forEach((buffer, i) => {
      const kind = indirect ? INDIRECT | (id & 1 ? WRITE : 0) : write ? WRITE : 0;
      const own = buffer.flags ?? kind | (i === list.length - 1 ? 0 : NEXT);
      plan.push([this.availAt * 16, buffer, own | (this.availWrap ? 0x80 : 0x8000)]);
      if (++this.availAt === this.size) {
        this.availAt = 0;
        this.availWrap ^= 1;
      }
    });
    // the first one last; ids only in the last one, as the others' mean nothing
    plan.reverse().forEach(([at, buffer, flags], i) => {
      writeDescriptor(this.world, at, buffer, [buffer.next ?? (i === 0 ? id : 0xdead), flags]);
    });
    this.free -= list.length;
    this.chains.set(id, list.length);
    return id;
  }

  collect(): Used[] {
    const { u16, u32 } = this.world.views;
    const used: Used[] = [];
    for (;;) {
      const flags = u16[this.usedAt * 8 + 7]!;
      if ((flags & 0x8080) !== (this.usedWrap ? 0x8080 : 0) || this.free === this.size) return used;
      const id = u16[this.usedAt * 8 + 6]!;
      const n = this.chains.get(id);
      if (n === undefined) throw new Error(`used id ${id} is not outstanding`);
      used.push({ id, length: u32[this.usedAt * 4 + 2]! });
      this.chains.delete(id);
      this.freeIds.push(id);
      this.free += n;
      this.usedAt += n;
      if (this.usedAt >= this.size) {
        this.usedAt -= this.size;
        this.usedWrap ^= 1;
      }
    }
  }
}

/** A packet with a serial number, whose every byte follows from it. */
export function packet(serial: number, length: number): number[] {
  return Array.from({ length }, (_, i) => (serial * 7 + i * 13 + (i >> 8)) & 0xff);
}

/** `bytes` cut into buffers of these lengths (the last takes the rest), each at an address of its own. */
export function scatter(world: World, bytes: readonly number[], cuts: readonly number[], alignment = 1): Buffer[] {
  const buffers: Buffer[] = [];
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    const part = bytes.slice(at, at + cut);
    if (at >= bytes.length && cut > 0) break;
    const address = world.alloc(part.length, alignment);
    world.write(address, part);
    buffers.push({ address, length: part.length });
    at += part.length;
  }
  return buffers;
}
