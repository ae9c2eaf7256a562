/** The guest's own Rx and Tx paths on the memory of a raw front-end: packets for the rings that its messages start. */
import { openRx, openTx } from '../../../../paths/guest/open.js';
import {
  queueSharedBytes,
  reclaim,
  resetQueue,
  STARTED,
  TX_SLOT_SIZE,
  queueState,
  type QueueSpec,
  type RxPath,
  type RxPathName,
  type TxPath,
  type TxPathName,
} from '../../../../paths/guest/queue.js';
import { createMempool, Mempool, NIL } from '../../../../paths/mempool.js';
import { GUEST_BASE, type RawFrontend } from './raw-frontend.js';

const RING_OFF = [0, 1 << 18] as const;
const ZONE_OFF = 1 << 19;
const MBUF_OFF = 1 << 20;
const MBUFS = 1024;

export interface GuestShape {
  readonly rx: RxPathName;
  readonly tx: TxPathName;
  readonly size: number;
  readonly mergeable: boolean;
  readonly inOrder: boolean;
  readonly indirect?: boolean;
}

/** One queue pair: virtqueue 0 receives, 1 transmits. */
export class RawGuest {
  readonly pool: Mempool;
  readonly rx: RxPath;
  readonly tx: TxPath;
  /** Offsets of the two rings in the memory, for SET_VRING_ADDR. */
  readonly ringOff = RING_OFF;

  constructor(
    readonly front: RawFrontend,
    shape: GuestShape,
  ) {
    const mapping = front.memory;
    const address = (offset: number) => GUEST_BASE + BigInt(offset);
    const mempool = createMempool({
      name: 'raw-guest',
      mapping,
      base: MBUF_OFF,
      count: MBUFS,
      headroom: 128,
      dataRoom: 2048,
      cacheSize: 32,
      deviceAddress: address,
    });
    this.pool = new Mempool(mempool, 0);
    const spec = (index: 0 | 1): QueueSpec => ({
      portId: 0,
      queueId: 0,
      path: index === 0 ? shape.rx : shape.tx,
      simd: undefined,
      mapping,
      packed: shape.rx.includes('_packed'),
      size: shape.size,
      ringOff: RING_OFF[index],
      hdrSize: 12,
      mergeable: shape.mergeable,
      inOrder: shape.inOrder,
      indirect: shape.indirect ?? false,
      eventIdx: false,
      anyLayout: true,
      freeThresh: 8,
      nbDesc: shape.size,
      vlanStrip: false,
      txZoneOff: ZONE_OFF,
      txZoneAddress: address(ZONE_OFF),
      mempool,
      doorbell: { kind: 'none' },
      shared: new SharedArrayBuffer(queueSharedBytes(shape.size)),
    });
    if (ZONE_OFF + shape.size * TX_SLOT_SIZE > MBUF_OFF) throw new Error('the ring is too large for the zone');
    const [rxSpec, txSpec] = [spec(0), spec(1)];
    for (const queue of [rxSpec, txSpec]) {
      resetQueue(queue, this.pool);
      queueState(queue).words[STARTED] = 1;
    }
    this.rx = openRx(rxSpec, this.pool);
    this.tx = openTx(txSpec, this.pool);
    this.rx.fill();
  }

  /** A packet in segments of `room` bytes. */
  packet(bytes: Uint8Array, room = 2048): number {
    const { pool } = this;
    let first = NIL;
    let last = NIL;
    let segments = 0;
    for (let at = 0; at < bytes.length; at += room) {
      const m = pool.get();
      if (m === NIL) throw new Error('no mbufs');
      const part = bytes.subarray(at, at + room);
      pool.dataOff[m] = 128;
      pool.dataLen[m] = part.length;
      pool.u8.set(part, pool.dataStart(m));
      if (first === NIL) first = m;
      else pool.next[last] = m;
      last = m;
      segments++;
    }
    pool.nbSegs[first] = segments;
    pool.pktLen[first] = bytes.length;
    return first;
  }

  /** Sends one packet. @returns false when the ring is full. */
  send(bytes: Uint8Array, room?: number): boolean {
    const m = this.packet(bytes, room);
    if (this.tx.xmit(Uint32Array.of(m), 1) === 1) return true;
    this.pool.free(m);
    return false;
  }

  /** Receives everything that has come, as bytes. */
  receive(): Uint8Array[] {
    const { pool } = this;
    const pkts = new Uint32Array(32);
    const out: Uint8Array[] = [];
    for (let n = this.rx.recv(pkts, 32); n > 0; n = this.rx.recv(pkts, 32)) {
      for (let i = 0; i < n; i++) {
        const parts: Uint8Array[] = [];
        for (let m: number = pkts[i]!; m !== NIL; m = pool.next[m]!) {
          parts.push(pool.u8.slice(pool.dataStart(m), pool.dataStart(m) + pool.dataLen[m]!));
        }
        out.push(new Uint8Array(Buffer.concat(parts)));
        pool.free(pkts[i]!);
      }
    }
    return out;
  }

  /** Mbufs that are lost once both rings are given back. */
  leaked(): number {
    this.tx.cleanup();
    reclaim(this.rx.spec, this.pool);
    reclaim(this.tx.spec, this.pool);
    return this.pool.inUse();
  }
}
