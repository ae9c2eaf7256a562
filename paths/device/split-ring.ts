/** Shared by both directions of a split ring, on the device's side: its parts, our position, notifications. */
import { signalPeer } from '../../native/peer-event.js';
import { splitNeedsNotify } from '../kick.js';
import { DESC_SIZE, USED_F_NO_NOTIFY } from '../layout.js';
import { KICKS, KICKS_SUPPRESSED, STATS_COUNT } from '../stats.js';
import { AVAIL_JUMPED, brokenReason, Chain } from './chain.js';
import type { GuestMemory } from './guest-memory.js';
import { PoolAccess } from './pool-access.js';
import type { VringSpec } from './queue.js';

export class SplitRing {
  readonly stats = new Float64Array(STATS_COUNT);
  broken: string | undefined = undefined;

  /** Descriptor table: `descU32[desc]` is its first word. */
  protected readonly descU32: Uint32Array;
  protected readonly desc: number;
  /** Avail ring: `availU16[avail]` is its flags, then idx, then the entries. */
  protected readonly availU16: Uint16Array;
  protected readonly avail: number;
  /** Used ring: `usedU16[usedFlags]`, idx behind it; `usedU32[usedEntries]` is the id of entry 0. */
  protected readonly usedU16: Uint16Array;
  protected readonly usedFlags: number;
  protected readonly usedU32: Uint32Array;
  protected readonly usedEntries: number;
  protected readonly chain: Chain;
  protected readonly access: PoolAccess;
  /** Buffers consumed, modulo 2^16: the index of avail and used side, as we use them in order. Never read from memory. */
  protected position: number;

  private callFd: number;

  /** @param direction DESC_F_WRITE when we write into the buffers, or 0. */
  constructor(
    readonly spec: VringSpec,
    protected readonly memory: GuestMemory,
    direction: number,
  ) {
    const { index, size, eventIdx } = spec;
    const desc = memory.ring(spec.descAddr, size * DESC_SIZE, 16, `descriptor table of ring ${index}`);
    const event = eventIdx ? 2 : 0;
    const avail = memory.ring(spec.driverAddr, 4 + size * 2 + event, 2, `avail ring of ring ${index}`);
    const used = memory.ring(spec.deviceAddr, 4 + size * 8 + event, 4, `used ring of ring ${index}`);
    this.descU32 = desc.views.u32;
    this.desc = desc.offset >>> 2;
    this.availU16 = avail.views.u16;
    this.avail = avail.offset >>> 1;
    this.usedU16 = used.views.u16;
    this.usedFlags = used.offset >>> 1;
    this.usedU32 = used.views.u32;
    this.usedEntries = (used.offset + 4) >>> 2;
    this.chain = new Chain(memory, size, direction, spec.indirect);
    this.access = new PoolAccess(memory, direction);
    this.callFd = spec.callFd;
    this.position = Atomics.load(this.usedU16, this.usedFlags + 1);

    // We poll, so the driver need not kick. With EVENT_IDX the flag must stay 0 (2.7.10); the event index is then set to a
    // value that idx passes once in 65536 buffers.
    this.usedU16[this.usedFlags] = eventIdx ? 0 : USED_F_NO_NOTIFY;
    if (eventIdx) this.usedU16[this.usedFlags + 2 + size * 4] = (this.position - 1) & 0xffff;
  }

  base(): number {
    return this.position;
  }

  hasWork(): boolean {
    return this.broken === undefined && Atomics.load(this.availU16, this.avail + 1) !== this.position;
  }

  setCallFd(fd: number): void {
    this.callFd = fd;
  }

  /** Buffers that the guest has made available and we have not used; 0 when the ring is (now) broken. */
  protected pending(): number {
    if (this.broken !== undefined) return 0;
    const idx = Atomics.load(this.availU16, this.avail + 1); // observe
    const pending = (idx - this.position) & 0xffff;
    if (pending <= this.spec.size) return pending;
    this.giveUp(AVAIL_JUMPED);
    return 0;
  }

  protected giveUp(code: number): void {
    this.fail(brokenReason(code));
  }

  fail(why: string): void {
    this.broken = why;
  }

  /** Publishes the next `n` used entries, which are written already, and notifies the guest if it wants that. */
  protected publish(n: number): void {
    const before = this.position;
    const after = (before + n) & 0xffff;
    this.position = after;
    Atomics.store(this.usedU16, this.usedFlags + 1, after); // publish
    if (this.callFd < 0) return;
    const { eventIdx, size } = this.spec;
    // the store above and this load are sequentially consistent: the fence in between is part of them
    const word = Atomics.load(this.availU16, eventIdx ? this.avail + 2 + size : this.avail);
    if (!splitNeedsNotify(eventIdx, word, after, before)) this.stats[KICKS_SUPPRESSED]!++;
    else if (signalPeer(this.callFd)) this.stats[KICKS]!++;
  }
}
