/** The queues of a device that is a loop: what is sent on a queue is received on it. Opened by name, as jobs are. */
import type { PortQueueSpec, QueueInterrupt, RxQueue, TxQueue } from '../../../../driver/port/queue.js';
import { drainFd, signalFd } from '../../../../native/event.js';

export interface LoopSpec extends PortQueueSpec {
  /** Int32 words: how many were sent, how many received, not 0 while started, an eventfd or 0, then the mbufs on their way. */
  readonly shared: SharedArrayBuffer;
  /** Rx queues have interrupts. */
  readonly interrupts: boolean;
}

const SENT = 0;
const RECEIVED = 1;
export const STARTED = 2;
/** Changes while others look. */
export const FD = 3;
const FIRST = 4;
export const LOOP_SIZE = 64;
export const loopBytes = (FIRST + LOOP_SIZE) * 4;

const wordsOf = (spec: PortQueueSpec) => new Int32Array((spec as LoopSpec).shared);

export function counts(spec: PortQueueSpec): { sent: number; received: number } {
  const words = wordsOf(spec);
  return { sent: words[SENT]!, received: words[RECEIVED]! };
}

export function openRx(spec: PortQueueSpec): RxQueue {
  const words = wordsOf(spec);
  return {
    spec,
    recv(pkts, n) {
      if (words[STARTED] === 0) return 0;
      const count = Math.min(n, Atomics.load(words, SENT) - words[RECEIVED]!);
      for (let i = 0; i < count; i++) pkts[i] = words[FIRST + ((words[RECEIVED]! + i) % LOOP_SIZE)]!;
      Atomics.add(words, RECEIVED, count);
      return count;
    },
    fill: () => 0,
    ...((spec as LoopSpec).interrupts && { interrupt: interruptOf(words) }),
  };
}

function interruptOf(words: Int32Array): QueueInterrupt {
  const fd = () => (words[STARTED] !== 0 && words[FD] !== 0 ? words[FD] : undefined);
  return {
    enable: () => words[STARTED] !== 0 && Atomics.load(words, SENT) !== words[RECEIVED],
    disable: () => undefined,
    get fd() {
      return fd();
    },
    drain: () => fd() !== undefined && drainFd(fd()!),
  };
}

export function openTx(spec: PortQueueSpec): TxQueue {
  const words = wordsOf(spec);
  return {
    spec,
    prepare: (_, n) => n,
    xmit(pkts, n) {
      if (words[STARTED] === 0) return 0;
      const count = Math.min(n, LOOP_SIZE - (words[SENT]! - Atomics.load(words, RECEIVED)));
      for (let i = 0; i < count; i++) words[FIRST + ((words[SENT]! + i) % LOOP_SIZE)] = pkts[i]!;
      Atomics.add(words, SENT, count);
      if (words[FD] !== 0) signalFd(words[FD]!);
      return count;
    },
    cleanup: () => LOOP_SIZE,
  };
}
