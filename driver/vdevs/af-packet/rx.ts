/**
 * Receives from the Rx ring of a packet socket. The kernel fills a frame, then sets TP_STATUS_USER; we copy the packet and give
 * the frame back. What a frame says is checked against the frame's size before it is used.
 */
import { viewsOf } from '../../../native/region.js';
import { copierOf, type Copier } from '../../../paths/device/copy.js';
import { completeChecksum } from '../../../paths/guest/rx/offload.js';
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import { resetMbuf, RTE_MBUF_F_RX_VLAN, RTE_MBUF_F_RX_VLAN_STRIPPED } from '../../../paths/mbuf.js';
import { NIL, type Mempool } from '../../../paths/mempool.js';
import {
  ETHER_TYPE_VLAN,
  IPPROTO_TCP,
  PacketHeaders,
  parseHeaders,
  TCP_CHECKSUM_OFF,
  UDP_CHECKSUM_OFF,
} from '../../../paths/packet-headers.js';
import { BYTES, countDrop, DROP_RUNT, DROP_TOO_LONG, NOMBUF, PACKETS } from '../../../paths/stats.js';
import {
  tpacket2_hdr,
  TP_STATUS_CSUMNOTREADY,
  TP_STATUS_KERNEL,
  TP_STATUS_USER,
  TP_STATUS_VLAN_TPID_VALID,
  TP_STATUS_VLAN_VALID,
} from '../../wire/linux/if-packet.js';
import { frameOffsets } from './layout.js';
import { RX_POSITION, type RingSpec } from './socket.js';

const VLAN_TAG_LEN = 4;
/** Bytes before the EtherType: two addresses. */
const ADDRESSES_LEN = 12;

// places of fields, in words of their size
const LEN = tpacket2_hdr.tp_len.offset >> 2;
const SNAPLEN = tpacket2_hdr.tp_snaplen.offset >> 2;
const MAC = tpacket2_hdr.tp_mac.offset >> 1;
const VLAN_TCI = tpacket2_hdr.tp_vlan_tci.offset >> 1;
const VLAN_TPID = tpacket2_hdr.tp_vlan_tpid.offset >> 1;

export interface ReaderOptions {
  readonly portId: number;
  readonly vlanStrip: boolean;
  readonly stats: Float64Array;
}

export class FrameReader {
  private readonly i32: Int32Array;
  private readonly u32: Uint32Array;
  private readonly u16: Uint16Array;
  private readonly copy: Copier;
  private readonly control: Int32Array;
  /** Byte offsets of the frames. */
  private readonly frames: Int32Array;
  private readonly frameSize: number;
  private readonly parsed = new PacketHeaders();

  constructor(
    ring: RingSpec,
    private readonly pool: Mempool,
    private readonly options: ReaderOptions,
  ) {
    const views = viewsOf(ring.mapping);
    this.i32 = views.i32;
    this.u32 = views.u32;
    this.u16 = views.u16;
    this.copy = copierOf(viewsOf(pool.spec.mapping), views);
    this.control = new Int32Array(ring.control);
    this.frames = frameOffsets(ring.layout, 'rx');
    this.frameSize = ring.layout.frameSize;
  }

  /** Whether a packet waits. */
  waits(): boolean {
    return (Atomics.load(this.i32, this.frames[this.control[RX_POSITION]!]! >> 2) & TP_STATUS_USER) !== 0;
  }

  /** @returns how many packets were received into `pkts` */
  read(pkts: Uint32Array, n: number): number {
    const { i32, frames, control, pool } = this;
    const { stats } = this.options;
    let at = control[RX_POSITION]!;
    let done = 0;
    let bytes = 0;
    while (done < n) {
      const frame = frames[at]!;
      const status = Atomics.load(i32, frame >> 2); // observe
      if ((status & TP_STATUS_USER) === 0) break;
      const m = pool.get();
      if (m === NIL) {
        stats[NOMBUF]! += 1;
        break;
      }
      if (this.take(frame, status, m)) {
        bytes += pool.pktLen[m]!;
        pkts[done++] = m;
      } else pool.put(m);
      Atomics.store(i32, frame >> 2, TP_STATUS_KERNEL); // publish
      if (++at === frames.length) at = 0;
    }
    control[RX_POSITION] = at;
    stats[PACKETS]! += done;
    stats[BYTES]! += bytes;
    return done;
  }

  /** Copies the packet of a frame into `m`. @returns false when it is dropped */
  private take(frame: number, status: number, m: number): boolean {
    const { u32, u16, pool, frameSize } = this;
    const { vlanStrip, stats, portId } = this.options;
    const length = u32[(frame >> 2) + SNAPLEN]!;
    const start = u16[(frame >> 1) + MAC]!;
    const tagged = (status & TP_STATUS_VLAN_VALID) !== 0;
    const total = tagged && !vlanStrip ? length + VLAN_TAG_LEN : length;
    if (length < ETHER_HDR_LEN) {
      countDrop(stats, DROP_RUNT);
      return false;
    }
    // cut off by the kernel, or too long for an mbuf
    if (start + length > frameSize || length < u32[(frame >> 2) + LEN]! || total > pool.dataRoom) {
      countDrop(stats, DROP_TOO_LONG);
      return false;
    }
    resetMbuf(pool, m);
    pool.dataLen[m] = total;
    pool.pktLen[m] = total;
    pool.port[m] = portId;
    const to = pool.dataStart(m);
    if (tagged) this.takeTag(frame, status, m);
    if (total === length) this.copy(to, frame + start, length);
    else {
      this.copy(to, frame + start, ADDRESSES_LEN);
      const rest = ADDRESSES_LEN + VLAN_TAG_LEN;
      this.copy(to + rest, frame + start + ADDRESSES_LEN, length - ADDRESSES_LEN);
    }
    if ((status & TP_STATUS_CSUMNOTREADY) !== 0) this.complete(m);
    return true;
  }

  /** The tag, which the kernel has taken out: goes back into the packet, or into the mbuf's metadata. */
  private takeTag(frame: number, status: number, m: number): void {
    const { u16, pool } = this;
    const tci = u16[(frame >> 1) + VLAN_TCI]!;
    if (this.options.vlanStrip) {
      pool.vlanTci[m] = tci;
      pool.olFlags[m] = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
      return;
    }
    const known = (status & TP_STATUS_VLAN_TPID_VALID) !== 0;
    const type = known ? u16[(frame >> 1) + VLAN_TPID]! : ETHER_TYPE_VLAN;
    const at = pool.dataStart(m) + ADDRESSES_LEN;
    const { u8 } = pool;
    u8[at] = type >> 8;
    u8[at + 1] = type;
    u8[at + 2] = tci >> 8;
    u8[at + 3] = tci;
  }

  /** A packet of this host whose checksum the interface was to complete: a wire would have carried it complete. */
  private complete(m: number): void {
    const { pool, parsed } = this;
    parseHeaders(pool, m, parsed);
    if (parsed.l4Len === 0) return;
    const offset = parsed.protocol === IPPROTO_TCP ? TCP_CHECKSUM_OFF : UDP_CHECKSUM_OFF;
    completeChecksum(pool, m, parsed.l2Len + parsed.l3Len, offset);
  }
}
