/**
 * Where two queues that ought to be the same differ, byte for byte: the memory that the device sees, the queue's private
 * state, and the mempool. Only free-list entries that count for nothing may differ: those above the tops of the stacks.
 */
import { layoutOf, TX_SLOT_SIZE } from '../../../../paths/guest/queue.js';
import { DESC_SIZE } from '../../../../paths/layout.js';
import { MAX_LCORES } from '../../../../paths/mempool.js';
import type { GuestFixture } from '../../../support/guest-fixture.js';

/** Names of the state words, by number (paths/guest/queue.ts). */
const words = [
  ...['STARTED', 'AVAIL_IDX', 'USED_IDX', 'FREE_COUNT', 'FREE_HEAD', 'AVAIL_WRAP', 'USED_WRAP', 'BROKEN', 'STALLED'],
  ...['INITIALISED', 'FREE_TAIL'],
];
/** Names of the counters, by number (paths/stats.ts). */
const counters = [
  ...['PACKETS', 'BYTES', 'ERRORS', 'MULTICAST', 'BROADCAST'],
  ...['<64', '64', '65-127', '128-255', '256-511', '512-1023', '1024-1518', '>1518'].map((bin) => `bin ${bin}`),
  ...['NOMBUF', 'KICKS', 'KICKS_SUPPRESSED', 'DROP_RUNT', 'DROP_TOO_LONG', 'DROP_SEGMENTS', 'DROP_RESET', 'DROP_TX'],
];

type Numbers = Int32Array | Uint32Array | Uint16Array | Uint8Array | Float64Array;

/** What differs, in words, or ''. `a` is what is expected. */
export function difference(a: GuestFixture, b: GuestFixture): string {
  return stateDifference(a, b) || memoryDifference(a, b) || poolDifference(a, b);
}

/** Bytes from the start of the memory to a page behind the last mbuf. */
export function memoryUsed({ pool }: GuestFixture): number {
  return pool.base + pool.count * pool.stride + 4096;
}

/** A difference of two arrays as "name[index] is x, expected y". */
function unlike(name: (index: number) => string, a: Numbers, b: Numbers): string {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? '' : `${name(at)} is ${b[at]}, expected ${a[at]}`;
}

function stateDifference(a: GuestFixture, b: GuestFixture): string {
  if (same(new Uint8Array(a.spec.shared), new Uint8Array(b.spec.shared))) return '';
  const [x, y] = [a.state, b.state];
  return (
    unlike((i) => words[i] ?? `state word ${i}`, x.words, y.words) ||
    unlike((i) => counters[i] ?? `counter ${i}`, x.stats, y.stats) ||
    unlike((id) => `cookie[${id}]`, x.cookie, y.cookie) ||
    unlike((id) => `chain[${id}]`, x.chain, y.chain) ||
    unlike((id) => `link[${id}]`, x.link, y.link) ||
    unlike((i) => `freeRing[${i}]`, x.freeRing, y.freeRing) ||
    unlike((at) => `byte ${at} of the private state`, new Uint8Array(a.spec.shared), new Uint8Array(b.spec.shared))
  );
}

function memoryDifference(a: GuestFixture, b: GuestFixture): string {
  const end = memoryUsed(a);
  const [x, y] = [a.pool.u8.subarray(0, end), b.pool.u8.subarray(0, end)];
  return same(x, y) ? '' : unlike((offset) => placeOf(a, offset), x, y);
}

function placeOf({ spec, pool }: GuestFixture, offset: number): string {
  const layout = layoutOf(spec);
  const inRing = offset - spec.ringOff;
  if (inRing >= 0 && inRing < layout.driver) {
    return `byte ${inRing % DESC_SIZE} of descriptor ${Math.floor(inRing / DESC_SIZE)}`;
  }
  if (inRing >= layout.device && inRing < layout.byteLength)
    return `byte ${inRing - layout.device} of the device's area`;
  if (inRing >= layout.driver && inRing < layout.byteLength)
    return `byte ${inRing - layout.driver} of the driver's area`;
  const inZone = offset - spec.txZoneOff;
  if (inZone >= 0 && inZone < spec.size * TX_SLOT_SIZE) {
    return `byte ${inZone % TX_SLOT_SIZE} of Tx slot ${Math.floor(inZone / TX_SLOT_SIZE)}`;
  }
  const inPool = offset - pool.base;
  if (inPool >= 0 && inPool < pool.count * pool.stride) {
    return `byte ${inPool % pool.stride} of mbuf ${Math.floor(inPool / pool.stride)}`;
  }
  return `byte ${offset} of the memory, which is nobody's`;
}

function poolDifference(a: GuestFixture, b: GuestFixture): string {
  const [x, y] = [new Uint8Array(a.pool.spec.shared), new Uint8Array(b.pool.spec.shared)];
  if (same(x, y)) return '';
  const columns = ['addrLo', 'addrHi', 'pktLen', 'next', 'olFlags', 'hash', 'dataLen', 'dataOff'] as const;
  for (const name of [...columns, 'nbSegs', 'port', 'vlanTci'] as const) {
    const found = unlike((m) => `${name}[${m}]`, a.pool[name], b.pool[name]);
    if (found) return found;
  }
  return unlike((word) => listEntry(a, word), freeLists(a), freeLists(b));
}

/** Where the free lists are in `MempoolSpec.shared`, in words: see paths/mempool.ts. */
function listsOf({ pool }: GuestFixture) {
  const stack = 32;
  const caches = stack + Math.ceil((pool.count * 4) / 64) * 16;
  return { top: 16, stack, caches, cacheWords: 16 + Math.ceil((pool.spec.cacheSize * 2 + 1) / 16) * 16 };
}

/** The words of the mempool, zeros instead of the entries that count for nothing. */
function freeLists(fixture: GuestFixture): Int32Array {
  const all = new Int32Array(fixture.pool.spec.shared).slice();
  const { top, stack, caches, cacheWords } = listsOf(fixture);
  all.fill(0, stack + all[top]!, stack + fixture.pool.count);
  for (let at = caches; at < caches + MAX_LCORES * cacheWords; at += cacheWords) {
    all.fill(0, at + 16 + all[at]!, at + 16 + 2 * fixture.pool.spec.cacheSize);
  }
  return all;
}

function listEntry(fixture: GuestFixture, word: number): string {
  const { top, stack, caches, cacheWords } = listsOf(fixture);
  if (word === top) return 'the length of the shared stack';
  const [inStack, inCaches] = [word - stack, word - caches];
  if (inStack >= 0 && inStack < fixture.pool.count) return `entry ${inStack} of the shared stack`;
  if (inCaches < 0 || inCaches >= MAX_LCORES * cacheWords) return `word ${word} of the mempool`;
  const inCache = inCaches % cacheWords;
  const of = `of the cache of lcore ${Math.floor(inCaches / cacheWords)}`;
  return inCache === 0 ? `the length ${of}` : `entry ${inCache - 16} ${of}`;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
