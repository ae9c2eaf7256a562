/**
 * The environment of a program: packet memory, mempools and lcores (DPDK's EAL). One per process is usual; several are
 * independent of each other.
 */
import {
  aBoolean,
  aFunction,
  aNumber,
  anObject,
  aSize,
  aString,
  aWhole,
  checkArgument,
  checkArguments,
  checkOptions,
  madeBy,
  numbers,
  optional,
  type OptionKinds,
} from '../../native/arguments.js';
import { pinThread } from '../../native/cpu.js';
import { VirtioPmdError } from '../../native/errors.js';
import { HUGEPAGE_SIZE } from '../../native/region.js';
import { CheckedMempool, closeChecked, debugBytes, openMempool } from '../../paths/checked-mempool.js';
import { createMempool, mempoolStride, type Mempool, type MempoolSpec } from '../../paths/mempool.js';
import { sharedCodeNote } from '../../paths/specialize.js';
import type { Addressing, DmaRun } from './addressing.js';
import { checkLcores, chooseMainLcore, processCpus } from './lcore-list.js';
import { Lcores } from './lcore.js';
import { Memory, type Reservation } from './memory.js';
import type { EalOptions, MempoolRequest } from './types.js';

export { parseLcores, processCpus, type LcoreMap, type LcoreOption } from './lcore-list.js';
export { DEVICE_BASE, type Reservation } from './memory.js';
export { Lcores, type LcoreState } from './lcore.js';

/** Bytes. The longest net header goes in front of a packet, into its headroom. */
const MIN_HEADROOM = 20;
const DEFAULT_DATA_ROOM = 2048;
const DEFAULT_HEADROOM = 128;
const DEFAULT_CACHE_SIZE = 250;
/** RTE_MEMPOOL_CACHE_MAX_SIZE */
const MAX_CACHE_SIZE = 512;
/** `dataOff` and `dataLen` are 16 bits. */
const MAX_BUFFER = 65535;

/** Logged by the first Eal of the process. */
let noteToTell = sharedCodeNote;

const mempoolSpec = madeBy('eal.createMempool', 'name', 'shared');

const lcoreMap = {
  accepts: 'a Map of lcore ids and arrays of CPUs, as parseLcores returns it',
  fits: (value: unknown) =>
    value instanceof Map && [...value].every(([id, cpus]) => typeof id === 'number' && numbers.fits(cpus)),
};

const ealOptions: OptionKinds<EalOptions> = {
  memoryMiB: optional(aNumber),
  noHuge: optional(aBoolean),
  filePrefix: optional(aString),
  lcores: optional(lcoreMap),
  mainLcore: optional(aNumber),
  pinMain: optional(aBoolean),
  debug: optional(aBoolean),
  log: optional(aFunction),
};

const mempoolRequest: OptionKinds<MempoolRequest> = {
  name: optional(aString),
  count: aNumber,
  dataRoom: optional(aNumber),
  headroom: optional(aNumber),
  cacheSize: optional(aNumber),
};

/**
 * Makes the environment. Packet memory is made later, with the first mempool or ring.
 * @throws VirtioPmdError ECONFIG, EOPTION or ELCORE for options that are invalid or cannot be served.
 */
export function createEal(options: EalOptions = {}): Eal {
  return new Eal(options);
}

/** An environment: `createEal` makes it. */
export class Eal {
  readonly lcores: Lcores;
  readonly log: (line: string) => void;

  private readonly memoryMaker: Memory;
  private readonly pools = new Map<string, { spec: MempoolSpec; handle: Mempool }>();
  private readonly pinned: boolean;
  private readonly debug: boolean;
  private readonly closers = new Set<() => void>();
  private closed = false;

  constructor(options: EalOptions) {
    checkOptions('createEal', options, ealOptions);
    this.log = options.log ?? ((line) => process.stderr.write(`${line}\n`));
    const map = options.lcores ?? new Map(processCpus().map((cpu) => [cpu, [cpu]]));
    checkLcores(map, 'lcores');
    const main = chooseMainLcore(map, options.mainLcore);
    this.memoryMaker = new Memory(options, this.log);
    this.debug = options.debug ?? process.env['VPMD_DEBUG'] === '1';
    this.pinned = options.pinMain ?? options.lcores !== undefined;
    if (this.pinned) pinThread(map.get(main)!);
    this.lcores = new Lcores(map, main);
    if (noteToTell !== undefined) this.log(`EAL: ${noteToTell}`);
    noteToTell = undefined;
  }

  /** The region behind all packet memory; undefined before the first mempool or ring. */
  get memory() {
    return this.memoryMaker.region;
  }

  /**
   * Calls `closer` in close(), before the memory is released: for objects that use it, such as ports.
   * @returns a function that cancels this.
   * @throws VirtioPmdError ESTATE when the Eal is closed.
   */
  beforeClose(closer: () => void): () => void {
    this.checkOpen();
    checkArgument('eal.beforeClose', 'closer', closer, aFunction);
    this.closers.add(closer);
    return () => void this.closers.delete(closer);
  }

  /**
   * Takes zeroed packet memory, for a ring for example.
   * @param byteLength bytes, contiguous for every device. @param align bytes, a power of two.
   * @throws VirtioPmdError EMEMORY when there is no room, ESTATE when the Eal is closed.
   */
  reserve(name: string, byteLength: number, align = 64): Reservation {
    this.checkOpen();
    checkArguments('eal.reserve', { name: [name, aString], byteLength: [byteLength, aSize], align: [align, aSize] });
    return this.memoryMaker.reserve(name, byteLength, align);
  }

  /** Gives a reservation back. Without effect once the Eal is closed. @throws VirtioPmdError ESTATE when it was released before. */
  release(reservation: Pick<Reservation, 'name' | 'offset'>): void {
    checkArgument('eal.release', 'reservation', reservation, madeBy('eal.reserve', 'name', 'offset'));
    if (!this.closed) this.memoryMaker.release(reservation);
  }

  /**
   * Says which addresses a device needs. Where they cannot be chosen (physical, file), call it before the first mempool.
   * @throws VirtioPmdError ESTATE when the memory is there already, ECONFIG when another device needs other ones, EMEMORY when
   *   the memory is out of the device's reach.
   */
  useAddressing(addressing: Addressing): void {
    this.checkOpen();
    checkArgument('eal.useAddressing', 'addressing', addressing, anObject);
    this.memoryMaker.use(addressing);
  }

  /** The pieces in which devices see the packet memory, ascending by offset; none before the first mempool or ring. */
  get dmaRuns(): readonly DmaRun[] {
    return this.memoryMaker.dmaRuns;
  }

  /** Address of byte `offset` of the packet memory as a device sees it (guest-physical). */
  deviceAddress(offset: number): bigint {
    checkArgument('eal.deviceAddress', 'offset', offset, aWhole);
    return this.memoryMaker.deviceAddress(offset);
  }

  /** Address of byte `offset` of the packet memory in this process. @throws VirtioPmdError ESTATE before the first mempool or ring. */
  userAddress(offset: number): bigint {
    checkArgument('eal.userAddress', 'offset', offset, aWhole);
    return this.memoryMaker.userAddress(offset);
  }

  /**
   * Makes a mempool in the packet memory.
   * @throws VirtioPmdError ECONFIG for invalid sizes or a name that is taken, EMEMORY when there is no room, ESTATE when the
   *   Eal is closed.
   */
  createMempool(request: MempoolRequest): MempoolSpec {
    this.checkOpen();
    checkOptions('createMempool', request, mempoolRequest);
    const { count, dataRoom = DEFAULT_DATA_ROOM, headroom = DEFAULT_HEADROOM } = request;
    // a cache must not be able to hold all of the pool (rte_mempool has the same bound)
    const maxCache = Math.min(MAX_CACHE_SIZE, Math.floor(count / 1.5));
    const { name = `mb_pool_${this.pools.size}`, cacheSize = Math.min(DEFAULT_CACHE_SIZE, maxCache) } = request;
    const fail = (why: string) => new VirtioPmdError('ECONFIG', `mempool ${name}: ${why}`);
    const whole = (value: number, least: number) => Number.isInteger(value) && value >= least;
    if (this.pools.has(name)) throw fail('there is one of this name already: choose another');
    if (!whole(count, 2)) throw fail(`${count} mbufs asked for: give a whole number above 1`);
    if (!whole(headroom, 0) || headroom < MIN_HEADROOM) {
      throw fail(`Not sufficient headroom required = ${MIN_HEADROOM}, avail = ${headroom}`);
    }
    if (!whole(dataRoom, 64) || headroom + dataRoom > MAX_BUFFER) {
      throw fail(`data room of ${dataRoom} bytes: give 64 to ${MAX_BUFFER - headroom} (with headroom ${headroom})`);
    }
    if (!whole(cacheSize, 1) || cacheSize > maxCache) {
      throw fail(`cache of ${cacheSize} mbufs: give 1 to ${maxCache} (with ${count} mbufs)`);
    }

    const stride = mempoolStride(headroom, dataRoom);
    // with physical addresses, the element across the end of a page is not used
    const spare = this.memoryMaker.inPages ? Math.ceil((count * stride) / (HUGEPAGE_SIZE - stride)) + 1 : 0;
    const byteLength = (count + spare) * stride;
    const { mapping, offset } = this.memoryMaker.reserve(`mempool ${name} (${count} mbufs)`, byteLength, 64, 0, false);
    const deviceAddress = (at: number) => this.deviceAddress(at);
    const plain = createMempool({
      ...{ name, mapping, base: offset, count: count + spare, headroom, dataRoom, cacheSize, deviceAddress },
    });
    const spec = this.debug ? { ...plain, debug: new SharedArrayBuffer(debugBytes(plain.count)) } : plain;
    this.pools.set(name, { spec, handle: openMempool(spec, this.lcores.main) });
    return spec;
  }

  /** All mempools of this Eal, in the order in which they were made. */
  get mempools(): readonly MempoolSpec[] {
    return [...this.pools.values()].map((pool) => pool.spec);
  }

  /**
   * The main thread's handle on a mempool (the main lcore's cache). Only for the thread that made the Eal.
   * @throws VirtioPmdError ESTATE when the mempool was not made by this Eal.
   */
  mempool(spec: MempoolSpec): Mempool {
    checkArgument('eal.mempool', 'spec', spec, mempoolSpec);
    const pool = this.pools.get(spec.name);
    if (!pool) throw new VirtioPmdError('ESTATE', `mempool ${spec.name} was not made by this Eal`);
    return pool.handle;
  }

  /**
   * Mempools from which mbufs are in use, and how many mbufs: none once every port is closed and every mbuf freed. Exact while
   * no lcore runs; also after close().
   */
  leaks(): { mempool: string; inUse: number }[] {
    return [...this.pools.values()]
      .map(({ spec, handle }) => ({ mempool: spec.name, inUse: handle.inUse() }))
      .filter(({ inUse }) => inUse !== 0);
  }

  /**
   * Stops all jobs, ends the lcores' threads, closes ports that are still open and releases the memory. Mempools and paths
   * that a thread still holds read zeros, and write without effect (docs/decisions/0011). Everything is closed also when this
   * throws.
   * @throws VirtioPmdError ELCORE when a job does not stop; ESTATE for mbufs that leaked, in debug mode; the error of a job that
   *   failed, when it has not been reported.
   */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    if (this.pinned) pinThread(processCpus());
    const errors: unknown[] = [];
    const attempt = (step: () => void) => {
      try {
        step();
      } catch (error) {
        errors.push(error);
      }
    };
    attempt(() => this.lcores.close());
    for (const closer of this.closers) attempt(closer);
    attempt(() => this.endDebug());
    attempt(() => this.memoryMaker.destroy());
    if (errors.length > 0) throw errors[0];
  }

  /** @throws VirtioPmdError ESTATE in debug mode, when the program still has mbufs, or has lost some */
  private endDebug(): void {
    const found: string[] = [];
    for (const { spec, handle } of this.pools.values()) {
      if (spec.debug === undefined || !(handle instanceof CheckedMempool)) continue;
      closeChecked(spec.debug);
      const held = handle.heldMbufs();
      if (held.length > 0)
        found.push(`mempool ${spec.name}: mbufs that were neither freed nor sent: ${held.join('; ')}`);
    }
    for (const line of found) this.log(`EAL: debug: ${line}`);
    if (found.length > 0) throw new VirtioPmdError('ESTATE', `debug: ${found.join('; ')}`);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private checkOpen(): void {
    if (this.closed) throw new VirtioPmdError('ESTATE', 'this Eal is closed: make another');
  }
}
