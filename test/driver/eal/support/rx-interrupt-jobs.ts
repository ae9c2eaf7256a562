/** Jobs for the tests of Rx interrupts: a back-end that sends when it is asked to, and programs that sleep. */
import { signalFd } from '../../../../native/event.js';
import { openRx } from '../../../../driver/port/queue.js';
import { packetFrom } from '../../../../paths/mbuf.js';
import { NIL, type MempoolSpec } from '../../../../paths/mempool.js';
import type { LcoreContext } from '../../../../driver/eal/types.js';
import type { PortSpec } from '../../../../driver/port/types.js';
import { VhostDriver, type VhostDevice } from '../../../../driver/vhost/index.js';

export const MAX_QUEUES = 16;

/** Words of the back-end. For each queue, how many packets are wanted, and how many were sent. */
export const WANTED = 0;
export const SENT = MAX_QUEUES;
/** Microseconds before each packet. */
export const DELAY = 2 * MAX_QUEUES;
/** Signals wanted to, and sent to, the descriptor FD; a millisecond lies between them. */
export const SIGNALS = DELAY + 1;
export const SIGNALLED = DELAY + 2;
export const FD = DELAY + 3;
/** Packets of a storm on queue 0: each is sent some microseconds after word RECEIVED says that the one before has come. */
export const STORM = DELAY + 4;
export const RECEIVED = DELAY + 5;
/** Devices that are ready. */
export const READY = DELAY + 6;
/** Raised and notified when something is wanted. */
export const BELL = DELAY + 7;
export const SOURCE_BYTES = 4 * (BELL + 1);

export interface SourceData {
  readonly path: string;
  readonly queues: number;
  readonly mempool: MempoolSpec;
  readonly shared: SharedArrayBuffer;
}

/** Longest pause before a packet of a storm, in microseconds: somewhat more than it takes to fall asleep. */
export const STORM_PAUSE_US = 40;

/** A back-end of our own, which notifies as the driver asks it to. Packets carry their number at byte 14. */
export function source(context: LcoreContext, { path, queues, mempool, shared }: SourceData): void {
  const pool = context.mempool(mempool);
  const words = new Int32Array(shared);
  const pkts = new Uint32Array(1);
  const devices = new Set<VhostDevice>();
  const driver = new VhostDriver(
    path,
    { queues },
    {
      newDevice: (device) => void devices.add(device),
      destroyDevice: (device) => void devices.delete(device),
    },
  );

  /** @returns whether the guest took it */
  const send = (queue: number): boolean => {
    const [device] = devices;
    if (!device?.isRunning(2 * queue)) return false;
    const frame = new Uint8Array(64);
    new DataView(frame.buffer).setUint32(14, words[SENT + queue]!);
    pkts[0] = packetFrom(pool, frame);
    if (pkts[0] === NIL) throw new Error('the back-end has no mbufs');
    const sent = device.enqueueBurst(2 * queue, pool, pkts, 1);
    pool.free(pkts[0]!);
    if (sent === 1) Atomics.add(words, SENT + queue, 1);
    return sent === 1;
  };

  const storm = () => {
    for (let random = 1; Atomics.load(words, STORM) > 0 && context.running();) {
      if (Atomics.load(words, RECEIVED) !== Atomics.load(words, SENT)) continue;
      random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
      pause((random >>> 8) % STORM_PAUSE_US);
      if (send(0)) Atomics.sub(words, STORM, 1);
    }
  };

  driver.start();
  try {
    while (context.running()) {
      const bell = Atomics.load(words, BELL);
      driver.poll();
      Atomics.store(words, READY, devices.size);
      let busy = false;
      for (let queue = 0; queue < queues; queue++) {
        if (Atomics.load(words, WANTED + queue) <= Atomics.load(words, SENT + queue)) continue;
        pause(words[DELAY]!);
        busy = send(queue) || busy;
      }
      if (Atomics.load(words, SIGNALLED) < Atomics.load(words, SIGNALS)) {
        pause(1000);
        signalFd(words[FD]!);
        Atomics.add(words, SIGNALLED, 1);
        busy = true;
      }
      if (Atomics.load(words, STORM) > 0 && devices.size > 0) storm();
      if (!busy) Atomics.wait(words, BELL, bell, 1);
    }
  } finally {
    driver.close();
    Atomics.store(words, READY, 0);
  }
}

/** Sleeps, or for less than a millisecond turns in circles. */
export function pause(us: number): void {
  if (us >= 1000) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, us / 1000);
  else for (const end = performance.now() + us / 1000; performance.now() < end;);
}

/** Words of a sleeper. */
export const TURNS = 0;
export const PACKETS = 1;
export const SLEEPS = 2;
export const WAKEUPS = 3;
export const MISSED = 4;

export interface SleeperData {
  readonly port: PortSpec;
  readonly mempool: MempoolSpec;
  readonly shared: SharedArrayBuffer;
}

/** Sleeps until packets come, counts them and sleeps again. */
export function sleeper(context: LcoreContext, { port, mempool, shared }: SleeperData): void {
  const words = new Int32Array(shared);
  const pool = context.mempool(mempool);
  const queues = port.rx.map((spec) => openRx(spec, pool));
  const { rxInterrupt } = context;
  const pkts = new Uint32Array(32);
  while (context.running()) {
    Atomics.add(words, TURNS, 1);
    for (const rx of rxInterrupt.wait(queues)) {
      const n = rx.recv(pkts, 32);
      pool.freeBulk(pkts, 0, n);
      Atomics.add(words, PACKETS, n);
    }
    Atomics.store(words, SLEEPS, rxInterrupt.sleeps);
    Atomics.store(words, WAKEUPS, rxInterrupt.wakeups);
    Atomics.store(words, MISSED, rxInterrupt.missed);
  }
}
