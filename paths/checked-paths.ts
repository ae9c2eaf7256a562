/** The bursts of the debug mode: the usual paths, with a check of every mbuf that goes in or out. They throw on errors. */
import type { QueueSpec, RxPath, TxPath } from './guest/queue.js';
import { CheckedMempool } from './checked-mempool.js';
import { NIL, type Mempool } from './mempool.js';

/** Opens an Rx path, which checks mbufs if `pool` does. */
export function checkedRx(spec: QueueSpec, pool: Mempool, open: (spec: QueueSpec, pool: Mempool) => RxPath): RxPath {
  const path = open(spec, pool.unchecked);
  if (!(pool instanceof CheckedMempool)) return path;
  const { next } = pool;
  return {
    spec,
    fill: path.fill,
    recv(pkts, n) {
      pool.checkOpen('recv');
      pool.checkArray('recv', pkts, n);
      const got = path.recv(pkts, n);
      for (let i = 0; i < got; i++) {
        for (let segment = pkts[i]!; segment !== NIL; segment = next[segment]!) pool.take(segment, 'recv');
      }
      return got;
    },
  };
}

/** The same for a Tx path. */
export function checkedTx(spec: QueueSpec, pool: Mempool, open: (spec: QueueSpec, pool: Mempool) => TxPath): TxPath {
  const path = open(spec, pool.unchecked);
  if (!(pool instanceof CheckedMempool)) return path;

  /** Checks the packets. @returns the segments of each one */
  function look(pkts: Uint32Array, n: number, deed: string): number[][] {
    const checked = pool as CheckedMempool;
    checked.checkOpen(deed);
    checked.checkArray(deed, pkts, n);
    return Array.from(pkts.subarray(0, n), (m) => {
      const segments = checked.segments(m, deed);
      checked.checkPacket(m, segments, deed);
      return segments;
    });
  }

  return {
    spec,
    cleanup: path.cleanup,
    prepare(pkts, n) {
      look(pkts, n, 'prepare');
      return path.prepare(pkts, n);
    },
    xmit(pkts, n) {
      const packets = look(pkts, n, 'xmit');
      const before = new Map<number, number>();
      const giveBack = (segments: Iterable<number>) => {
        for (const segment of segments) pool.giveBack(segment, before.get(segment)!);
      };
      try {
        for (const segment of packets.flat()) before.set(segment, pool.give(segment, 'xmit'));
      } catch (error) {
        giveBack(before.keys()); // the burst contains an mbuf twice
        throw error;
      }
      const sent = path.xmit(pkts, n);
      giveBack(packets.slice(sent).flat());
      return sent;
    },
  };
}
