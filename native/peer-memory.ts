/**
 * Address space for memory that other processes share with us, in granules of 1 GiB that are never given to anything
 * else. A peer's file is mapped whole over as many granules as it needs; what is left of the last one, and all of them
 * after the file has been unmapped, are zero pages of our own. So an address that is wrong by anything below a granule,
 * or a view that is used too late, finds zeros: neither another peer's memory nor a SIGSEGV.
 *
 * Granules and their typed arrays are used again: making a view of 1 GiB costs V8 a garbage collection (4 to 5 ms on an
 * AMD EPYC, Node 20: it counts the bytes as memory of its own), which a peer could ask for with every memory table.
 */
import { clearReserved, mapInReserved, reserve, unreserve } from './address-space.js';
import { VirtioPmdError } from './errors.js';
import { lastErrno } from './libc.js';
import { makeViews, PAGE_SIZE, type Mapping, type Views } from './region.js';

/** Bytes of a granule: byte offsets into one stay small integers in V8, and it may begin with a hugepage of any size. */
export const GRANULE = 2 ** 30;

/**
 * Granules that are reserved together, where there is as much address space: regions of any size then find room where
 * others have been. Blocks of the sizes asked for would not: ever larger regions would need ever new ones, and new views.
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

/** Of this thread; another thread maps for itself. */
let blocks: Block[] = [];

/** The first `count` free granules in a row, reserved now if there are none. @throws VirtioPmdError EMEMORY */
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

function blockAt(address: number): Block {
  const block = blocks.find(({ address: start, used }) => address >= start && address < start + used.length * GRANULE);
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

/** Puts zero pages in the place of the file. Views of it stay harmless, until `releaseGranules`. */
export function unmapPeerFile({ address, byteLength }: Mapping): void {
  const at = Number(address);
  const block = blockAt(at);
  const count = Math.ceil(byteLength / GRANULE);
  // whole granules: what was written behind the file's end, by mistake, goes too
  const isReserved = clearReserved(at, count * GRANULE);
  const first = (at - block.address) / GRANULE;
  if (isReserved) block.used.fill(0, first, first + count); // else somebody else may get the addresses: never again ours
}

/**
 * The typed arrays of the granule that begins at `address`: one set for each, for good.
 * @returns undefined when they would have to be made and too many have been of late: one in 20 ms, 16 to begin with. A
 *   guest of hundreds of GiB costs the others a quarter of their time so, until it has been everywhere, and not all of it.
 */
export function granuleViews(address: number): Views | undefined {
  const block = blockAt(address);
  const i = (address - block.address) / GRANULE;
  const known = block.views[i];
  if (known !== undefined) return known;
  const now = performance.now();
  ready = Math.max(ready, now - MAX_READY * MS_PER_VIEW);
  if (ready > now) return undefined;
  ready += MS_PER_VIEW;
  return (block.views[i] = makeViews(BigInt(address), GRANULE));
}

const MS_PER_VIEW = 20;
const MAX_READY = 16;
/** When the next views may be made; in the past: as many as fit in between. */
let ready = -Infinity;

/** Typed arrays over `byteLength` bytes at `address`, which may cross from granule to granule; both in whole pages. */
export function peerViews(address: number, byteLength: number): Views {
  const start = Math.floor(address / PAGE_SIZE) * PAGE_SIZE;
  const end = Math.ceil((address + byteLength) / PAGE_SIZE) * PAGE_SIZE;
  return makeViews(BigInt(start), end - start);
}

/**
 * Gives the address space of this thread back when no file is mapped any more. Nobody may use a view of it afterwards:
 * a vhost driver that is closed is the time.
 */
export function releaseGranules(): void {
  if (blocks.some(({ used }) => used.includes(1))) return;
  for (const { address, used } of blocks) unreserve(address, used.length * GRANULE);
  blocks = [];
}
