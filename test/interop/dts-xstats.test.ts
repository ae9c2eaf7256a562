/**
 * DTS: vhost_pmd_xstats. Port 0 of the vhost testpmd is the NIC there, with packets that scapy sends. Here it is a net_pcap port:
 * it sends a file for each of its starts.
 *
 * Names are those of DPDK 22.11, with the queue in them. The packets are few, so that none is lost and the numbers are exact.
 * The stability cases (two minutes of single packets) are left out.
 */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { packetOf } from '../driver/vdevs/support/captures.js';
import { eventually, temporaryDirectory } from '../support/peers.js';
import {
  forEnds,
  packedPaths,
  pathArgs,
  splitPaths,
  startVhost,
  startVirtio,
  virtioMac,
  type Ends,
  type Path,
  type PmdOutput,
} from './support/dts.js';
import { readPcap, writePcap } from './support/pcap.js';
import { pcapMissing } from './support/pcap-pmd.js';

const PACKETS = 100;
const types = [
  ['broadcast', 'ff:ff:ff:ff:ff:ff'],
  ['multicast', '01:00:00:33:00:01'],
] as const;
/** The plan's sizes and the first and last of each bin; size i comes i + 1 times. */
const sizes = [60, 64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1518, 1519];
const mixed = sizes.flatMap((size, i) => Array.from({ length: i + 1 }, () => size));
const bins = {
  undersize: 1,
  size_64: 2,
  size_65_127: 3 + 4,
  size_128_255: 5 + 6,
  size_256_511: 7 + 8,
  size_512_1023: 9 + 10,
  size_1024_1518: 11 + 12,
  size_1519_max: 13,
};

/** Frames of these sizes to an address. */
const frames = (lengths: readonly number[], mac: string) =>
  lengths.map((length, i) => {
    const frame = Uint8Array.from(packetOf(length, i));
    frame.set(mac.split(':').map((byte) => parseInt(byte, 16)));
    return frame;
  });

/** The numbers of `show port xstats 1`. */
async function xstats(vhost: PmdOutput): Promise<Record<string, number>> {
  const out = await vhost.executeCmd('show port xstats 1');
  return Object.fromEntries([...out.matchAll(/^(\w+):\s*(\d+)$/gm)].map((m) => [m[1]!, Number(m[2])]));
}

/** Those of one queue and direction that count packets by size and type, without zeros. */
function counted(all: Record<string, number>, way: string, queue: number): Record<string, number> {
  const pattern = new RegExp(`^${way}_q${queue}_((?:good|multicast|broadcast|undersize|size_\\w+)_packets)$`);
  return Object.fromEntries(
    Object.entries(all).flatMap(([name, value]) => {
      const short = pattern.exec(name)?.[1];
      return short === undefined || value === 0 ? [] : [[short, value]];
    }),
  );
}

class Suite {
  private readonly socket: string;
  private vhost!: PmdOutput;
  private readonly files: readonly { in: string; out: string }[];

  constructor(
    private readonly t: ExecutionContext,
    private readonly ends: Ends,
    private readonly queues: number,
  ) {
    const directory = temporaryDirectory(t);
    this.socket = join(directory, 'vhost-net');
    this.files = Array.from({ length: queues }, (_, q) => ({
      in: join(directory, `i${q}`),
      out: join(directory, `o${q}`),
    }));
    for (const file of this.files) writePcap(file.in, []);
  }

  private get pairs(): string[] {
    return [`--rxq=${this.queues}`, `--txq=${this.queues}`];
  }

  async startVhost(): Promise<PmdOutput> {
    const wire = this.files.map((file) => `rx_pcap=${file.in},tx_pcap=${file.out}`).join();
    this.vhost = await startVhost(this.t, this.ends, {
      vdevs: [`net_pcap0,${wire}`, `net_vhost0,iface=${this.socket},queues=${this.queues},client=0`],
      args: [...this.pairs, '--no-flush-rx'],
    });
    await this.vhost.executeCmd('set fwd io');
    return this.vhost;
  }

  async startVirtio(path: Path, devargs = '', args: readonly string[] = []): Promise<PmdOutput> {
    this.vhost.expectFrontEnd();
    const virtio = await startVirtio(this.t, this.ends, {
      vdevs: [`net_virtio_user0,${virtioMac},path=${this.socket},queues=${this.queues},${path.devargs}${devargs}`],
      args: [...pathArgs(path, this.ends), ...this.pairs, ...args],
    });
    await virtio.executeAll('set fwd io', 'start');
    await this.vhost.waitForQueues(this.queues);
    await this.vhost.executeCmd('clear port xstats 1');
    return virtio;
  }

  /** Sends frames from each queue's file, and waits until they are back. */
  async send(lengths: readonly number[], mac: string): Promise<Record<string, number>> {
    const packets = frames(lengths, mac);
    const { vhost } = this;
    const before = await xstats(vhost);
    for (const file of this.files) writePcap(file.in, packets);
    await vhost.executeAll('stop', 'port stop 0', 'port start 0', 'start');
    const after = await eventually(
      'all packets are back',
      () => xstats(vhost),
      (now) => this.files.every((_, q) => now[`rx_q${q}_good_packets`]! >= before[`rx_q${q}_good_packets`]! + lengths.length), // prettier-ignore
    );
    for (const file of this.files) {
      const back = await eventually('the packets in the file', () => readPcap(file.out), (all) => all.length >= packets.length); // prettier-ignore
      this.t.deepEqual(back.map((packet) => Buffer.from(packet).toString('hex')), packets.map((packet) => Buffer.from(packet).toString('hex'))); // prettier-ignore
    }
    return after;
  }

  /** Every queue counts the same, both ways. */
  check(all: Record<string, number>, expected: Record<string, number>, what: string): void {
    for (let q = 0; q < this.queues; q++) {
      for (const way of ['rx', 'tx']) this.t.deepEqual(counted(all, way, q), expected, `${what}: ${way}_q${q}`);
    }
  }

  async checkMixed(what: string, times = 1): Promise<void> {
    for (const [scope, mac] of types) {
      await this.vhost.executeCmd('clear port xstats 1');
      for (let turn = 1; turn <= times; turn++) {
        const all = await this.send(mixed, mac);
        const byBin = Object.entries(bins).map(([bin, count]) => [`${bin}_packets`, turn * count] as const);
        const expected = { ...Object.fromEntries(byBin), good_packets: turn * mixed.length };
        this.check(all, { ...expected, [`${scope}_packets`]: turn * mixed.length }, `${what}, ${scope}`);
      }
    }
  }
}

forEnds(
  'each size bin with broadcast and multicast, cleared after each: packed mergeable, and a ring of 1221',
  async (t, ends) => {
    const suite = new Suite(t, ends, 2);
    const vhost = await suite.startVhost();
    for (const [path, devargs, args] of [
      [packedPaths[0]!, '', []],
      [packedPaths[4]!, ',queue_size=1221', ['--rxd=1221', '--txd=1221']],
    ] as const) {
      const virtio = await suite.startVirtio(path, devargs, args);
      const categories =
        (await vhost.executeCmd('show port xstats 1')).match(/rx_q0_size_[0-9]+_[to_\w+]*packets/g) ?? [];
      t.is(categories.length, 7);
      for (const category of categories) {
        const bin = /(?<=rx_q0_)\w+(?=_packets)/.exec(category)![0];
        const size = Number(/(?<=rx_q0_size_)\d+/.exec(category)![0]);
        for (const [scope, mac] of types) {
          const all = await suite.send(Array<number>(PACKETS).fill(size), mac);
          const names = ['good', bin, scope].map((name) => [`${name}_packets`, PACKETS] as const);
          suite.check(all, Object.fromEntries(names), `${size}, ${scope}`);
          await vhost.executeCmd('clear port xstats 1');
          suite.check(await xstats(vhost), {}, 'cleared');
        }
      }
      await virtio.quit();
      await vhost.checkLink('down', 1);
    }
    await vhost.quit();
  },
  pcapMissing(),
);

forEnds(
  'every path counts the first and the last size of each bin',
  async (t, ends) => {
    const suite = new Suite(t, ends, 1);
    const vhost = await suite.startVhost();
    for (const path of [...packedPaths.slice(1), ...splitPaths]) {
      const virtio = await suite.startVirtio(path);
      await suite.checkMixed(path.name);
      await vhost.executeCmd('stop');
      await virtio.quit();
      await vhost.checkLink('down', 1);
    }
    await vhost.quit();
  },
  pcapMissing(),
);

forEnds(
  'the numbers go on after port stop and port start of the vhost port, and after clear port stats of another',
  async (t, ends) => {
    const suite = new Suite(t, ends, 2);
    const vhost = await suite.startVhost();
    const virtio = await suite.startVirtio(splitPaths[2]!);
    await suite.checkMixed('twice', 2);
    const before = await xstats(vhost);
    await vhost.executeAll('stop', 'port stop 1', 'port start 1', 'clear port stats 0', 'start');
    await vhost.checkLink('up', 1);
    t.deepEqual(counted(await xstats(vhost), 'rx', 1), counted(before, 'rx', 1));
    const after = await suite.send([64, 64], types[0][1]);
    t.is(after['rx_q1_size_64_packets'], before['rx_q1_size_64_packets']! + 2);
    t.is(after['tx_q1_broadcast_packets'], 2);
    await virtio.quit();
    await vhost.quit();
  },
  pcapMissing(),
);
