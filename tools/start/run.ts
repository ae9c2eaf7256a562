/** One row of the table: an embedded back-end on one lcore, a virtio_user port on another, packets in a loop. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEal, processCpus, type Eal } from '../../driver/eal/eal.js';
import { attach } from '../../driver/port/attach.js';
import type { Port } from '../../driver/port/port.js';
import { vhostCounterBytes, type VhostJobData } from '../../driver/vhost/embedded.js';
import { VirtioPmdError } from '../../native/errors.js';
import { isListening } from '../../native/socket.js';
import type { Recipe } from '../common/recipes.js';
import { CORRUPT, FORWARDED, LOST, PROGRESS_BYTES, VERIFIED, type ForwardData } from './forward.js';

export interface Row {
  readonly recipe: string;
  readonly rx: string;
  readonly tx: string;
  /** Feature bits. */
  readonly acknowledged: bigint;
  /** Packets per microsecond, after the warm-up. */
  readonly mpps: number;
  readonly packets: number;
  /** Packets of which every byte was compared. */
  readonly verified: number;
  /** Descriptions of errors; empty when the row is good. */
  readonly errors: readonly string[];
}

/** Called with the packets so far, and the current packets per microsecond. */
export type Watch = (packets: number, mpps: number) => void;

const BACKEND_LCORE = 1;
const PORT_LCORE = 2;
const FORWARD = new URL('./forward.js', import.meta.url);
/** A busy machine compiles slowly. */
const START_TIMEOUT_MS = 120_000;
/** Time without a packet after which a row fails. On a busy machine, threads wait seconds for a CPU. */
const HANG_MS = 60_000;
const DURATION_MS = 2000;
const WARM_UP_MS = 500;
const STEP_MS = 100;

/** Runs `recipe` for about two seconds. @param log gets log lines of the environment. @throws VirtioPmdError */
export async function runRecipe(
  recipe: Recipe,
  watch: Watch,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<Row> {
  const cpus = processCpus();
  const lcores = new Map([
    [0, cpus],
    [BACKEND_LCORE, [cpus[0]!]],
    [PORT_LCORE, [cpus[1 % cpus.length]!]],
  ]);
  const directory = mkdtempSync(join(tmpdir(), 'virtio-pmd-'));
  const eal = createEal({ lcores, mainLcore: 0, log });
  eal.lcores.onFailure = () => {}; // `wait` throws the error, and is called after every launch
  try {
    const socket = join(directory, 'vhost.sock');
    eal.lcores.launch(PORT_LCORE, FORWARD, 'load', undefined); // its thread starts in parallel with the back-end's
    await startBackend(eal, socket);
    const port = await attach(eal, `net_virtio_user0,path=${socket},queues=1,${recipe.devargs}`, {
      log: () => {},
      signal,
    });
    let row: Row;
    try {
      row = await forward(eal, port, recipe, watch, signal);
    } finally {
      port.close();
    }
    eal.lcores.stop();
    eal.lcores.wait();
    const leaks = eal.leaks().map(({ mempool, inUse }) => `${inUse} mbufs of mempool ${mempool} leaked`);
    return { ...row, errors: [...row.errors, ...leaks] };
  } finally {
    try {
      eal.close();
    } finally {
      rmSync(directory, { recursive: true });
    }
  }
}

/** Starts the back-end that returns every packet, and waits until it listens on `socket`. */
async function startBackend(eal: Eal, socket: string): Promise<void> {
  const mempool = eal.createMempool({ name: 'vhost', count: 2048 });
  const module = new URL('../../driver/vhost/embedded.js', import.meta.url);
  eal.lcores.launch(BACKEND_LCORE, module, 'vhostJob', {
    ...{ path: socket, mode: 'loopback', mempool },
    counters: new SharedArrayBuffer(vhostCounterBytes),
  } satisfies VhostJobData);
  for (const deadline = Date.now() + START_TIMEOUT_MS; !isListening(socket); await sleep(10)) {
    if (eal.lcores.state(BACKEND_LCORE) === 'failed') eal.lcores.wait(BACKEND_LCORE); // throws its error
    if (Date.now() > deadline) {
      throw new VirtioPmdError(
        'ETIMEOUT',
        `the embedded back-end does not listen on ${socket} after ${START_TIMEOUT_MS / 1000} s`,
      );
    }
  }
}

async function forward(eal: Eal, port: Port, recipe: Recipe, watch: Watch, signal: AbortSignal): Promise<Row> {
  const mempool = eal.createMempool({ name: 'port', count: 2048 });
  port.configure({ mempool });
  port.start();
  const progress = new SharedArrayBuffer(PROGRESS_BYTES);
  const data: ForwardData = { port: port.spec(), mempool, progress };
  const counts = new Float64Array(progress);
  eal.lcores.wait(PORT_LCORE, START_TIMEOUT_MS);
  eal.lcores.launch(PORT_LCORE, FORWARD, 'forwardAndVerify', data);
  const mpps = await measure(eal, counts, watch, signal);
  eal.lcores.stop(PORT_LCORE);
  eal.lcores.wait(PORT_LCORE, START_TIMEOUT_MS);

  const { rx, tx, recipe: name, features } = port.path();
  const stats = port.stats();
  port.stop();
  const errors: string[] = [];
  const note = (count: number, what: string) => count > 0 && errors.push(`${count} ${what}`);
  if (name !== recipe.name || rx !== recipe.rx || tx !== recipe.tx)
    errors.push(`runs "${name}" (${rx}, ${tx}) instead`);
  note(counts[CORRUPT]!, 'packets with wrong content');
  note(counts[LOST]!, 'packets lost');
  note(stats.ierrors + stats.oerrors, 'errors counted by the port');
  if (counts[FORWARDED] === 0 || mpps === 0) errors.push('nothing was forwarded');
  return {
    ...{ recipe: recipe.name, rx, tx, acknowledged: features.acknowledged, mpps, errors },
    ...{ packets: counts[FORWARDED]!, verified: counts[VERIFIED]! },
  };
}

/** Reads the counters for the time of a row. @returns packets per microsecond after the warm-up. */
async function measure(eal: Eal, counts: Float64Array, watch: Watch, signal: AbortSignal): Promise<number> {
  const isRunning = () => eal.lcores.state(PORT_LCORE) === 'running';
  const launched = performance.now();
  while (counts[FORWARDED] === 0 && isRunning() && performance.now() - launched < START_TIMEOUT_MS) {
    await sleep(10, undefined, { signal });
  }
  const begin = performance.now();
  const rateSince = (time: number, packets: number) =>
    (counts[FORWARDED]! - packets) / (performance.now() - time) / 1000;
  let warm: { readonly time: number; readonly packets: number } | undefined;
  // this thread may wait for a CPU, too: a row ends only after it has seen packets
  const isMeasured = (now: number) =>
    now - begin >= DURATION_MS && warm !== undefined && counts[FORWARDED]! > warm.packets;
  for (let now = begin; !isMeasured(now) && now - begin < HANG_MS && isRunning(); now = performance.now()) {
    const packets = counts[FORWARDED]!;
    if (warm === undefined && now - begin >= WARM_UP_MS) warm = { time: now, packets };
    await sleep(STEP_MS, undefined, { signal });
    watch(counts[FORWARDED]!, rateSince(now, packets));
  }
  return warm === undefined ? 0 : rateSince(warm.time, warm.packets);
}
