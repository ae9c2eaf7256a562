/** Queues of net_pcap: a file is received, or what is sent is written to a file. Without a file: nothing, and into nothing. */
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import { resetMbuf } from '../../../paths/mbuf.js';
import { NIL, type Mempool } from '../../../paths/mempool.js';
import { BYTES, countDrop, DROP_RUNT, ERRORS, NOMBUF, PACKETS } from '../../../paths/stats.js';
import type { PortQueueSpec, RxQueue, TxQueue } from '../../port/queue.js';
import { copyBuffer, copyBytes, type CopyBuffer } from '../copy.js';
import { STARTED, vdevQueueState, type VdevQueueSpec } from '../queue-state.js';
import { MAX_PACKET } from './format.js';
import { CaptureReader } from './reader.js';
import { captureState } from './state.js';
import { NOT_ETHERNET, noteTrouble } from './trouble.js';
import { CaptureWriter } from './writer.js';

/** What driver.ts adds to a queue. */
export interface PcapQueueData {
  /** Of its file; undefined: it has none. */
  readonly state: SharedArrayBuffer | undefined;
  /** Rx: after the last packet the first one follows. */
  readonly infinite: boolean;
}

type PcapQueueSpec = VdevQueueSpec & PcapQueueData;

/** What `cleanup` returns: there is always room. */
const FREE = 512;

export function openRx(spec: PortQueueSpec, pool: Mempool): RxQueue {
  const { state, infinite, shared } = spec as PcapQueueSpec;
  const fill = () => 0;
  if (state === undefined) return { spec, recv: () => 0, fill };

  const { words, stats } = vdevQueueState({ shared });
  const capture = captureState(state);
  const reader = new CaptureReader(capture, infinite);
  const source = copyBuffer(reader.window.u8);
  const put = packetWriter(pool, spec.portId);

  function recv(pkts: Uint32Array, n: number): number {
    if (Atomics.load(words, STARTED) === 0) return 0;
    reader.begin();
    let nb = 0;
    let bytes = 0;
    while (nb < n && reader.peek() === 'packet') {
      const { length } = reader;
      if (length < ETHER_HDR_LEN || !reader.isEthernet) {
        drop();
        continue;
      }
      const m = put(source, reader.at, length);
      if (m === NIL) {
        stats[NOMBUF]! += 1;
        break;
      }
      reader.take(true);
      pkts[nb++] = m;
      bytes += length;
    }
    stats[PACKETS]! += nb;
    stats[BYTES]! += bytes;
    return nb;
  }

  function drop(): void {
    reader.take(false);
    if (reader.isEthernet) {
      countDrop(stats, DROP_RUNT);
      return;
    }
    stats[ERRORS]! += 1;
    noteTrouble(capture, NOT_ETHERNET);
  }

  return { spec, recv, fill };
}

/** Makes packets from new mbufs, as many as needed. @returns a function that returns the first one, or NIL: there are too few */
function packetWriter(pool: Mempool, portId: number): (from: CopyBuffer, at: number, length: number) => number {
  const { dataRoom, dataLen, pktLen, nbSegs, next, port } = pool;
  const mbufs = copyBuffer(pool.u8);
  const segments = new Int32Array(Math.ceil(MAX_PACKET / dataRoom));

  return (from, at, length) => {
    const wanted = length <= dataRoom ? 1 : Math.ceil(length / dataRoom);
    const got = pool.getBulk(segments, wanted);
    if (got < wanted) {
      pool.putBulk(segments, got);
      return NIL;
    }
    const first = segments[0]!;
    for (let i = 0, left = length; i < wanted; i++, left -= dataRoom) {
      const m = segments[i]!;
      const n = left < dataRoom ? left : dataRoom;
      resetMbuf(pool, m);
      dataLen[m] = n;
      port[m] = portId;
      copyBytes(mbufs, pool.dataStart(m), from, at + i * dataRoom, n);
      if (i > 0) next[segments[i - 1]!] = m;
    }
    pktLen[first] = length;
    nbSegs[first] = wanted;
    return first;
  };
}

export function openTx(spec: PortQueueSpec, pool: Mempool): TxQueue {
  const { state, shared } = spec as PcapQueueSpec;
  const { words, stats } = vdevQueueState({ shared });
  const { pktLen } = pool;
  const writer = state === undefined ? undefined : new CaptureWriter(captureState(state), pool, stats);

  /** Without a file packets are freed, and count as sent, as in DPDK. */
  function xmitNowhere(pkts: Uint32Array, n: number): number {
    if (Atomics.load(words, STARTED) === 0) return 0;
    for (let i = 0; i < n; i++) stats[BYTES]! += pktLen[pkts[i]!]!;
    stats[PACKETS]! += n;
    pool.freeBulk(pkts, 0, n);
    return n;
  }

  function xmit(to: CaptureWriter, pkts: Uint32Array, n: number): number {
    if (Atomics.load(words, STARTED) === 0) return 0;
    to.begin();
    for (let i = 0; i < n; i++) to.add(pkts[i]!);
    to.flush();
    pool.freeBulk(pkts, 0, n);
    return n;
  }

  return {
    spec,
    prepare: (_, n) => n,
    xmit: writer === undefined ? xmitNowhere : (pkts, n) => xmit(writer, pkts, n),
    cleanup: () => FREE,
  };
}
