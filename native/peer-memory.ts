/**
 * Address space for memory that other processes share with us, in granules of 1 GiB that are used for nothing else. A
 * peer's file is mapped over as many granules as it needs. The rest of the last granule, and all of them after the file is
 * unmapped, are zero pages of our own. So an address that is wrong by less than a granule, or a view that is used too late,
 * finds zeros: neither another peer's memory nor a SIGSEGV.
 *
 * Granules and their typed arrays are reused: a new view of 1 GiB costs V8 a garbage collection (4 to 5 ms on an AMD EPYC,
 * Node 20: it counts the bytes as memory of its own), and a peer could cause one with every memory table.
 */
import { clearReserved, mapInReserved, reserve, unreserve } from './address-space.js';
import { VirtioPmdError } from './errors.js';
import { lastErrno } from './libc.js';
import { makeViews, PAGE_SIZE, type Mapping, type Views } from './region.js';

/** Bytes of a granule. Byte offsets stay small integers in V8, and a hugepage of any size can begin there. */
export const GRANULE = 2 ** 30;

/**
 * Granules that are reserved together, where there is as much address space. Regions of any size can then reuse the room of
 * earlier ones. With blocks of the requested sizes, ever larger regions would need ever new blocks and views.
 */
const BLOCK_GRANULES = 1024;

/** Consecutive granules that were reserved together. */
interface Block {
  readonly address: number;
  /** By granule: 1 while a file is mapped there. */
  readonly used: Uint8Array;
  /** By granule, made when they are first asked for. */
  readonly views: (Views | undefined)[];
}

/** The blocks of this thread, which it maps files into. */
let blocks: Block[] = [];

/** The typed arrays of granules into which another thread maps, by address: see `granuleViews`. */
const foreign = new Map<number, Views>();

/** The first `count` free granules in a row; reserves a block if there are none. @throws VirtioPmdError EMEMORY */
function takeGranules(count: number): { readonly block: Block; readonly first: number } {
  for (const block of blocks) {
    for (let i = 0, run = 0; i < block.used.length; i++) {
      run = block.used[i] === 0 ? run + 1 : 0;
      if (run === count) return { block, first: i + 1 - count };
    }
  }
  const block = reserveBlock(Math.max(count, BLOCK_GRANULES)) ?? reserveBlock(count);
  if (block === undefined) {
    throw new VirtioPmdError(
      'EMEMORY',
      `no address space for ${count} GiB of a peer's memory (mmap: ${lastErrno()}): see ulimit -v`,
    );
  }
  blocks.push(block);
  return { block, first: 0 };
}

function reserveBlock(count: number): Block | undefined {
  // with one more, the block can begin at a multiple of the granule
  const start = reserve((count + 1) * GRANULE);
  if (start === undefined) return undefined;
  const address = Math.ceil(start / GRANULE) * GRANULE;
  if (address > start) unreserve(start, address - start);
  const end = address + count * GRANULE;
  const reserved = start + (count + 1) * GRANULE;
  if (end < reserved) unreserve(end, reserved - end);
  return { address, used: new Uint8Array(count), views: new Array<undefined>(count).fill(undefined) };
}

function findBlock(address: number): Block | undefined {
  return blocks.find(({ address: start, used }) => address >= start && address < start + used.length * GRANULE);
}

function blockAt(address: number): Block {
  const block = findBlock(address);
  if (block === undefined)
    throw new VirtioPmdError('ESTATE', `no peer's memory is mapped at 0x${address.toString(16)}`);
  return block;
}

/**
 * Maps `byteLength` bytes of a peer's file from `offset`, both multiples of the file's page size, at the beginning of a
 * granule. Touches no page.
 * @throws SystemError; VirtioPmdError EMEMORY when there is no address space.
 */
export function mapPeerFile(fd: number, byteLength: number, offset: number): Mapping {
  const count = Math.ceil(byteLength / GRANULE);
  const { block, first } = takeGranules(count);
  const address = block.address + first * GRANULE;
  mapInReserved(address, byteLength, fd, offset);
  block.used.fill(1, first, first + count);
  return { address: BigInt(address), byteLength };
}

/** Replaces the file with zero pages. Views of it stay safe to use until `releaseGranules`. */
export function unmapPeerFile({ address, byteLength }: Mapping): void {
  const at = Number(address);
  const block = blockAt(at);
  const count = Math.ceil(byteLength / GRANULE);
  // whole granules: this also clears what was written behind the file's end by mistake
  const isReserved = clearReserved(at, count * GRANULE);
  const first = (at - block.address) / GRANULE;
  // else something else may be mapped at these addresses: never use them again
  if (isReserved) block.used.fill(0, first, first + count);
}

/**
 * The typed arrays of the granule that begins at `address`: one set for each in each thread, kept for ever. Another thread may
 * have mapped it: then they must not be touched after that thread has called `releaseGranules`.
 * @returns undefined when the rate limit for new ones is reached: one in 20 ms, after 16 at once. So a guest of hundreds of
 *   GiB takes a quarter of the other guests' time, and not all of it, until all its memory has been touched.
 */
export function granuleViews(address: number): Views | undefined {
  const block = findBlock(address);
  const i = block === undefined ? -1 : (address - block.address) / GRANULE;
  const known = block === undefined ? foreign.get(address) : block.views[i];
  if (known !== undefined) return known;
  const now = performance.now();
  ready = Math.max(ready, now - MAX_READY * MS_PER_VIEW);
  if (ready > now) return undefined;
  ready += MS_PER_VIEW;
  const views = makeViews(BigInt(address), GRANULE);
  if (block === undefined) foreign.set(address, views);
  else block.views[i] = views;
  return views;
}

const MS_PER_VIEW = 20;
const MAX_READY = 16;
/** Time at which the next views may be made, in ms. A time in the past allows several: one per MS_PER_VIEW since then. */
let ready = -Infinity;

/** Typed arrays over the whole pages of `byteLength` bytes at `address`, which may cross from granule to granule. */
export function peerViews(address: number, byteLength: number): Views {
  const start = Math.floor(address / PAGE_SIZE) * PAGE_SIZE;
  const end = Math.ceil((address + byteLength) / PAGE_SIZE) * PAGE_SIZE;
  return makeViews(BigInt(start), end - start);
}

/**
 * Gives the address space of this thread back when no file is mapped any more. No view of it may be used afterwards: call it
 * when a vhost driver is closed.
 */
export function releaseGranules(): void {
  if (blocks.some(({ used }) => used.includes(1))) return;
  for (const { address, used } of blocks) unreserve(address, used.length * GRANULE);
  blocks = [];
}
