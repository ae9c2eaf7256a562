/** Checks of a request, before the back-end handles it. Each returns undefined, or a sentence that says what is wrong. */
import { MAX_QUEUE_SIZE } from '../../paths/layout.js';
import { hex } from '../../native/hex.js';
import {
  CONFIG_HEADER_SIZE,
  decodeU64,
  MAX_REGIONS,
  MEMORY_HEADER_SIZE,
  REGION_SIZE,
  REPLY,
  requestInfo,
  requestName,
  VRING_NOFD,
  type FdRule,
  type MemoryRegion,
  type Message,
  type SizeRule,
} from './vhost-user.js';

const u32 = (payload: Uint8Array, at: number) =>
  new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getUint32(at, true);

/** Checks flags, exact payload size and number of descriptors of a request. Unknown requests pass. */
export function messageProblem(message: Message): string | undefined {
  const { request, flags, size, payload, fds } = message;
  if (flags & REPLY) return `${requestName(request)} is marked as a reply but is a request`;
  const info = requestInfo(request);
  if (info === undefined) return undefined;
  const expected = expectedSize(info.size, payload);
  if (typeof expected === 'string') return `${info.name}: ${expected}`;
  if (expected !== size) return `${info.name} has a payload of ${size} bytes instead of ${expected}`;
  const { least, most } = expectedFds(info.fds, payload);
  if (fds.length < least || fds.length > most) {
    return `expect ${least} FDs for request ${info.name}, received ${fds.length}`;
  }
  return undefined;
}

function expectedSize(rule: SizeRule, payload: Uint8Array): number | string {
  if (typeof rule === 'number') return rule;
  if (rule === 'any') return payload.length;
  if (rule === 'memory') {
    if (payload.length < MEMORY_HEADER_SIZE) return 'the table of regions has no header';
    const regions = u32(payload, 0);
    if (regions > MAX_REGIONS) return `too many memory regions (${regions}), at most ${MAX_REGIONS} are taken`;
    return MEMORY_HEADER_SIZE + regions * REGION_SIZE;
  }
  if (payload.length < CONFIG_HEADER_SIZE) return 'the config access has no header';
  return CONFIG_HEADER_SIZE + u32(payload, 4);
}

function expectedFds(rule: FdRule, payload: Uint8Array): { least: number; most: number } {
  if (typeof rule === 'number') return { least: rule, most: rule };
  if (rule === 'optional') return { least: 0, most: 1 };
  const n = rule === 'regions' ? u32(payload, 0) : decodeU64(payload) & VRING_NOFD ? 0 : 1;
  return { least: n, most: n };
}

/** Checks the ring size of SET_VRING_NUM. */
export function queueSizeProblem(size: number, packed: boolean): string | undefined {
  if (size === 0 || size > MAX_QUEUE_SIZE) return `invalid virtqueue size ${size}: 1 to ${MAX_QUEUE_SIZE} are taken`;
  if (!packed && (size & (size - 1)) !== 0) return `invalid virtqueue size ${size}: a split ring needs a power of two`;
  return undefined;
}

/** The data path needs addresses that are exact as JavaScript numbers. */
const MAX_ADDRESS = (1n << 53n) - 1n;

/** Bytes of guest memory that one device may have: 512 GiB. */
export const MAX_GUEST_MEMORY = 2 ** 39;

/** Checks the numbers of one region. */
export function regionProblem(region: MemoryRegion): string | undefined {
  const { guestAddr, userAddr, size, mmapOffset } = region;
  if (size === 0n) return 'memory region of size 0';
  if (size > BigInt(MAX_GUEST_MEMORY)) {
    return `memory region of ${hex(size)} bytes; at most ${hex(MAX_GUEST_MEMORY)} are taken`;
  }
  if (mmapOffset + size >= MAX_ADDRESS) {
    return `mmap_offset (${hex(mmapOffset)}) and memory_size (${hex(size)}) overflow`;
  }
  if (guestAddr + size >= MAX_ADDRESS) return `memory region at guest address ${hex(guestAddr)} ends beyond 2^53`;
  if (userAddr + size >= MAX_ADDRESS) return `memory region at user address ${hex(userAddr)} ends beyond 2^53`;
  // rings and descriptors must be aligned for 16-, 32- and 64-bit words, wherever the region is mapped
  if ((guestAddr - mmapOffset) % 16n !== 0n || (userAddr - mmapOffset) % 16n !== 0n) {
    return `memory region's addresses and mmap_offset (${hex(mmapOffset)}) differ in alignment: 16 bytes are needed`;
  }
  return undefined;
}

/** Checks that no two regions have the same guest or user addresses. */
export function overlapProblem(regions: readonly MemoryRegion[]): string | undefined {
  const overlap = (start: (region: MemoryRegion) => bigint, what: string) => {
    const order = [...regions.keys()].sort((i, j) => (start(regions[i]!) < start(regions[j]!) ? -1 : 1));
    for (const [k, i] of order.entries()) {
      const j = order[k + 1];
      if (j === undefined || start(regions[i]!) + regions[i]!.size <= start(regions[j]!)) continue;
      return `memory regions ${Math.min(i, j)} and ${Math.max(i, j)} overlap in ${what} addresses`;
    }
    return undefined;
  };
  return overlap((region) => region.guestAddr, 'guest') ?? overlap((region) => region.userAddr, 'user');
}
