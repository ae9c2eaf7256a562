/**
 * Calls the SIMD code of the native helper: fills a `struct vpmd_queue` (native/helper/simd.h) when a queue is opened, and
 * passes its address once per burst. The struct holds addresses of mappings and buffers, and this file keeps a reference to
 * each (see `unmap` in native/region.ts).
 */
import { addressOf, simdFunctions, type SimdFunctions } from '../../native/helper.js';
import { viewsOf } from '../../native/region.js';
import type { Mempool } from '../mempool.js';
import { specialize } from '../specialize.js';
import { layoutOf, queueState, type QueueSpec } from './queue.js';

/** The result of a call: a number of packets, under this mask, and flags. */
export const COUNT_MASK = 0xffff;
export const SIMD_KICK = 1 << 16;
/** Nothing done: the burst holds packets that only the TypeScript path can send. */
export const SIMD_SCALAR = 1 << 17;

const BLOCK_BYTES = 224;
const POINTERS = 22;
/** Indices of the arguments: `pkts` among the 64-bit words, `n` among the 32-bit words. */
const PKTS_64 = 21;
const N_32 = 2 * POINTERS;

/** Runs the SIMD code on `pkts`: it fills or sends at most `n`. */
export type RunSimd = (pkts: Uint32Array, n: number) => number;

interface Block {
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
  /** Buffers that the block points to. */
  readonly keep: readonly ArrayBufferView[];
}

/** Fields in the order of the struct. */
function makeBlock(spec: QueueSpec, pool: Mempool): Block {
  const { mapping, ringOff, size } = spec;
  const layout = layoutOf(spec);
  const ring = mapping.address + BigInt(ringOff);
  const { words, stats, cookie, chain, freeRing } = queueState(spec);
  const { head, stack, cache, cacheSize } = pool.lists;
  const scratch = new Int32Array(new SharedArrayBuffer(Math.max(64, size * 4)));
  const { addrLo, addrHi, pktLen, next, olFlags, dataLen, dataOff, nbSegs } = pool;
  const state = [words, stats, cookie, chain, freeRing, head, stack, cache];
  const columns = [addrLo, addrHi, pktLen, next, olFlags, dataLen, dataOff, nbSegs, scratch];

  const u64 = new BigUint64Array(new SharedArrayBuffer(BLOCK_BYTES));
  u64.set([
    ...[layout.desc, layout.driver, layout.device].map((offset) => ring + BigInt(offset)),
    ...state.map(addressOf),
    pool.spec.mapping.address + BigInt(pool.base),
    ...columns.map(addressOf),
  ]);
  const u32 = new Uint32Array(u64.buffer);
  u32.set(
    [
      ...[0, size, spec.hdrSize, spec.nbDesc, spec.freeThresh, spec.eventIdx ? 1 : 0],
      ...[pool.count, cacheSize, pool.stride, pool.headroom, pool.dataRoom],
    ],
    N_32,
  );
  const memory = [viewsOf(mapping).u8, viewsOf(pool.spec.mapping).u8];
  return { u32, u64, keep: [...state, ...columns, ...memory] };
}

function runner(block: Block, address: bigint, burst: (block: bigint) => number): RunSimd {
  const { u32, u64 } = block;
  let known: Uint32Array | undefined; // keeps the array alive: its address is in the block
  return (pkts, n) => {
    if (pkts !== known) {
      u64[PKTS_64] = addressOf(pkts);
      known = pkts;
    }
    u32[N_32] = n < pkts.length ? n : pkts.length; // 0 when the array has been detached
    return burst(address);
  };
}

const runnerScope = { PKTS_64, N_32, addressOf };

/** Keeps the buffers that only SIMD code uses alive: a closure keeps only the variables that its code names. */
const blocks = new WeakMap<RunSimd, Block>();

/** Opens SIMD code for a queue. @throws VirtioPmdError ECONFIG when it cannot run here */
export function openSimd(spec: QueueSpec, pool: Mempool, which: keyof SimdFunctions): RunSimd {
  const burst = simdFunctions(spec.simd!)[which];
  const block = makeBlock(spec, pool);
  const run = specialize(runner, runnerScope, block, addressOf(block.u64), burst);
  blocks.set(run, block);
  return run;
}
