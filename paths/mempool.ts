/**
 * Packet buffers. An mbuf is an integer: the index of an element of a mempool. Its bytes lie in memory that a device or
 * peer can access. Its metadata lie in private columns (typed arrays in a SharedArrayBuffer), which every lcore sees and no
 * peer can access.
 *
 * Element i: `headroom` bytes, then `dataRoom` bytes, at `base + i * stride`. The packet starts at `dataOff[i]`.
 * A free mbuf is always single-segment: `next` = NIL, `nbSegs` = 1. Whoever takes one sets `dataOff` and lengths.
 *
 * Free mbufs are in a stack that lcores share under a spin lock, and in a cache per lcore. Mbufs move between cache and stack
 * in bulk (rte_mempool's scheme). The cache is a stack too: the buffer freed last, still in L1, is taken first.
 */
import {
  aFunction,
  aSize,
  aString,
  aWhole,
  checkArguments,
  checkOptions,
  madeBy,
  type OptionKinds,
} from '../native/arguments.js';
import { VirtioPmdError } from '../native/errors.js';
import { viewsOf, type Mapping } from '../native/region.js';
import { specialize } from './specialize.js';

/** "No mbuf": ends a chain, marks an empty slot. */
export const NIL = -1;
/** Caches exist for lcore ids below this (RTE_MAX_LCORE). */
export const MAX_LCORES = 128;

/** A mempool as plain data, to post to a worker. */
export interface MempoolSpec {
  readonly name: string;
  /** Memory of the elements. */
  readonly mapping: Mapping;
  /** Offset of element 0 in the mapping, a multiple of 64. */
  readonly base: number;
  /** Bytes from one element to the next, a multiple of 64. */
  readonly stride: number;
  readonly count: number;
  /** Number of usable mbufs: elements that are contiguous for the device. With physical addresses some may not be. */
  readonly usable: number;
  readonly headroom: number;
  readonly dataRoom: number;
  /** Size of an lcore's cache, in mbufs; it returns the surplus when it holds twice as many. */
  readonly cacheSize: number;
  /** Columns and free lists. */
  readonly shared: SharedArrayBuffer;
  /** In debug mode: the owner of each mbuf (checked-mempool.ts). */
  readonly debug?: SharedArrayBuffer;
}

// words of the head of `shared`
const LOCK = 0;
const TOP = 16; // number of mbufs on the shared stack, on a cache line of its own
const HEAD_WORDS = 32;
/** Words of one lcore's cache before its entries: its length, alone on a line. */
const CACHE_HEAD_WORDS = 16;

interface Column {
  readonly name: string;
  readonly bytes: 2 | 4;
}
const columns: readonly Column[] = [
  { name: 'addrLo', bytes: 4 },
  { name: 'addrHi', bytes: 4 },
  { name: 'pktLen', bytes: 4 },
  { name: 'next', bytes: 4 },
  { name: 'olFlags', bytes: 4 },
  { name: 'hash', bytes: 4 },
  { name: 'dataLen', bytes: 2 },
  { name: 'dataOff', bytes: 2 },
  { name: 'nbSegs', bytes: 2 },
  { name: 'port', bytes: 2 },
  { name: 'vlanTci', bytes: 2 },
  { name: 'l2Len', bytes: 2 },
  { name: 'l3Len', bytes: 2 },
  { name: 'l4Len', bytes: 2 },
  { name: 'tsoSegsz', bytes: 2 },
];

const cacheWords = (cacheSize: number) => CACHE_HEAD_WORDS + Math.ceil((cacheSize * 2 + 1) / 16) * 16;
const columnBytes = (count: number, bytes: number) => Math.ceil((count * bytes) / 64) * 64;

export interface MempoolOptions {
  readonly name: string;
  readonly mapping: Mapping;
  readonly base: number;
  readonly count: number;
  readonly headroom: number;
  readonly dataRoom: number;
  readonly cacheSize: number;
  /** Device address of byte `offset` of the mapping. An element that is not contiguous for the device is left out. */
  readonly deviceAddress: (offset: number) => bigint;
}

/** Bytes of memory per element for a headroom and data room. */
export function mempoolStride(headroom: number, dataRoom: number): number {
  checkArguments('mempoolStride', { headroom: [headroom, aWhole], dataRoom: [dataRoom, aWhole] });
  return Math.ceil((headroom + dataRoom) / 64) * 64;
}

const mempoolOptions: OptionKinds<MempoolOptions> = {
  name: aString,
  mapping: madeBy('a region', 'address', 'byteLength'),
  base: aWhole,
  count: aSize,
  headroom: aWhole,
  dataRoom: aSize,
  cacheSize: aWhole,
  deviceAddress: aFunction,
};

const aMempoolSpec = madeBy('createMempool', 'shared', 'mapping', 'cacheSize');

/** Makes a mempool with every mbuf free. */
export function createMempool(options: MempoolOptions): MempoolSpec {
  checkOptions('createMempool', options, mempoolOptions);
  const { name, mapping, base, count, headroom, dataRoom, cacheSize, deviceAddress } = options;
  const stride = mempoolStride(headroom, dataRoom);
  let bytes = HEAD_WORDS * 4 + columnBytes(count, 4) + MAX_LCORES * cacheWords(cacheSize) * 4;
  for (const column of columns) bytes += columnBytes(count, column.bytes);
  const shared = new SharedArrayBuffer(bytes);
  const inOnePiece = (m: number) =>
    deviceAddress(base + (m + 1) * stride - 1) - deviceAddress(base + m * stride) === BigInt(stride - 1);
  const usable = Array.from({ length: count }, (_, m) => m).filter(inOnePiece);
  const spec = { name, mapping, base, stride, count, usable: usable.length, headroom, dataRoom, cacheSize, shared };
  const pool = new Mempool(spec, 0);
  const stack = new Int32Array(shared, HEAD_WORDS * 4, count);
  stack.set(usable.reverse()); // element 0 on top
  for (let m = 0; m < count; m++) {
    const address = deviceAddress(base + m * stride);
    // data paths add offsets to the low half only
    if (inOnePiece(m) && address >> 32n !== (address + BigInt(stride - 1)) >> 32n) {
      throw new VirtioPmdError('EMEMORY', `mbuf ${m} of ${name} would cross a 4 GiB boundary of device addresses`);
    }
    pool.addrLo[m] = Number(address & 0xffffffffn);
    pool.addrHi[m] = Number(address >> 32n);
    pool.next[m] = NIL;
    pool.nbSegs[m] = 1;
    pool.dataOff[m] = headroom;
  }
  new Int32Array(shared, 0, HEAD_WORDS)[TOP] = usable.length;
  return spec;
}

/** One thread's handle on a mempool: its views, and its lcore's cache. */
export class Mempool {
  readonly count: number;
  readonly base: number;
  readonly stride: number;
  readonly headroom: number;
  readonly dataRoom: number;

  /** The memory of the elements: `u8[bufOff(m) + dataOff[m]]` is a packet's first byte. */
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;

  /** Device address of the element's first byte (of its headroom), low and high 32 bits. */
  readonly addrLo: Uint32Array;
  readonly addrHi: Uint32Array;
  /** Bytes of the whole packet; valid in the first segment only. */
  readonly pktLen: Uint32Array;
  /** Next segment of the packet, or NIL. */
  readonly next: Int32Array;
  /** RTE_MBUF_F_* flags (see mbuf.ts). */
  readonly olFlags: Uint32Array;
  readonly hash: Uint32Array;
  /** Bytes in this segment. */
  readonly dataLen: Uint16Array;
  /** Where the packet starts, from the element's first byte. */
  readonly dataOff: Uint16Array;
  /** Segments of the packet; valid in the first segment only. */
  readonly nbSegs: Uint16Array;
  readonly port: Uint16Array;
  readonly vlanTci: Uint16Array;
  /** Bytes of the Ethernet (with tags), IP and TCP or UDP headers. Only valid as RTE_MBUF_F_TX_* flags say. */
  readonly l2Len: Uint16Array;
  readonly l3Len: Uint16Array;
  readonly l4Len: Uint16Array;
  /** Bytes of TCP payload in one segment. Only valid with RX_LRO or TX_TCP_SEG. */
  readonly tsoSegsz: Uint16Array;

  /** Takes one mbuf, or returns NIL. The caller sets `dataOff` and lengths. */
  readonly get: () => number;
  /**
   * Takes up to `n` mbufs into `out`, from index 0 on.
   * @returns how many: fewer than `n` only when this lcore's cache and the shared stack have no more.
   */
  readonly getBulk: (out: Int32Array, n: number) => number;
  /** Frees one mbuf, which must be single-segment (see `free` for packets). */
  readonly put: (m: number) => void;
  /** Frees the first `n` of `mbufs`, which must be single-segment. */
  readonly putBulk: (mbufs: Int32Array, n: number) => void;
  /** Returns this lcore's cache to the shared stack. Call it when the thread stops using the pool. */
  readonly flushCache: () => void;

  /** The memory of the free lists, for the native helper (native/helper/mempool.h). */
  readonly lists: {
    readonly head: Int32Array;
    readonly stack: Int32Array;
    readonly cache: Int32Array;
    readonly cacheSize: number;
  };

  /** @param lcoreId whose cache to use: only one thread may ever use an lcore id. */
  constructor(
    readonly spec: MempoolSpec,
    lcoreId: number,
  ) {
    checkArguments('Mempool', { spec: [spec, aMempoolSpec], lcoreId: [lcoreId, aWhole] });
    if (lcoreId >= MAX_LCORES) {
      throw new VirtioPmdError('ECONFIG', `Mempool: lcoreId is ${lcoreId}: expected 0 to ${MAX_LCORES - 1}`);
    }
    const { shared, count, cacheSize } = spec;
    this.count = count;
    this.base = spec.base;
    this.stride = spec.stride;
    this.headroom = spec.headroom;
    this.dataRoom = spec.dataRoom;
    const views = viewsOf(spec.mapping);
    this.u8 = views.u8;
    this.u16 = views.u16;
    this.u32 = views.u32;
    this.i32 = views.i32;

    const head = new Int32Array(shared, 0, HEAD_WORDS);
    let at = HEAD_WORDS * 4;
    const stack = new Int32Array(shared, at, count);
    at += columnBytes(count, 4);
    const cache = new Int32Array(shared, at + lcoreId * cacheWords(cacheSize) * 4, cacheWords(cacheSize));
    at += MAX_LCORES * cacheWords(cacheSize) * 4;
    const take = (bytes: number) => {
      const start = at;
      at += columnBytes(count, bytes);
      return start;
    };
    // in the order of `columns`
    this.addrLo = new Uint32Array(shared, take(4), count);
    this.addrHi = new Uint32Array(shared, take(4), count);
    this.pktLen = new Uint32Array(shared, take(4), count);
    this.next = new Int32Array(shared, take(4), count);
    this.olFlags = new Uint32Array(shared, take(4), count);
    this.hash = new Uint32Array(shared, take(4), count);
    this.dataLen = new Uint16Array(shared, take(2), count);
    this.dataOff = new Uint16Array(shared, take(2), count);
    this.nbSegs = new Uint16Array(shared, take(2), count);
    this.port = new Uint16Array(shared, take(2), count);
    this.vlanTci = new Uint16Array(shared, take(2), count);
    this.l2Len = new Uint16Array(shared, take(2), count);
    this.l3Len = new Uint16Array(shared, take(2), count);
    this.l4Len = new Uint16Array(shared, take(2), count);
    this.tsoSegsz = new Uint16Array(shared, take(2), count);

    const size = Math.max(1, cacheSize); // for 0: the smallest cache that the scheme allows
    this.lists = { head, stack, cache, cacheSize: size };
    const lists = specialize(freeLists, freeListsScope, head, stack, cache, size);
    this.get = lists.get;
    this.getBulk = lists.getBulk;
    this.put = lists.put;
    this.putBulk = lists.putBulk;
    this.flushCache = lists.flushCache;
  }

  /** This pool without the checks of the debug mode, as paths use it. */
  get unchecked(): Mempool {
    return this;
  }

  /** Byte offset of element `m` in the views. */
  bufOff(m: number): number {
    return this.base + m * this.stride;
  }

  /** Byte offset of the packet data of `m` in the views. */
  dataStart(m: number): number {
    return this.base + m * this.stride + this.dataOff[m]!;
  }

  /** Frees a packet: all its segments. */
  free(m: number): void {
    const { next, nbSegs } = this;
    while (m !== NIL) {
      const following = next[m]!;
      if (following !== NIL) {
        next[m] = NIL;
        nbSegs[m] = 1;
      }
      this.put(m);
      m = following;
    }
  }

  /** Frees `n` packets of `pkts` from index `from` on. */
  freeBulk(pkts: Uint32Array, from: number, n: number): void {
    for (let i = 0; i < n; i++) this.free(pkts[from + i]!);
  }

  /** Free mbufs: on the shared stack and in every lcore's cache. Exact while no lcore is running. */
  available(): number {
    const { head, stack, cacheSize } = this.lists;
    let n = head[TOP]!;
    const words = cacheWords(cacheSize);
    const caches = stack.byteOffset + columnBytes(this.count, 4);
    for (let i = 0; i < MAX_LCORES; i++) n += new Int32Array(this.spec.shared, caches + i * words * 4, 1)[0]!;
    return n;
  }

  /** Mbufs that are not free: more than 0 after every port is closed is a leak. Exact while no lcore is running. */
  inUse(): number {
    return this.spec.usable - this.available();
  }
}

/** One lcore's functions on the free lists: Mempool describes each. */
function freeLists(head: Int32Array, stack: Int32Array, cache: Int32Array, cacheSize: number) {
  const capacity = cacheSize * 2;

  function get(): number {
    if (cache[0] === 0 && refill(1) === 0) return NIL;
    const length = cache[0]! - 1;
    cache[0] = length;
    return cache[CACHE_HEAD_WORDS + length]!;
  }

  function getBulk(out: Int32Array, n: number): number {
    let got = 0;
    // loops only when more is wanted than a cache holds
    while (got < n) {
      const missing = n - got;
      let length = cache[0]!;
      if (length < missing) length += refill(missing - length);
      const take = length < missing ? length : missing;
      if (take === 0) break;
      // the cache is a stack: take from its end
      const from = CACHE_HEAD_WORDS + length - 1;
      for (let i = 0; i < take; i++) out[got + i] = cache[from - i]!;
      cache[0] = length - take;
      got += take;
    }
    return got;
  }

  function put(m: number): void {
    if (cache[0]! >= capacity) flush(cacheSize);
    const length = cache[0]!;
    cache[CACHE_HEAD_WORDS + length] = m;
    cache[0] = length + 1;
  }

  function putBulk(mbufs: Int32Array, n: number): void {
    for (let at = 0; at < n;) {
      if (cache[0]! >= capacity) flush(cacheSize);
      const length = cache[0]!;
      const room = capacity - length;
      const take = n - at < room ? n - at : room;
      const to = CACHE_HEAD_WORDS + length;
      for (let i = 0; i < take; i++) cache[to + i] = mbufs[at + i]!;
      cache[0] = length + take;
      at += take;
    }
  }

  /** Moves mbufs from the shared stack to the cache: the missing ones and another cache size. @returns how many. */
  function refill(missing: number): number {
    const length = cache[0]!;
    let n = Math.min(missing + cacheSize, capacity - length);
    lock();
    const top = head[TOP]!;
    if (n > top) n = top;
    for (let i = 0; i < n; i++) cache[CACHE_HEAD_WORDS + length + i] = stack[top - n + i]!;
    head[TOP] = top - n;
    unlock();
    cache[0] = length + n;
    return n;
  }

  /** Moves `n` mbufs of the cache, the coldest, to the shared stack. */
  function flush(n: number): void {
    lock();
    const top = head[TOP]!;
    for (let i = 0; i < n; i++) stack[top + i] = cache[CACHE_HEAD_WORDS + i]!;
    head[TOP] = top + n;
    unlock();
    const length = cache[0]! - n;
    cache.copyWithin(CACHE_HEAD_WORDS, CACHE_HEAD_WORDS + n, CACHE_HEAD_WORDS + n + length);
    cache[0] = length;
  }

  function flushCache(): void {
    flush(cache[0]!);
  }

  // spins: the holder copies some hundred words only, so sleeping would cost more
  function lock(): void {
    while (Atomics.compareExchange(head, LOCK, 0, 1) !== 0);
  }

  function unlock(): void {
    Atomics.store(head, LOCK, 0);
  }

  return { get, getBulk, put, putBulk, flushCache };
}

const freeListsScope = { LOCK, TOP, CACHE_HEAD_WORDS, NIL };
