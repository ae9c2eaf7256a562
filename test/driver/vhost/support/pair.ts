/** A net_vhost port with our own front-end on its socket, in one process and on one thread. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { createEal, type Eal } from '../../../../driver/eal/eal.js';
import { attach } from '../../../../driver/port/attach.js';
import type { Port } from '../../../../driver/port/port.js';
import type { PortConfig } from '../../../../driver/port/types.js';
import type { Mempool } from '../../../../paths/mempool.js';

export class Pair {
  private constructor(
    readonly eal: Eal,
    readonly path: string,
    readonly pool: Mempool,
    readonly log: string[],
  ) {}

  static make(t: ExecutionContext, lcores = new Map([[0, [0]]])): Pair {
    const eal = createEal({ noHuge: true, lcores, pinMain: false, log: () => undefined });
    const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
    t.teardown(() => {
      eal.close();
      rmSync(directory, { recursive: true, force: true });
    });
    const pool = eal.mempool(eal.createMempool({ count: 4096 }));
    return new Pair(eal, join(directory, 's'), pool, []);
  }

  async attach(devargs: string, config: Partial<PortConfig> = {}): Promise<Port> {
    const port = await attach(this.eal, devargs, { log: (level, line) => this.log.push(`${level}: ${line}`) });
    port.configure({ mempool: this.pool.spec, ...config });
    port.start();
    return port;
  }

  back(args = '', config: Partial<PortConfig> = {}): Promise<Port> {
    return this.attach(`net_vhost0,iface=${this.path}${args}`, config);
  }

  front(args = '', config: Partial<PortConfig> = {}): Promise<Port> {
    return this.attach(`net_virtio_user0,path=${this.path}${args}`, config);
  }

  /** A packet of these bytes. */
  packet(bytes: ArrayLike<number>): number {
    const { pool } = this;
    const m = pool.get();
    pool.dataOff[m] = pool.headroom;
    pool.dataLen[m] = pool.pktLen[m] = bytes.length;
    pool.olFlags[m] = 0;
    pool.u8.set(bytes, pool.dataStart(m));
    return m;
  }

  /** The bytes of a packet, which is freed. */
  bytes(m: number): number[] {
    const { pool } = this;
    const at = pool.dataStart(m);
    const bytes = [...pool.u8.subarray(at, at + pool.dataLen[m]!)];
    pool.free(m);
    return bytes;
  }
}

/** A frame of 60 bytes with a tag of its own. */
export const frame = (tag: number): number[] => [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, ...Array<number>(46).fill(tag & 0xff)]; // prettier-ignore
