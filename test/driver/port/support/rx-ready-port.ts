/** A port with Rx interrupts on a back-end that sends on demand, for tests of rxReady. */
import { virtqueues } from '../../../support/virtio-port.js';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createEal } from '../../../../driver/eal/eal.js';
import { processCpus } from '../../../../driver/eal/lcore-list.js';
import { attach } from '../../../../driver/port/attach.js';
import type { Port } from '../../../../driver/port/port.js';
import { RxInterrupts } from '../../../../driver/eal/rx-interrupt.js';
import { rxReady } from '../../../../driver/port/rx-ready.js';
import type { PortConfig } from '../../../../driver/port/types.js';
import { signalFd } from '../../../../native/event.js';
import { eventually, temporaryDirectory, type Scope } from '../../../support/peers.js';
import { BackendWords, type BackendData } from './rx-ready-backend.js';

const jobs = new URL('./rx-ready-backend.js', import.meta.url);
const cpus = processCpus();

/** Threads take long to start from source: one Eal, with one lcore for the back-end, serves all tests of a file. */
export const eal = createEal({
  ...{ noHuge: true, memoryMiB: 32, log: () => undefined, pinMain: false },
  lcores: new Map([0, 1].map((id) => [id, cpus])),
});
export const mempool = eal.createMempool({ count: 4096 });
const pool = eal.mempool(mempool);

export class Backend {
  readonly words = new BackendWords();

  constructor(readonly path: string) {}

  async start(): Promise<void> {
    eal.lcores.launch(1, jobs, 'sendOnDemand', { path: this.path, mempool, words: this.words.shared } as BackendData);
    await eventually('the back-end listens', () => existsSync(this.path), Boolean, 60_000);
  }

  stop(): void {
    eal.lcores.stop(1);
    eal.lcores.wait(1);
  }
}

/** A started port; all is undone after the test, and no mbuf is missing then. */
export async function startPort(scope: Scope, args = '', config: Partial<PortConfig> = {}) {
  const path = join(temporaryDirectory(scope), 's');
  const backend = new Backend(path);
  await backend.start();
  const port = await attach(eal, `net_virtio_user0,path=${path}${args}`);
  scope.teardown(() => {
    port.close();
    backend.stop();
    const leaks = eal.leaks();
    if (leaks.length > 0) throw new Error(`mbufs are missing: ${JSON.stringify(leaks)}`);
  });
  port.configure({ mempool, rxInterrupts: true, ...config });
  port.start();
  return { port, backend, words: backend.words };
}

/** An iteration that waits: `next` is its first turn. */
export async function waiting(port: Port, options: { queues?: readonly number[]; signal?: AbortSignal } = {}) {
  const interrupts = new RxInterrupts();
  const iteration = rxReady(port, options.queues, { interrupts, signal: options.signal });
  const next = iteration.next();
  signalFd(virtqueues(port).rx[options.queues?.[0] ?? 0]!.interruptFd!);
  const seen = () => interrupts.spurious;
  await eventually('its thread has started, and has seen a signal without packets', seen, (n) => n === 1, 60_000);
  interrupts.spurious = 0;
  return { iteration, next, interrupts };
}

const pkts = new Uint32Array(32);

/** Takes up to `most` packets of a queue. @returns their numbers */
export function take(port: Port, queue: number, most = 32): number[] {
  const n = port.rx(queue).recv(pkts, most);
  const numbers = Array.from(pkts.subarray(0, n), (m) => {
    const at = pool.dataStart(m);
    if (pool.u8[at] !== queue) throw new Error(`a packet of queue ${pool.u8[at]} on queue ${queue}`);
    return pool.u8[at + 1]!;
  });
  pool.freeBulk(pkts, 0, n);
  return numbers;
}
