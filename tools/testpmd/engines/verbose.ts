/** `set verbose N`: one line per burst and two per packet. Bit 0 shows received packets, bit 1 sent ones. */
import type { PortQueueSpec } from '../../../driver/port/queue.js';
import { formatMac } from '../../../driver/wire/mac.js';
import type { Mempool } from '../../../paths/mempool.js';
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import { rxFlagNames, txFlagNames } from '../names/ol-flags.js';

const RECEIVED = 1;
const SENT = 2;

interface Burst {
  readonly pkts: Uint32Array;
  readonly pool: Mempool;
  readonly rx: { readonly spec: PortQueueSpec };
  readonly tx: { readonly spec: PortQueueSpec };
}

export class BurstDump {
  constructor(
    /** The verbose level, which the prompt may change at any time. */
    private readonly level: Int32Array,
    private readonly print: (text: string) => void,
  ) {}

  receiving(): boolean {
    return (this.level[0]! & RECEIVED) !== 0;
  }

  sending(): boolean {
    return (this.level[0]! & SENT) !== 0;
  }

  received({ pkts, pool, rx }: Burst, n: number): void {
    const where = `Receive queue=0x${rx.spec.queueId.toString(16)}`;
    this.burst(rx.spec, `received ${n} packets`, where, rxFlagNames, pkts, pool, n);
  }

  sent({ pkts, pool, tx }: Burst, n: number): void {
    const where = `Send queue=0x${tx.spec.queueId.toString(16)}`;
    this.burst(tx.spec, `sent ${n} packets`, where, txFlagNames, pkts, pool, n);
  }

  private burst(
    spec: PortQueueSpec,
    what: string,
    where: string,
    flagNames: (flags: number) => string,
    pkts: Uint32Array,
    pool: Mempool,
    n: number,
  ): void {
    const lines = [`port ${spec.portId}/queue ${spec.queueId}: ${what}`];
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      lines.push(`  ${describe(pool, m)} - ${where}`, `  ol_flags: ${flagNames(pool.olFlags[m]!)} `);
    }
    this.print(lines.join('\n'));
  }
}

function describe(pool: Mempool, m: number): string {
  const { u8, spec } = pool;
  const at = pool.dataStart(m);
  const tail = `length=${pool.pktLen[m]!} - nb_segs=${pool.nbSegs[m]!}`;
  if (pool.dataLen[m]! < ETHER_HDR_LEN) return `pool=${spec.name} - ${tail}`;
  const mac = (from: number) => formatMac(u8.subarray(at + from, at + from + 6));
  const type = ((u8[at + 12]! << 8) | u8[at + 13]!).toString(16).padStart(4, '0');
  return `src=${mac(6)} - dst=${mac(0)} - pool=${spec.name} - type=0x${type} - ${tail}`;
}
