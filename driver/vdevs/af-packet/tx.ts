/**
 * Sends through the Tx ring of a packet socket. We fill frames and set TP_STATUS_SEND_REQUEST; one system call a burst has the
 * kernel send them. It goes through the ring in order, and only within that call.
 */
import { constants } from 'node:os';
import { sendFrames } from '../../../native/packet-socket.js';
import { viewsOf } from '../../../native/region.js';
import { bigEndian16 } from '../../../paths/bytes.js';
import { copierOf, type Copier } from '../../../paths/device/copy.js';
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import { RTE_MBUF_F_TX_HEADER_MASK, RTE_MBUF_F_TX_VLAN } from '../../../paths/mbuf.js';
import { NIL, type Mempool } from '../../../paths/mempool.js';
import { ETHER_TYPE_QINQ, ETHER_TYPE_VLAN } from '../../../paths/packet-headers.js';
import { BYTES, ERRORS, PACKETS } from '../../../paths/stats.js';
import {
  tpacket2_hdr,
  TP_STATUS_AVAILABLE,
  TP_STATUS_SEND_REQUEST,
  TP_STATUS_TS_RAW_HARDWARE,
  TP_STATUS_TS_SOFTWARE,
} from '../../wire/linux/if-packet.js';
import { frameOffsets, TX_OVERHEAD } from './layout.js';
import { LONGEST_TX, TX_POSITION, type RingSpec } from './socket.js';

const { EAGAIN, EINTR, ENETDOWN, ENOBUFS } = constants.errno;
const VLAN_TAG_LEN = 4;
const ADDRESSES_LEN = 12;
const LEN = tpacket2_hdr.tp_len.offset >> 2;
const SNAPLEN = tpacket2_hdr.tp_snaplen.offset >> 2;
/** Bits that say nothing about whether a frame is free. */
const TIMESTAMPS = TP_STATUS_TS_SOFTWARE | TP_STATUS_TS_RAW_HARDWARE;

export class FrameWriter {
  private readonly i32: Int32Array;
  private readonly u32: Uint32Array;
  private readonly u8: Uint8Array;
  private readonly copy: Copier;
  private readonly control: Int32Array;
  /** Byte offsets of the frames. */
  private readonly frames: Int32Array;
  /** Bytes of the longest packet that fits into a frame, with all its tags. */
  private readonly room: number;
  private readonly fd: number;

  constructor(
    ring: RingSpec,
    private readonly pool: Mempool,
    private readonly stats: Float64Array,
  ) {
    const views = viewsOf(ring.mapping);
    this.i32 = views.i32;
    this.u32 = views.u32;
    this.u8 = views.u8;
    this.copy = copierOf(views, viewsOf(pool.spec.mapping));
    this.control = new Int32Array(ring.control);
    this.frames = frameOffsets(ring.layout, 'tx');
    this.room = ring.layout.frameSize - TX_OVERHEAD;
    this.fd = ring.fd;
  }

  /** @returns how many of the first packets ask for nothing but a VLAN tag */
  prepare(pkts: Uint32Array, n: number): number {
    const { olFlags } = this.pool;
    for (let i = 0; i < n; i++) if ((olFlags[pkts[i]!]! & RTE_MBUF_F_TX_HEADER_MASK) !== 0) return i;
    return n;
  }

  /** @returns how many of the first packets were taken: sent, or counted as errors */
  write(pkts: Uint32Array, n: number): number {
    const { i32, frames, control, pool, stats } = this;
    let at = control[TX_POSITION]!;
    let done = 0;
    let sent = 0;
    let bytes = 0;
    for (; done < n; done++) {
      const m = pkts[done]!;
      const length = this.lengthOf(m);
      if (length === 0) {
        stats[ERRORS]! += 1;
        pool.free(m);
        continue;
      }
      const frame = frames[at]!;
      if (!this.isFree(frame)) break;
      this.fill(frame, m);
      this.u32[(frame >> 2) + LEN] = length;
      this.u32[(frame >> 2) + SNAPLEN] = length;
      Atomics.store(i32, frame >> 2, TP_STATUS_SEND_REQUEST); // publish
      if (++at === frames.length) at = 0;
      sent++;
      bytes += length;
      pool.free(m);
    }
    control[TX_POSITION] = at;
    stats[PACKETS]! += sent;
    stats[BYTES]! += bytes;
    if (sent > 0 || done < n) this.send();
    return done;
  }

  /** Has frames sent that the kernel left for lack of memory, if there are some. @returns free frames */
  flush(): number {
    const { i32, frames, control } = this;
    const at = control[TX_POSITION]!;
    const last = frames[at === 0 ? frames.length - 1 : at - 1]!;
    if (Atomics.load(i32, last >> 2) === TP_STATUS_SEND_REQUEST) this.send();
    let free = 0;
    for (let i = 0; i < frames.length; i++) if (this.isFree(frames[i]!)) free++;
    return free;
  }

  private isFree(frame: number): boolean {
    return (Atomics.load(this.i32, frame >> 2) & ~TIMESTAMPS) === TP_STATUS_AVAILABLE; // observe
  }

  /** Bytes of the packet as it is sent; 0 when it cannot be: too short, too long for a frame, or for the interface's MTU. */
  private lengthOf(m: number): number {
    const { pool, control, room } = this;
    let length = pool.pktLen[m]!;
    if (length < ETHER_HDR_LEN || pool.dataLen[m]! < ETHER_HDR_LEN) return 0;
    const inserted = (pool.olFlags[m]! & RTE_MBUF_F_TX_VLAN) !== 0;
    if (inserted) length += VLAN_TAG_LEN;
    const type = bigEndian16(pool.u8, pool.dataStart(m) + ADDRESSES_LEN);
    const tagged = inserted || type === ETHER_TYPE_VLAN || type === ETHER_TYPE_QINQ;
    const longest = control[LONGEST_TX]! + (tagged ? VLAN_TAG_LEN : 0);
    return length > room || length > longest ? 0 : length;
  }

  /** Copies all segments of `m` into a frame, where there is room. */
  private fill(frame: number, m: number): void {
    const { pool, u8, copy } = this;
    let to = frame + TX_OVERHEAD;
    let from = pool.dataStart(m);
    let length = pool.dataLen[m]!;
    const end = frame + TX_OVERHEAD + this.room;
    if ((pool.olFlags[m]! & RTE_MBUF_F_TX_VLAN) !== 0) {
      copy(to, from, ADDRESSES_LEN);
      to += ADDRESSES_LEN;
      const tci = pool.vlanTci[m]!;
      u8[to] = ETHER_TYPE_VLAN >> 8;
      u8[to + 1] = ETHER_TYPE_VLAN & 0xff;
      u8[to + 2] = tci >> 8;
      u8[to + 3] = tci;
      to += VLAN_TAG_LEN;
      from += ADDRESSES_LEN;
      length -= ADDRESSES_LEN;
    }
    for (let segment = m; ;) {
      if (to + length > end) return; // the segments are longer than the packet's length: `lengthOf` has checked that one
      copy(to, from, length);
      to += length;
      segment = pool.next[segment]!;
      if (segment === NIL) return;
      from = pool.dataStart(segment);
      length = pool.dataLen[segment]!;
    }
  }

  /** When the interface is down or gone, the frames are taken back, and their packets count as errors. */
  private send(): void {
    let errno = sendFrames(this.fd);
    // it may have been down meanwhile: that error is reported once, also when it is up again
    if (errno === ENETDOWN) errno = sendFrames(this.fd);
    // what the kernel could not send for lack of memory stays in the ring for the next call
    if (errno === 0 || errno === EAGAIN || errno === ENOBUFS || errno === EINTR) return;
    const { i32, u32, frames, control, stats } = this;
    let at = control[TX_POSITION]!;
    for (let left = frames.length; left > 0; left--) {
      const before = at === 0 ? frames.length - 1 : at - 1;
      const frame = frames[before]!;
      if (Atomics.load(i32, frame >> 2) !== TP_STATUS_SEND_REQUEST) break;
      Atomics.store(i32, frame >> 2, TP_STATUS_AVAILABLE);
      stats[PACKETS]! -= 1;
      stats[BYTES]! -= u32[(frame >> 2) + LEN]!;
      stats[ERRORS]! += 1;
      at = before;
    }
    control[TX_POSITION] = at;
  }
}
