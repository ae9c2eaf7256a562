/** A forwarding mode of testpmd on queues that are plain arrays: what it does to packets, and what becomes of mbufs. */
import type { ExecutionContext } from 'ava';
import { createRegion, destroyRegion } from '../../../../native/region.js';
import { ForwardStream } from '../../../../driver/port/stream.js';
import { readStreamCounts, streamCounters, streamCountersBytes } from '../../../../driver/port/stream-counters.js';
import { prepareFor } from '../../../../paths/guest/tx/offload.js';
import type { QueueSpec, RxPath, TxPath } from '../../../../paths/guest/queue.js';
import { packetFrom, readPacket } from '../../../../paths/mbuf.js';
import { createMempool, Mempool, mempoolStride } from '../../../../paths/mempool.js';
import { createEngine } from '../../../../tools/testpmd/engines/create.js';
import { plainTx, type TxSettings } from '../../../../tools/testpmd/engines/tx-settings.js';
import type { PacketPlan } from '../../../../tools/testpmd/engines/txonly.js';
import type { BuiltInMode } from '../../../../tools/testpmd/engines/modes.js';
import { BurstDump } from '../../../../tools/testpmd/engines/verbose.js';

export const OWN = [0x02, 0, 0, 0, 0, 0xaa];
export const PEER = [0x02, 0, 0, 0, 0, 0x01];
const spec = { portId: 3, queueId: 1, txOffload: true, txTso: true } as QueueSpec;

class FakeRx implements RxPath {
  readonly spec = spec;
  readonly queue: number[] = [];
  recv(pkts: Uint32Array, n: number): number {
    const got = this.queue.splice(0, n);
    got.forEach((m, i) => (pkts[i] = m));
    return got.length;
  }
  fill(): number {
    return 0;
  }
}

/** Prepares packets as the paths do, with checksums and segmentation negotiated. */
class FakeTx implements TxPath {
  readonly spec = spec;
  readonly sent: number[] = [];
  /** How many packets each call takes; Infinity when the list is at its end. */
  readonly room: number[] = [];
  prepare: TxPath['prepare'];

  constructor(pool: Mempool) {
    this.prepare = prepareFor(spec, pool);
  }
  xmit(pkts: Uint32Array, n: number): number {
    const taken = Math.min(n, this.room.shift() ?? Infinity);
    this.sent.push(...pkts.subarray(0, taken));
    return taken;
  }
  cleanup(): number {
    return 0;
  }
}

const plan: PacketPlan = {
  segments: [64],
  ip: { source: 0xc6120001, destination: 0xc6120002 },
  udp: { source: 9, destination: 9 },
  multiFlow: false,
  flows: 1024,
};

export interface EngineSetup {
  readonly burst?: number;
  readonly retries?: number;
  readonly plan?: Partial<PacketPlan>;
  readonly count?: number;
  readonly verbose?: number;
  readonly tx?: Partial<TxSettings>;
}

export function engineFixture(t: ExecutionContext, mode: BuiltInMode, options: EngineSetup = {}) {
  const { burst = 4, retries = 0, plan: change = {}, count = 64, verbose = 0, tx: txChange = {} } = options;
  const region = createRegion('test', count * mempoolStride(128, 2048), false);
  t.teardown(() => destroyRegion(region));
  const mapping = { address: region.address, byteLength: region.byteLength };
  const pool = new Mempool(
    createMempool({
      name: 'mb_pool_0',
      mapping,
      base: 0,
      count,
      headroom: 128,
      dataRoom: 2048,
      cacheSize: 8,
      deviceAddress: BigInt,
    }),
    0,
  );
  const rx = new FakeRx();
  const tx = new FakeTx(pool);
  const counters = new SharedArrayBuffer(streamCountersBytes());
  const settings = { burst, retries, retryDelayUs: 1, ownMac: OWN, peerMac: PEER };
  const lines: string[] = [];
  const dump = new BurstDump(Int32Array.of(verbose), (text) => lines.push(...text.split('\n')));
  const stream = new ForwardStream(rx, tx, pool, settings, streamCounters(counters), (text) => lines.push(text), dump);
  const badL4 = new Float64Array(2);
  const engine = createEngine(mode, {
    settings,
    tx: { ...plainTx, ...txChange },
    plan: { ...plan, ...change },
    dataRoom: pool.dataRoom,
    lcoreId: 1,
    badL4,
    index: 1,
  });
  const runOnce = () => engine.run(stream);
  return {
    pool,
    rx,
    tx,
    lines,
    badL4,
    runOnce,
    counts: () => readStreamCounts(counters),
    /** Receives the packets, runs once, and returns the bytes of what was sent. */
    run(...packets: Uint8Array[]) {
      for (const packet of packets) rx.queue.push(packetFrom(pool, packet));
      runOnce();
      return tx.sent.map((m) => readPacket(pool, m));
    },
    /** Every mbuf is free but those that were sent. */
    held: () => pool.inUse() - tx.sent.reduce((sum, m) => sum + pool.nbSegs[m]!, 0),
    /** Frees what was sent. */
    reset() {
      for (const m of tx.sent.splice(0)) pool.free(m);
    },
  };
}
