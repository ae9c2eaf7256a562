/**
 * A queue of a guest with everything around it: memory, mempool, QueueSpec, the path under test on one side and the
 * reference device on the other.
 */
import { createEventFd, drainFd } from '../../native/event.js';
import { helperStatus, type SimdIsa } from '../../native/helper.js';
import { closeFd, createRegion, destroyRegion, viewsOf, type Region } from '../../native/region.js';
import { openRx, openTx } from '../../paths/guest/open.js';
import { openRxPackedVec } from '../../paths/guest/rx/packed-vec.js';
import { openRxSplitVec } from '../../paths/guest/rx/split-vec.js';
import { openTxPackedVec } from '../../paths/guest/tx/packed-vec.js';
import {
  AVAIL_IDX,
  AVAIL_WRAP,
  BROKEN,
  FREE_HEAD,
  isTx,
  layoutOf,
  queueSharedBytes,
  queueState,
  reclaim,
  resetQueue,
  STARTED,
  TX_SLOT_SIZE,
  USED_IDX,
  USED_WRAP,
  type QueueSpec,
  type QueueState,
  type RxPath,
  type RxPathName,
  type TxPath,
  type TxPathName,
} from '../../paths/guest/queue.js';
import { DESC_F_AVAIL_USED, DESC_SIZE } from '../../paths/layout.js';
import { createMempool, Mempool, NIL } from '../../paths/mempool.js';
import { KICKS, KICKS_SUPPRESSED } from '../../paths/stats.js';
import { ReferencePackedRing, referenceRing } from './reference-packed.js';
import type { ReferenceRing, ReferenceSplitRing, RingTerms } from './reference-ring.js';

export interface Shape {
  readonly path: RxPathName | TxPathName;
  readonly size: number;
  readonly hdrSize: number;
  readonly mergeable: boolean;
  readonly inOrder: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  readonly anyLayout: boolean;
  readonly nbDesc: number;
  readonly freeThresh: number;
  readonly vlanStrip: boolean;
  readonly start: { readonly index: number; readonly wrap: number };
  readonly mbufs: number;
  readonly dataRoom: number;
  readonly headroom: number;
  /** Of the mempool. */
  readonly cacheSize: number;
  /** Whose cache of the mempool the path uses. */
  readonly lcoreId: number;
  /** Paths whose names end in _vec: the instruction set of their SIMD code. */
  readonly simd: SimdIsa | undefined;
  /** And the burst from which it is called: 1 leaves nothing that it could do to the scalar code. */
  readonly threshold: number | undefined;
}

/** A small ring with nothing special; tests say what they need different. */
export function shape(path: RxPathName | TxPathName, more: Partial<Shape> = {}): Shape {
  const packed = path.includes('_packed');
  const size = more.size ?? 16;
  return {
    path,
    size,
    hdrSize: 12,
    mergeable: path.includes('_mergeable'),
    inOrder: path.includes('_inorder') || path === 'virtio_xmit_pkts_packed_vec',
    indirect: false,
    eventIdx: false,
    anyLayout: true,
    nbDesc: size,
    freeThresh: Math.max(1, Math.min(32, size >> 2)),
    vlanStrip: false,
    start: { index: 0, wrap: packed ? 1 : 0 },
    mbufs: 2 * size + 64,
    dataRoom: 2048,
    headroom: 128,
    cacheSize: 64,
    lcoreId: 0,
    simd: path.endsWith('_vec') ? helperStatus().isas.at(-1) : undefined,
    threshold: 1,
    ...more,
  };
}

const RING_OFF = 4096;
const ZONE_OFF = 64 * 1024;
const MBUF_OFF = 128 * 1024;
const REGION_BYTES = 12 * 1024 * 1024;
/** Where the device sees the region: both halves of an address matter. */
const ADDRESS_BASE = 0x12_4000_0000n;

/** Memory that many cases use one after the other: mapping anew for each would take longer than the cases. */
const regions: Region[] = [];

/** @param which a case with two queues needs two regions. */
function fixtureRegion(which: number): Region {
  return (regions[which] ??= createRegion(`guest-fixture-${which}`, REGION_BYTES, false));
}

export function destroyFixtureRegion(): void {
  for (const region of regions.splice(0)) destroyRegion(region);
}

export class GuestFixture {
  readonly spec: QueueSpec;
  readonly pool: Mempool;
  readonly state: QueueState;
  readonly device: ReferenceRing;
  readonly doorbell: number;

  constructor(
    readonly shape: Shape,
    which = 0,
  ) {
    const { path, size, start, mbufs, dataRoom, headroom } = shape;
    const mapping = fixtureRegion(which);
    const packed = path.includes('_packed');
    const mempool = createMempool({
      name: 'fixture',
      mapping,
      base: MBUF_OFF,
      count: mbufs,
      headroom,
      dataRoom,
      cacheSize: shape.cacheSize,
      deviceAddress: (offset) => ADDRESS_BASE + BigInt(offset),
    });
    if (MBUF_OFF + mempool.stride * mbufs > REGION_BYTES) throw new Error('the fixture has no memory for that');
    if (ZONE_OFF + size * TX_SLOT_SIZE > MBUF_OFF) throw new Error('the fixture has no room for the zone');
    this.doorbell = createEventFd();
    this.spec = {
      portId: 0,
      queueId: 0,
      path,
      simd: shape.simd,
      mapping,
      packed,
      size,
      ringOff: RING_OFF,
      hdrSize: shape.hdrSize,
      mergeable: shape.mergeable,
      inOrder: shape.inOrder,
      indirect: shape.indirect,
      eventIdx: shape.eventIdx,
      anyLayout: shape.anyLayout,
      freeThresh: shape.freeThresh,
      nbDesc: shape.nbDesc,
      vlanStrip: shape.vlanStrip,
      txZoneOff: ZONE_OFF,
      txZoneAddress: ADDRESS_BASE + BigInt(ZONE_OFF),
      mempool,
      doorbell: { kind: 'eventfd', fd: this.doorbell },
      shared: new SharedArrayBuffer(queueSharedBytes(size)),
    };
    this.pool = new Mempool(mempool, shape.lcoreId);
    this.state = queueState(this.spec);
    const { u8 } = viewsOf(mapping);
    u8.fill(0xa5, ZONE_OFF, MBUF_OFF); // what memory holds before it is written is nobody's business
    resetQueue(this.spec, this.pool);
    this.begin(start.index, start.wrap);
    const terms: RingTerms = {
      ...this.spec,
      addressBase: ADDRESS_BASE,
      tx: isTx(this.spec),
      start,
    };
    this.device = referenceRing(terms);
    this.state.words[STARTED] = 1;
  }

  /** As if the ring had been in use for long: both sides stand at `index` (packed: under wrap counter `wrap`). */
  private begin(index: number, wrap: number): void {
    const { spec, state } = this;
    const { words } = state;
    const { u16 } = viewsOf(spec.mapping);
    const layout = layoutOf(spec);
    words[AVAIL_IDX] = index;
    words[USED_IDX] = index;
    if (spec.packed) {
      words[AVAIL_WRAP] = wrap;
      words[USED_WRAP] = wrap;
      for (let slot = 0; slot < spec.size; slot++) {
        const lap = slot < index ? wrap : wrap ^ 1; // the lap in which the descriptor was used last
        u16[(spec.ringOff + layout.desc + slot * DESC_SIZE + 14) >> 1] = lap ? DESC_F_AVAIL_USED : 0;
      }
    } else {
      words[FREE_HEAD] = index & (spec.size - 1);
      u16[((spec.ringOff + layout.driver) >> 1) + 1] = index;
      u16[((spec.ringOff + layout.device) >> 1) + 1] = index;
    }
  }

  openRx(): RxPath {
    const { spec, pool, shape } = this;
    if (spec.path === 'virtio_recv_pkts_vec') return openRxSplitVec(spec, pool, shape.threshold);
    if (spec.path === 'virtio_recv_pkts_packed_vec') return openRxPackedVec(spec, pool, shape.threshold);
    return openRx(spec, pool);
  }

  openTx(): TxPath {
    const { spec, pool, shape } = this;
    if (spec.path === 'virtio_xmit_pkts_packed_vec') return openTxPackedVec(spec, pool, shape.threshold);
    return openTx(spec, pool);
  }

  get split(): ReferenceSplitRing {
    if (this.device instanceof ReferencePackedRing) throw new Error('a packed ring');
    return this.device as ReferenceSplitRing;
  }

  get packed(): ReferencePackedRing {
    if (!(this.device instanceof ReferencePackedRing)) throw new Error('a split ring');
    return this.device;
  }

  get broken(): number {
    return this.state.words[BROKEN]!;
  }

  stat(index: number): number {
    return this.state.stats[index]!;
  }

  /**
   * Runs `burst`, one call of the path, and returns its result. Checks that the doorbell rang at most once, rang when
   * and only when the device wanted it to, and was counted.
   */
  watchKicks<T>(burst: () => T): T {
    const [kicks, suppressed] = [this.stat(KICKS), this.stat(KICKS_SUPPRESSED)];
    const before = this.position();
    drainFd(this.doorbell);
    const result = burst();
    const after = this.position();
    const moved = before.index !== after.index || before.wrap !== after.wrap;
    const wanted = moved && this.deviceWants(before, after);
    const rang = drainFd(this.doorbell);
    const counted = `${this.stat(KICKS) - kicks} ${this.stat(KICKS_SUPPRESSED) - suppressed}`;
    const expected = !moved ? '0 0' : wanted ? '1 0' : '0 1';
    if (counted !== expected) throw new Error(`kicks and suppressed kicks: ${counted}, expected ${expected}`);
    if (rang !== wanted) throw new Error(`the doorbell ${rang ? 'rang' : 'did not ring'}`);
    return result;
  }

  private position(): { index: number; wrap: number } {
    const { words } = this.state;
    return { index: words[AVAIL_IDX]!, wrap: words[AVAIL_WRAP]! };
  }

  /** By walking over every position that was passed, where the path does arithmetic. Fails after a full lap: none. */
  private deviceWants(from: { index: number; wrap: number }, to: { index: number; wrap: number }): boolean {
    const { spec } = this;
    const { u16 } = viewsOf(spec.mapping);
    const device = (spec.ringOff + layoutOf(spec).device) >> 1;
    if (!spec.packed) {
      if (!spec.eventIdx) return (u16[device]! & 1) === 0;
      const event = u16[device + 2 + 4 * spec.size]!;
      for (let index = from.index; index !== to.index; index = (index + 1) & 0xffff) if (index === event) return true;
      return false;
    }
    const flags = u16[device + 1]!;
    if (flags === 1) return false;
    if (flags !== 2 || !spec.eventIdx) return true;
    let { index, wrap } = from;
    while (index !== to.index || wrap !== to.wrap) {
      if ((index | (wrap << 15)) === u16[device]) return true;
      if (++index === spec.size) {
        index = 0;
        wrap ^= 1;
      }
    }
    return false;
  }

  /** Lets go of what a failed case holds. */
  abandon(): void {
    closeFd(this.doorbell);
  }

  /**
   * Ends the queue and checks that every mbuf is back, each exactly once, each single.
   * @param held mbufs that the test still has.
   */
  finish(held = 0): void {
    const { pool, spec } = this;
    this.state.words[STARTED] = 0;
    reclaim(spec, pool);
    closeFd(this.doorbell);
    if (pool.inUse() !== held) throw new Error(`${pool.inUse()} mbufs are in use, ${held} expected`);
    const free = new Set<number>();
    for (let m = pool.get(); m !== NIL; m = pool.get()) {
      if (free.has(m)) throw new Error(`mbuf ${m} is free twice`);
      if (pool.next[m] !== NIL || pool.nbSegs[m] !== 1) throw new Error(`mbuf ${m} was freed as part of a chain`);
      free.add(m);
    }
    if (free.size !== pool.count - held) throw new Error(`${free.size} free mbufs of ${pool.count - held}`);
  }
}

/** Packet `number` of a test: its bytes follow from number and length. `group`: 0 unicast, 1 multicast, 2 broadcast. */
export function packetBytes(number: number, length: number, group = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (number * 31 + i * 7 + (i >> 8)) & 0xff;
  if (group === 2) bytes.fill(0xff, 0, 6);
  else if (length > 0) bytes[0] = group === 1 ? 0x01 : 0x02;
  return bytes;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
