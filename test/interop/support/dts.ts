/**
 * DPDK's test suites (DTS, https://git.dpdk.org/tools/dts) without their machines: the two testpmds of a suite as processes here,
 * either of them DPDK's or ours, and the suites' own commands and regular expressions.
 *
 * A suite keeps its commands in its order. What it does with a NIC and a traffic generator is done by another port of the same
 * testpmd, and what it does by sleeping is done by asking again.
 */
import test, { type ExecutionContext } from 'ava';
import { ourCpu, peerCpu } from '../../../tools/bench/common/testpmd.js';
import { lacks, needs, type NeedyTest } from '../../support/needs.js';
import { eventually, startFrontEnd, startOurs, type Peer } from '../../support/peers.js';

type Maker = 'ours' | 'DPDK';

/** Who has made the back-end (net_vhost) and the front-end (net_virtio_user). */
export interface Ends {
  readonly title: string;
  readonly back: Maker;
  readonly front: Maker;
}

const combinations: readonly Ends[] = [
  { title: 'both ends ours', back: 'ours', front: 'ours' },
  { title: "our net_vhost, DPDK's virtio_user", back: 'ours', front: 'DPDK' },
  { title: "DPDK's net_vhost, our virtio_user", back: 'DPDK', front: 'ours' },
];

/**
 * One test for each combination of ends.
 * @param missing what a test with DPDK's programs lacks besides dpdk-testpmd, in a sentence, or ''
 */
export function forEnds(title: string, run: (t: ExecutionContext, ends: Ends) => Promise<void>, missing = ''): void {
  for (const ends of combinations) {
    const define: NeedyTest = ends.back === ends.front ? test : needs(lacks('dpdk-testpmd') || missing);
    define.serial(`${ends.title}: ${title}`, (t) => run(t, ends));
  }
}

/** The paths of the suites, in their order. */
export interface Path {
  readonly name: string;
  /** Of net_virtio_user. */
  readonly devargs: string;
  /** Options of testpmd. */
  readonly args: readonly string[];
  readonly mergeable?: boolean;
  /** More options, for a back-end of DPDK's: 0x10 is LRO in DPDK 22.11, which our net_vhost does not offer. */
  readonly argsWithDpdk?: readonly string[];
}

const strip = ['--tx-offloads=0x0', '--enable-hw-vlan-strip'];

export const packedPaths: readonly Path[] = [
  { name: 'packed ring mergeable', devargs: 'packed_vq=1,in_order=0,mrg_rxbuf=1', args: strip, mergeable: true },
  { name: 'packed ring non-mergeable', devargs: 'packed_vq=1,in_order=0,mrg_rxbuf=0', args: strip },
  {
    name: 'packed ring inorder mergeable',
    devargs: 'packed_vq=1,mrg_rxbuf=1,in_order=1',
    args: strip,
    mergeable: true,
  },
  {
    name: 'packed ring inorder non-mergeable',
    devargs: 'packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1',
    args: ['--enable-hw-vlan-strip'],
    argsWithDpdk: ['--rx-offloads=0x10'],
  },
  { name: 'packed ring vectorized', devargs: 'packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1', args: strip },
];

export const splitPaths: readonly Path[] = [
  { name: 'split ring inorder mergeable', devargs: 'packed_vq=0,in_order=1,mrg_rxbuf=1', args: strip, mergeable: true },
  { name: 'split ring inorder non-mergeable', devargs: 'packed_vq=0,in_order=1,mrg_rxbuf=0', args: strip },
  { name: 'split ring mergeable', devargs: 'packed_vq=0,in_order=0,mrg_rxbuf=1', args: strip, mergeable: true },
  {
    name: 'split ring non-mergeable',
    devargs: 'packed_vq=0,in_order=0,mrg_rxbuf=0,vectorized=1',
    args: strip,
  },
  {
    name: 'split ring vector_rx',
    devargs: 'packed_vq=0,in_order=0,mrg_rxbuf=0,vectorized=1',
    args: ['--tx-offloads=0x0'],
  },
];

export const rings = [
  ['packed', packedPaths],
  ['split', splitPaths],
] as const;

export const virtioMac = 'mac=00:01:02:03:04:05';

/** A path's options of testpmd. */
export const pathArgs = ({ args, argsWithDpdk = [] }: Path, { back }: Ends): readonly string[] =>
  back === 'DPDK' ? [...argsWithDpdk, ...args] : args;

/** A testpmd and its prompt: framework/pmd_output.py. */
export class PmdOutput {
  /** Where the output of the present front-end begins. */
  private mark = 0;

  constructor(
    readonly peer: Peer,
    readonly t: ExecutionContext,
  ) {}

  /** @returns what the command printed, up to the next prompt */
  async executeCmd(command: string): Promise<string> {
    const [text] = await this.peer.ask(command, /[^]*?testpmd> /);
    return text;
  }

  /** The commands of a suite that look at no answer. */
  async executeAll(...commands: readonly string[]): Promise<void> {
    for (const command of commands) await this.executeCmd(command);
  }

  /** The number that the suite's expression finds in the answer; NaN when it finds none. */
  async number(command: string, pattern: RegExp): Promise<number> {
    return Number(pattern.exec(await this.executeCmd(command))?.[1] ?? NaN);
  }

  /** calculate_avg_throughput, without its demand for a speed. */
  async checkThroughput(what: string): Promise<void> {
    await this.executeCmd('show port stats all');
    await eventually(
      `${what}: ${this.peer.name} receives`,
      () => this.number('show port stats all', /Rx-pps:\s*(\d*)/),
      (pps) => pps > 0,
    );
  }

  /** check_port_throughput_after_port_stop */
  async checkStopped(port = 0): Promise<void> {
    await eventually(
      'no more packets after port stop',
      async () => /Rx-pps:\s*(\d*)/.exec(await this.executeCmd(`show port stats ${port}`))?.[1],
      (pps) => pps === '0',
    );
  }

  /** check_port_link_status_after_port_restart */
  async checkLinks(): Promise<void> {
    await eventually(
      'every link is up',
      async () => [...(await this.executeCmd('show port info all')).matchAll(/Link\s*status:\s*([a-z]*)/g)].map((m) => m[1]), // prettier-ignore
      (states) => states.length > 0 && states.every((state) => state === 'up'),
    );
  }

  /** The front-end that comes next is not the one that has been here. */
  expectFrontEnd(): void {
    this.mark = this.peer.output.length;
  }

  /** A link is up when the first queues are there; suites sleep until the others are, and packets for them were lost. */
  async waitForQueues(queues: number): Promise<void> {
    await eventually(
      'all rings are there',
      () => [...this.peer.output.slice(this.mark).matchAll(/queue state event/g)].length,
      (events) => events >= 2 * queues,
    );
    await this.checkLink('up');
  }

  /** check_link_status */
  async checkLink(status: string, port = 0): Promise<void> {
    await eventually(
      `the link of port ${port} is ${status}`,
      async () => /Link\s*status:\s*(\S*)/.exec(await this.executeCmd(`show port info ${port}`))?.[1],
      (now) => now === status,
    );
  }

  /** check_packets_of_each_queue: stops, and finds both directions of each queue with the suites' two ways to read them. */
  async checkQueues(queues: number, what: string): Promise<void> {
    const counters = async () => {
      const out = await this.executeCmd('show port xstats 0');
      return [...out.matchAll(/^[rt]x_q\d+_good_packets:\s*(\d+)$/gm)].map((m) => Number(m[1]));
    };
    const before = await counters();
    this.t.is(before.length, 2 * queues, what);
    await eventually(`${what}: every queue goes on`, counters, (now) => now.every((value, i) => value > before[i]!));
    const out = await this.executeCmd('stop');
    for (let queue = 0; queue < queues; queue++) {
      const from = out.slice(out.indexOf(`Queue= ${queue}`));
      const [rx, tx] = [/RX-packets:\s*(\d*)/, /TX-packets:\s*(\d*)/].map((p) => Number(p.exec(from)?.[1]));
      this.t.true(rx! > 0 && tx! > 0, `${what}: queue ${queue}: rx-packets: ${rx}, tx-packets: ${tx}\n${out}`);
    }
    const line = /RX Port= 0\/Queue= (\d+) -> TX Port= \d+\/Queue= \d+.*\n.*RX-packets:\s?(\d+).*TX-packets:\s?(\d+)/g;
    const found = [...out.matchAll(line)];
    if (queues === 1) return; // testpmd prints no streams when there is one
    this.t.deepEqual(found.map((m) => Number(m[1])).sort(), [...Array(queues).keys()], what);
    this.t.true(
      found.every((m) => Number(m[2]) > 0 && Number(m[3]) > 0),
      what,
    );
  }

  async quit(): Promise<void> {
    this.t.is(await this.peer.stop(), 'exit code 0', this.peer.name);
  }
}

/** Enough for four segments in each descriptor of 8 queues. testpmd's own number is far larger, for DPDK with hugepages. */
const MBUFS = 32768;

/** How a testpmd of a suite is started. */
export interface Start {
  readonly vdevs: readonly string[];
  readonly args?: readonly string[];
  readonly ealArgs?: readonly string[];
  /** Default 1: forwarding lcores. */
  readonly cores?: number;
}

const lcoresOn = (cpu: number, cores: number) =>
  Array.from({ length: cores + 1 }, (_, lcore) => `${lcore}@${cpu}`).join();

/** The suite's vhost testpmd. It has the peers' CPU unless the front-end is DPDK's. */
export async function startVhost(t: ExecutionContext, { back, front }: Ends, start: Start): Promise<PmdOutput> {
  const { cores = 1, args = [] } = start;
  const cpu = back === 'ours' && front === 'DPDK' ? ourCpu : peerCpu;
  const options = { ...start, mbufs: MBUFS, args: [`--nb-cores=${cores}`, ...args], lcores: lcoresOn(cpu, cores) };
  return new PmdOutput(await started(back, t, options), t);
}

/** DPDK's first prompt may come later, or in pieces with events in between: see startFrontEnd. */
async function started(
  who: Ends['back'],
  t: ExecutionContext,
  options: Parameters<typeof startOurs>[1],
): Promise<Peer> {
  if (who === 'ours') return startOurs(t, options);
  const peer = await startFrontEnd(t, options);
  await peer.ask('set burst 32', /burst set to 32[^]*?testpmd> /);
  return peer;
}

/** The suite's virtio-user testpmd; '--single-file-segments' and the SIMD bit width are the suites' too. */
export async function startVirtio(t: ExecutionContext, { front }: Ends, start: Start): Promise<PmdOutput> {
  const { cores = 1, args = [], ealArgs = [] } = start;
  const options = {
    ...start,
    mbufs: MBUFS,
    args: ['--rss-ip', `--nb-cores=${cores}`, ...args],
    ealArgs: ['--single-file-segments', '--force-max-simd-bitwidth=512', ...ealArgs],
    lcores: lcoresOn(front === 'ours' ? ourCpu : peerCpu, cores),
  };
  return new PmdOutput(await started(front, t, options), t);
}
