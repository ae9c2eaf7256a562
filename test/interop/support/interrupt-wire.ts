/**
 * Wires between vhost-user sockets: a dpdk-testpmd with two net_vhost ports for each wire, which forwards from one to the
 * other. What sits at the near ends sleeps; our sender sits at the far ends. So it is DPDK that decides about interrupts.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createEal, type Eal } from '../../../driver/eal/eal.js';
import { attach } from '../../../driver/port/attach.js';
import { portsOf, type Port } from '../../../driver/port/port.js';
import type { PortConfig } from '../../../driver/port/types.js';
import type { MempoolSpec } from '../../../paths/mempool.js';
import {
  eventually,
  ourCpu,
  peerCpu,
  startDpdk,
  temporaryDirectory,
  type Peer,
  type Scope,
} from '../../support/peers.js';
import type { SenderData, SenderReport } from './interrupt-sender.js';
import { SLEEPER_BYTES, type SleeperData } from './interrupt-sleeper.js';
import { startForwarding } from '../../support/traffic.js';

/** Undoes what the tests of a file share: their peer and their sender take time to start. */
export class FileScope implements Scope {
  private readonly undo: (() => void | Promise<void>)[] = [];

  teardown(undo: () => void | Promise<void>): void {
    this.undo.push(undo);
  }

  async end(): Promise<void> {
    for (const undo of this.undo.splice(0).reverse()) await undo();
  }
}

/** Wires that forward, and the sender at their far ends. */
export async function startWires(scope: Scope, count: number, queues: number): Promise<{ wires: Wires; ends: Ends }> {
  const wires = new Wires(scope, count, queues);
  await wires.start();
  const ends = new Ends(scope);
  for (const socket of wires.far) await ends.connectSender(socket, queues);
  return { wires, ends };
}

export class Wires {
  /** Sockets, by wire. */
  readonly near: readonly string[];
  readonly far: readonly string[];
  private dpdk: Peer | undefined;

  constructor(
    private readonly scope: Scope,
    count: number,
    private readonly queues: number,
  ) {
    const directory = temporaryDirectory(scope);
    const sockets = (end: string) => Array.from({ length: count }, (_, i) => join(directory, `${end}${i}`));
    this.near = sockets('near');
    this.far = sockets('far');
  }

  /** Starts the peer, or another when the last one was killed. */
  async start(): Promise<void> {
    const { near, far, queues } = this;
    const sockets = near.flatMap((socket, i) => [socket, far[i]!]);
    for (const socket of sockets) rmSync(socket, { force: true }); // DPDK does not listen where a file is
    this.dpdk = await startDpdk(this.scope, {
      vdevs: sockets.map((socket, i) => `net_vhost${i},iface=${socket},queues=${queues},client=0`),
      args: [`--rxq=${queues}`, `--txq=${queues}`, '--nb-cores=1'],
    });
    await startForwarding(this.dpdk);
  }

  /** Waits until every front-end is connected, with all its queues, as DPDK sees it. */
  async connected(): Promise<void> {
    for (let port = 0; port < 2 * this.near.length; port++) {
      await eventually(
        `port ${port} of the peer up`,
        () => this.dpdk!.ask(`show port info ${port}`, /Link status: (\w+)/),
        (match) => match[1] === 'up',
      );
    }
  }

  /** SIGKILL. */
  kill(): Promise<void> {
    return this.dpdk!.kill();
  }
}

const SENDER = 1;
const SLEEPER = 2;
/** A thread takes its time to start from source. */
const START_MS = 30_000;
/** For packets that take a second where nobody else needs the CPUs. */
const PATIENCE_MS = 60_000;

/** l3fwd's own table routes 1.1.1.0/24 to port 0, 2.1.1.0/24 to port 1 and so on. */
const routedTo = (port: number) => ((port + 1) << 24) | 0x010101;

const module = (name: string) => new URL(`./interrupt-${name}.js`, import.meta.url);

/** What the sender is told: the packets, and how they come back. */
export type SendPlan = Pick<SenderData, 'gapsUs'> &
  Partial<Pick<SenderData, 'burst' | 'oneByOne' | 'ttl' | 'queue'>> & { readonly wire?: number };

/**
 * The ends that are ours. The sender shares the peer's CPU, which it leaves between two packets: a sleeper on
 * the other CPU and the peer run at the same time, as they must for a race.
 */
export class Ends {
  private readonly eal: Eal;
  private readonly mempool: MempoolSpec;
  private readonly far: Port[] = [];

  constructor(scope: Scope) {
    const lcores = new Map([
      [0, [ourCpu]],
      [SENDER, [peerCpu]],
      [SLEEPER, [ourCpu]],
    ]);
    this.eal = createEal({ noHuge: true, lcores, mainLcore: 0, pinMain: false, log: () => {} });
    scope.teardown(() => {
      for (const port of portsOf(this.eal)) port.close();
      this.eal.close();
    });
    this.mempool = this.eal.createMempool({ count: 8192 });
  }

  /** A started port on `socket`. */
  async connect(socket: string, devargs: string, config: Omit<PortConfig, 'mempool'> = {}): Promise<Port> {
    const { rxQueues = 1 } = config;
    const name = `net_virtio_user${portsOf(this.eal).length}`;
    const port = await attach(this.eal, `${name},path=${socket},queues=${rxQueues},${devargs}`, {
      log: () => {},
      replyTimeoutMs: START_MS,
    });
    port.configure({ ...config, mempool: this.mempool });
    port.start();
    return port;
  }

  /** A started net_vhost port that listens on `socket`. */
  async listen(socket: string, config: Omit<PortConfig, 'mempool'> = {}): Promise<Port> {
    const port = await attach(this.eal, `net_vhost${portsOf(this.eal).length},iface=${socket}`, { log: () => {} });
    port.configure({ ...config, mempool: this.mempool });
    port.start();
    return port;
  }

  /** Connects the sender to the next wire. @param devargs with a comma behind them */
  async connectSender(socket: string, queues: number, devargs = ''): Promise<void> {
    this.far.push(await this.connect(socket, `${devargs}queue_size=1024`, { rxQueues: queues }));
  }

  /** Starts the sleeper on `port`. @returns its words */
  sleep(port: Port, idleUs: number): Int32Array {
    const words = new SharedArrayBuffer(SLEEPER_BYTES);
    const data: SleeperData = { port: port.spec(), mempool: this.mempool, idleUs, words };
    this.eal.lcores.launch(SLEEPER, module('sleeper'), 'forwardAndSleep', data);
    return new Int32Array(words);
  }

  /** Sends packets on a wire and waits until they are back, or were waited for long enough. */
  async send({ wire = 0, gapsUs, burst = 1, oneByOne = false, ttl = 64, queue = 0 }: SendPlan): Promise<SenderReport> {
    const { lcores } = this.eal;
    const far = this.far[wire]!;
    await eventually('the link of the sender', () => far.link.up, Boolean);
    const data: SenderData = {
      ...{ port: far.spec(), mempool: this.mempool, patienceMs: PATIENCE_MS },
      ...{ gapsUs, burst, oneByOne, ttl, queue, destination: routedTo(wire) },
    };
    const report = await new Promise<SenderReport>((resolve, reject) => {
      lcores.onMessage = (_lcore, message) => resolve(message as SenderReport);
      lcores.onFailure = (_lcore, error) => reject(error);
      lcores.launch(SENDER, module('sender'), 'sendAndCount', data);
    });
    lcores.wait(SENDER, START_MS);
    return report;
  }

  /** Ends the sleeper's job. */
  stop(): void {
    this.eal.lcores.stop();
    this.eal.lcores.wait(undefined, START_MS);
  }
}
