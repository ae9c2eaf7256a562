/** Small ports on an Eal of their own, which go with the test. */
import { readdirSync, readlinkSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { createEal, processCpus } from '../../../../driver/eal/eal.js';
import { attach } from '../../../../driver/port/attach.js';
import type { Port } from '../../../../driver/port/port.js';
import type { PortConfig } from '../../../../driver/port/types.js';
import { readPacket } from '../../../../paths/mbuf.js';

export interface EalOptions {
  readonly count?: number;
  readonly dataRoom?: number;
  readonly lcores?: number;
  readonly debug?: boolean;
}

export function vdevEal(t: ExecutionContext, options: EalOptions = {}) {
  const { count = 1024, dataRoom = 2048, lcores = 1, debug = false } = options;
  const cpus = processCpus();
  const list = new Map(Array.from({ length: lcores }, (_, id) => [id, [cpus[id % cpus.length]!]]));
  const eal = createEal({ noHuge: true, memoryMiB: 32, lcores: list, pinMain: false, debug, log: () => undefined });
  t.teardown(() => eal.close());
  // other lcores keep next to none of the mbufs that are free
  const mempool = eal.createMempool({ count, dataRoom, cacheSize: 1 });
  const pool = eal.mempool(mempool);
  const lines: string[] = [];

  /** Attaches a port, configures and starts it. */
  async function start(devargs: string, config: Partial<PortConfig> = {}): Promise<Port> {
    const port = await attach(eal, devargs, { log: (level, line) => lines.push(`${level}: ${line}`) });
    port.configure({ mempool, ...config });
    port.start();
    return port;
  }

  /** Receives until a burst is empty, and frees. @returns the packets */
  function receiveAll(port: Port, queue = 0, burst = 32): Buffer[] {
    const pkts = new Uint32Array(burst);
    const packets: Buffer[] = [];
    for (;;) {
      const n = port.rx(queue).recv(pkts, burst);
      if (n === 0) return packets;
      for (const m of pkts.subarray(0, n)) packets.push(Buffer.from(readPacket(pool, m)));
      pool.freeBulk(pkts, 0, n);
    }
  }

  return { eal, mempool, pool, lines, start, receiveAll };
}

/** The files of a directory that this process has open. */
export function openIn(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(directory) ? [target] : [];
    } catch {
      return []; // the descriptor of the directory that was just listed
    }
  });
}
