/** Jobs that the lcore and mempool tests launch. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { availableCpus } from '../../native/cpu.js';
import { VirtioPmdError } from '../../native/errors.js';
import { NIL, type MempoolSpec } from '../../paths/mempool.js';
import type { LcoreContext } from '../../driver/eal/types.js';

/** Nothing in the loop but the question: the worst case for a compiler that moves loads out of loops. */
export function spin(context: LcoreContext): void {
  while (context.running());
}

/** Counts turns in word 0 and posts the number at the end. */
export function count(context: LcoreContext, shared: SharedArrayBuffer): void {
  const words = new Int32Array(shared);
  while (context.running()) Atomics.add(words, 0, 1);
  context.post({ turns: Atomics.load(words, 0) });
}

export function reportCpus(context: LcoreContext): void {
  context.post({ lcoreId: context.lcoreId, cpus: availableCpus() });
}

export function echo(context: LcoreContext, data: unknown): void {
  context.post(data);
}

export async function slowly(context: LcoreContext): Promise<void> {
  await sleep(5);
  context.post('slept');
}

export function throwPlain(): void {
  throw new TypeError('something broke');
}

export function throwOurs(): void {
  throw new VirtioPmdError('ESOCKET', '/tmp/x.sock: nobody listens');
}

export function throwLong(): void {
  throw new Error('é'.repeat(10_000));
}

export async function rejectElsewhere(): Promise<void> {
  void Promise.reject(new Error('nobody caught this'));
  await sleep(10_000);
}

export function exitThread(): void {
  process.exit(7);
}

/** Ignores stop for a while: until word 0 is 1. */
export function deaf(_context: LcoreContext, shared: SharedArrayBuffer): void {
  Atomics.wait(new Int32Array(shared), 0, 0);
}

/** While word 1 is 0: raises word 0 at the start of each turn as long as it may, for the quiesce test. */
export function useWhileAllowed(context: LcoreContext, shared: SharedArrayBuffer): void {
  const words = new Int32Array(shared); // 0: allowed, 1: in use
  while (context.running()) {
    if (Atomics.load(words, 0) === 0) continue;
    Atomics.store(words, 1, 1);
    for (let i = 0; i < 100; i++) Atomics.load(words, 0);
    Atomics.store(words, 1, 0);
  }
}

export interface HammerData {
  readonly pool: MempoolSpec;
  /** One word per mbuf: the lcore id + 1 of whoever holds it. */
  readonly owners: SharedArrayBuffer;
  readonly rounds: number;
}

/** Takes and returns mbufs in odd numbers, one by one and in bulk, and looks at every mbuf for a second owner. */
export function hammer(context: LcoreContext, { pool: spec, owners, rounds }: HammerData): void {
  const pool = context.mempool(spec);
  const owner = new Int32Array(owners);
  const me = context.lcoreId + 1;
  const held = new Int32Array(spec.count);
  let heldCount = 0;
  let duplicates = 0;
  let refusals = 0;
  let random = me * 2654435761;
  const next = (limit: number) => {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    return random % limit;
  };
  const took = (m: number) => {
    if (m < 0 || m >= spec.count || Atomics.compareExchange(owner, m, 0, me) !== 0) duplicates++;
  };
  const gives = (m: number) => {
    if (Atomics.compareExchange(owner, m, me, 0) !== me) duplicates++;
  };
  for (let round = 0; round < rounds && context.running(); round++) {
    const want = next(64);
    if (round % 3 === 0) {
      const m = pool.get();
      if (m === NIL) refusals++;
      else {
        took(m);
        held[heldCount++] = m;
      }
    } else if (heldCount + want <= held.length) {
      const into = held.subarray(heldCount);
      const got = pool.getBulk(into, want);
      if (got < want) refusals++;
      for (let i = 0; i < got; i++) took(into[i]!);
      heldCount += got;
    }
    const back = next(heldCount + 1);
    const from = held.subarray(heldCount - back, heldCount);
    for (const m of from) gives(m);
    if (round % 2 === 0) pool.putBulk(from, back);
    else for (const m of from) pool.put(m);
    heldCount -= back;
  }
  for (let i = 0; i < heldCount; i++) {
    gives(held[i]!);
    pool.free(held[i]!);
  }
  context.post({ duplicates, refusals });
}

/** Word 0 is 1 while it runs. When it is stopped, it computes for `cpuMs` of its own time, then word 1 is 1. */
export function stopAfterWork(context: LcoreContext, data: { shared: SharedArrayBuffer; cpuMs: number }): void {
  const words = new Int32Array(data.shared);
  Atomics.store(words, 0, 1);
  Atomics.notify(words, 0);
  while (context.running());
  const ran = () => Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]) / 1e6;
  const end = ran() + data.cpuMs;
  while (ran() < end);
  Atomics.store(words, 1, 1);
}
