/** Our l3fwd-power as a process, and the back-ends at the other end of its ports, on the thread of the test. */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { createEal } from '../../driver/eal/eal.js';
import { VhostDriver, type VhostDevice } from '../../driver/vhost/index.js';
import { packetFrom, readPacket } from '../../paths/mbuf.js';
import type { Mempool } from '../../paths/mempool.js';
import { eventually, ourCpu, startPeer, temporaryDirectory, type Peer } from './peers.js';
import { udpPacket } from './udp.js';

const BURST = 32;
const POLL_MS = 2;

export interface Arrival {
  readonly queue: number;
  readonly bytes: Uint8Array;
}

/** A back-end with packets by hand; a timer answers the front-end and collects what it sends. */
export class L3Backend {
  readonly arrived: Arrival[] = [];
  private device: VhostDevice | undefined;
  private readonly pkts = new Uint32Array(BURST);
  private driver: VhostDriver;
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly pool: Mempool,
    readonly path: string,
    private readonly queues: number,
  ) {
    this.driver = this.listen();
    this.timer = setInterval(() => this.poll(), POLL_MS);
  }

  private listen(): VhostDriver {
    const driver = new VhostDriver(
      this.path,
      { queues: this.queues },
      {
        newDevice: (device) => void (this.device = device),
        destroyDevice: () => void (this.device = undefined),
      },
    );
    driver.start();
    return driver;
  }

  close(): void {
    clearInterval(this.timer);
    this.driver.close();
  }

  /** The back-end dies, and is back at once. */
  restart(): void {
    this.driver.close();
    this.device = undefined;
    this.driver = this.listen();
  }

  private poll(): void {
    this.driver.poll();
    for (let queue = 0; queue < this.queues; queue++) {
      if (!this.device?.isRunning(2 * queue + 1)) continue;
      const n = this.device.dequeueBurst(2 * queue + 1, this.pool, this.pkts, BURST);
      for (let i = 0; i < n; i++) this.arrived.push({ queue, bytes: readPacket(this.pool, this.pkts[i]!) });
      this.pool.freeBulk(this.pkts, 0, n);
    }
  }

  /** Puts packets into the program's Rx queue, all in one burst. */
  async send(packets: readonly Uint8Array[], queue = 0): Promise<void> {
    await eventually('a running queue', () => this.device?.isRunning(2 * queue) === true, Boolean);
    packets.forEach((bytes, i) => (this.pkts[i] = packetFrom(this.pool, bytes)));
    const sent = this.device!.enqueueBurst(2 * queue, this.pool, this.pkts, packets.length);
    this.pool.freeBulk(this.pkts, 0, packets.length);
    if (sent !== packets.length) throw new Error(`${sent} of ${packets.length} packets had room`);
  }

  /** Waits for this many packets since the last call, and takes them. */
  async take(count: number): Promise<readonly Arrival[]> {
    await eventually(
      'packets from l3fwd-power',
      () => this.arrived.length,
      (n) => n >= count,
    );
    return this.arrived.splice(0);
  }
}

/** Back-ends on sockets of their own. */
export function startBackends(t: ExecutionContext, count: number, queues = 1): readonly L3Backend[] {
  const directory = temporaryDirectory(t);
  const eal = createEal({ noHuge: true, pinMain: false, lcores: new Map([[0, [ourCpu]]]), log: () => {} });
  t.teardown(() => eal.close());
  const pool = eal.mempool(eal.createMempool({ count: 1024 }));
  return Array.from({ length: count }, (_, i) => {
    const backend = new L3Backend(pool, join(directory, `s${i}`), queues);
    t.teardown(() => backend.close());
    return backend;
  });
}

const main = ['--import', './tools/ts.mjs', 'tools/l3fwd-power/main.ts'];

/** @param eal options in front of `--`, @param args those behind */
export function spawnL3fwd(t: ExecutionContext, eal: readonly string[], args: readonly string[]): Peer {
  return startPeer(t, 'l3fwd-power', process.execPath, [...main, ...eal, '--', ...args]);
}

/** @param first number of the first device */
export function vdevs(backends: readonly Pick<L3Backend, 'path'>[], more = '', first = 0): readonly string[] {
  return backends.flatMap(({ path }, i) => ['--vdev', `net_virtio_user${first + i},path=${path}${more}`]);
}

/** The last statistics table of which the second column has this title: its rows, by title. */
export function tableOf(output: string, second: string): readonly Record<string, number>[] {
  const lines = output.split('\n');
  const at = lines.findLastIndex((line) => new RegExp(`^lcore +${second} `).test(line));
  const cells = (line: string) => line.trim().split(/ {2,}/);
  const titles = cells(lines[at] ?? '');
  const rows = lines.slice(at + 2);
  return rows
    .slice(0, rows.indexOf(''))
    .map((row) => Object.fromEntries(cells(row).map((cell, i) => [titles[i]!, Number(cell)])));
}

/** A datagram to `ip`; the payload tells one from the other. */
export function datagram(ip: number, tag = 0): Uint8Array {
  const source = { mac: 1, ip: 0xc6120001, port: 9 };
  return udpPacket({ source, destination: { mac: 2, ip, port: 9 }, payload: Uint8Array.of(tag, 0, 0, 0) });
}

/** The same IPv4 packet with another TTL, and the checksum that goes with it. */
export function withTtl(packet: Uint8Array, ttl: number): Uint8Array {
  const changed = packet.slice();
  const header = new DataView(changed.buffer, 14, 20);
  header.setUint8(8, ttl);
  header.setUint16(10, 0);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += header.getUint16(at);
  header.setUint16(10, 0xffff - (sum % 0xffff));
  return changed;
}
