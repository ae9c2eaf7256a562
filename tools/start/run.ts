/** One row of the table: a net_vhost port on one lcore, a net_virtio_user port on another, packets in a loop. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEal, processCpus, type Eal } from '../../driver/eal/eal.js';
import { attach } from '../../driver/port/attach.js';
import type { Port } from '../../driver/port/port.js';
import type { PortStats } from '../../driver/port/types.js';
import type { Recipe } from '../common/recipes.js';
import { CORRUPT, FORWARDED, LOST, PROGRESS_BYTES, VERIFIED, type EndData, type ForwardData } from './forward.js';

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

const BACK_LCORE = 1;
const FRONT_LCORE = 2;
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
    [BACK_LCORE, [cpus[0]!]],
    [FRONT_LCORE, [cpus[1 % cpus.length]!]],
  ]);
  const directory = mkdtempSync(join(tmpdir(), 'virtio-pmd-'));
  const eal = createEal({ lcores, mainLcore: 0, log });
  eal.lcores.onFailure = () => {}; // `wait` throws the error, and is called after every launch
  try {
    // their threads start while the ports are made
    for (const lcore of [BACK_LCORE, FRONT_LCORE]) eal.lcores.launch(lcore, FORWARD, 'load', undefined);
    const socket = join(directory, 'vhost.sock');
    const options = { log: () => {}, signal };
    const back = start(eal, await attach(eal, `net_vhost0,iface=${socket}`, options));
    const front = start(eal, await attach(eal, `net_virtio_user0,path=${socket},${recipe.devargs}`, options));
    const row = await forward(eal, back, front, recipe, watch, signal);
    front.close();
    back.close();
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

/** Configures and starts a port with a mempool of its own. */
function start(eal: Eal, port: Port): Port {
  port.configure({ mempool: eal.createMempool({ name: port.name, count: 2048 }) });
  port.start();
  return port;
}

const endOf = (port: Port): EndData => ({ port: port.spec(), mempool: port.config!.mempool });

async function forward(
  eal: Eal,
  back: Port,
  front: Port,
  recipe: Recipe,
  watch: Watch,
  signal: AbortSignal,
): Promise<Row> {
  const progress = new SharedArrayBuffer(PROGRESS_BYTES);
  const counts = new Float64Array(progress);
  eal.lcores.wait(undefined, START_TIMEOUT_MS);
  eal.lcores.launch(BACK_LCORE, FORWARD, 'sendBack', endOf(back));
  eal.lcores.launch(FRONT_LCORE, FORWARD, 'forwardAndVerify', { ...endOf(front), progress } satisfies ForwardData);
  const mpps = await measure(eal, counts, watch, signal);
  // the front-end receives all packets before its job ends, so the other end has none then
  for (const lcore of [FRONT_LCORE, BACK_LCORE]) {
    eal.lcores.stop(lcore);
    eal.lcores.wait(lcore, START_TIMEOUT_MS);
  }

  const { rx, tx, recipe: name, features } = front.path();
  const errors: string[] = [];
  const note = (count: number, what: string) => count > 0 && errors.push(`${count} ${what}`);
  if (name !== recipe.name || rx !== recipe.rx || tx !== recipe.tx)
    errors.push(`runs "${name}" (${rx}, ${tx}) instead`);
  note(counts[CORRUPT]!, 'packets with wrong content');
  note(counts[LOST]!, 'packets lost');
  errors.push(...miscounted(front.stats(), back.stats()));
  if (counts[FORWARDED] === 0 || mpps === 0) errors.push('nothing was forwarded');
  return {
    ...{ recipe: recipe.name, rx, tx, acknowledged: features.acknowledged, mpps, errors },
    ...{ packets: counts[FORWARDED]!, verified: counts[VERIFIED]! },
  };
}

/**
 * What is wrong with the counters of the two ports: both count the same packets. A net_vhost port counts each packet in
 * `oerrors` that has to wait for room.
 */
function miscounted(front: PortStats, back: PortStats): string[] {
  const errors: string[] = [];
  const count = front.ierrors + front.oerrors + back.ierrors;
  if (count > 0) errors.push(`${count} errors counted by the ports`);
  const seen = [front.opackets, back.ipackets, back.opackets, front.ipackets];
  if (new Set(seen).size > 1) errors.push(`packets sent, taken, sent back and received: ${seen.join(', ')}`);
  return errors;
}

/** Reads the counters for the time of a row. @returns packets per microsecond after the warm-up. */
async function measure(eal: Eal, counts: Float64Array, watch: Watch, signal: AbortSignal): Promise<number> {
  const isRunning = () => eal.lcores.state(FRONT_LCORE) === 'running';
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
