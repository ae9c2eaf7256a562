/** A port with Rx interrupts on a back-end of our own that sends, in a thread beside it, what it is asked for. */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { createEal, type Eal } from '../../../../driver/eal/eal.js';
import { attach } from '../../../../driver/port/attach.js';
import type { Port } from '../../../../driver/port/port.js';
import type { PortConfig } from '../../../../driver/port/types.js';
import { readPacket } from '../../../../paths/mbuf.js';
import type { Mempool, MempoolSpec } from '../../../../paths/mempool.js';
import { openRx } from '../../../../driver/port/queue.js';
import type { RxPath } from '../../../../paths/guest/queue.js';
import { virtqueues } from '../../../support/virtio-port.js';
import { ourCpu, peerCpu, temporaryDirectory } from '../../../support/peers.js';
import * as J from './rx-interrupt-jobs.js';
import { soon } from '../../../support/wire.js';

export const JOBS = new URL('./rx-interrupt-jobs.js', import.meta.url);
/** Lcore of the back-end; 2 is free for a program. */
const SOURCE = 1;

export interface SleepBench {
  readonly eal: Eal;
  readonly mempool: MempoolSpec;
  readonly pool: Mempool;
  readonly port: Port;
  readonly words: Int32Array;
  /** Receive queues of this thread. */
  readonly queues: readonly RxPath[];
  startSource(): void;
  stopSource(): void;
  /** Packets for a queue, each `delayUs` after the one before. Does not wait. */
  send(queue: number, count: number, delayUs?: number): void;
  /** Signals to a descriptor, a millisecond apart. Does not wait. */
  signal(fd: number, count: number): void;
  /** Takes up to 32 packets of a queue. @returns their numbers */
  receive(rx: RxPath): number[];
}

/** An Eal for the tests of a file: threads take their time to start. */
export function sleepEal(): Eal {
  const lcores = new Map([
    [0, [ourCpu]],
    [SOURCE, [peerCpu]],
    [2, [ourCpu]],
  ]);
  return createEal({ noHuge: true, memoryMiB: 64, lcores, log: () => undefined });
}

let benches = 0;

/** A started port, unless `started` is false; everything but the Eal is undone after the test. */
export async function sleepBench(
  t: ExecutionContext,
  eal: Eal,
  args = '',
  config: Partial<PortConfig> = {},
): Promise<SleepBench> {
  const path = join(temporaryDirectory(t), 's');
  const number = benches++;
  const queues = config.rxQueues ?? 1;
  const mempool = eal.createMempool({ name: `guest${number}`, count: 1024 });
  const own = eal.createMempool({ name: `source${number}`, count: 64 });
  const shared = new SharedArrayBuffer(J.SOURCE_BYTES);
  const words = new Int32Array(shared);
  const startSource = () =>
    eal.lcores.launch(SOURCE, JOBS, 'source', { path, queues, mempool: own, shared } satisfies J.SourceData);
  const stopSource = () => {
    eal.lcores.stop(SOURCE);
    eal.lcores.wait(SOURCE, 20_000);
  };
  const ring = () => {
    Atomics.add(words, J.BELL, 1);
    Atomics.notify(words, J.BELL);
  };
  startSource();
  t.teardown(stopSource);
  const port = await soonAttached(eal, `net_virtio_user0,path=${path},queues=${queues},queue_size=64${args}`);
  t.teardown(() => port.close());
  port.configure({ mempool, rxInterrupts: true, ...config });
  port.start();
  await soon('the back-end has the device', () => Atomics.load(words, J.READY), Boolean);
  const pool = eal.mempool(mempool);
  const pkts = new Uint32Array(32);
  return {
    ...{ eal, mempool, pool, port, words, startSource, stopSource },
    queues: virtqueues(port).rx.map((spec) => openRx(spec, pool)),
    send: (queue, count, delayUs = 0) => {
      words[J.DELAY] = delayUs;
      Atomics.add(words, J.WANTED + queue, count);
      ring();
    },
    signal: (fd, count) => {
      words[J.FD] = fd;
      Atomics.add(words, J.SIGNALS, count);
      ring();
    },
    receive: (rx) => {
      const n = rx.recv(pkts, 32);
      const numbers = Array.from(pkts.subarray(0, n), (m) => {
        const bytes = readPacket(pool, m);
        return new DataView(bytes.buffer, bytes.byteOffset).getUint32(14);
      });
      pool.freeBulk(pkts, 0, n);
      return numbers;
    },
  };
}

/** The thread of the back-end may still be loading. */
async function soonAttached(eal: Eal, devargs: string): Promise<Port> {
  for (const deadline = Date.now() + 20_000; ;) {
    try {
      return await attach(eal, devargs, { log: () => undefined });
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
