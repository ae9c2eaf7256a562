/**
 * A receive queue whose driver sleeps, and the reference device with its two steps apart: it shows used buffers, and later
 * decides (paths/kick.ts) whether to notify. Whatever the order, nobody may sleep beside a packet that no notification
 * announces. Packets are counted by what the device wrote and the path returned, not by the words that interrupts look at.
 */
import { openRxInterrupt, type RxInterrupt } from '../../../../paths/guest/interrupt.js';
import type { RxPath } from '../../../../paths/guest/queue.js';
import { packedNeedsNotify, splitNeedsNotify } from '../../../../paths/kick.js';
import { NIL } from '../../../../paths/mempool.js';
import { GuestFixture, packetBytes, type Shape } from '../../../support/guest-fixture.js';
import { require } from '../../support/guest-model.js';
import { capacity, scatter, type Buffer } from '../../../support/reference-ring.js';

/** What the device does between two steps of the driver. */
export type DeviceStep =
  { readonly op: 'publish'; readonly packets: number; readonly bytes: number } | { readonly op: 'decide' };

export type SleepOp =
  | DeviceStep
  /** `fence` and `look`: what the device does after the driver has asked, and right before the driver looks again. */
  | { readonly op: 'enable'; readonly fence: readonly DeviceStep[]; readonly look: readonly DeviceStep[] }
  | { readonly op: 'disable' }
  | { readonly op: 'receive'; readonly burst: number }
  /** The mempool has no mbufs, until it has them again. */
  | { readonly op: 'exhaust'; readonly on: boolean };

type Position = { index: number; wrap: number };

export class SleepModel {
  readonly fixture: GuestFixture;
  readonly interrupt: RxInterrupt;
  /** Buffers that the device has used and the driver has not received. */
  waiting = 0;
  /** The interrupt's eventfd is readable. */
  signalled = false;
  private readonly path: RxPath;
  private readonly pkts = new Uint32Array(64);
  /** All mbufs of the pool that were free, and packets received since. */
  private readonly hoard: number[] = [];
  private readonly held: number[] = [];
  private exhausted = false;
  private state: 'polls' | 'sleeps' | 'awake' = 'polls';
  /** Where the device stood at its last decision, and how many buffers it has used since. */
  private decidedAt: Position;
  private undecided = 0;
  /** Since the driver asked last. */
  private signals = 0;
  private usedSince = 0;

  constructor(terms: Shape) {
    this.fixture = new GuestFixture(terms);
    this.path = this.fixture.openRx();
    this.interrupt = openRxInterrupt(this.fixture.spec);
    this.decidedAt = this.position();
    this.path.fill();
  }

  private position(): Position {
    if (!this.fixture.spec.packed) return { index: this.fixture.split.usedIdx, wrap: 0 };
    return { index: this.fixture.packed.usedAt, wrap: this.fixture.packed.usedWrap };
  }

  run(op: SleepOp): void {
    if (op.op === 'enable') this.enable(op.fence, op.look);
    else if (op.op === 'disable') this.disable();
    else if (op.op === 'receive') this.receive(op.burst);
    else if (op.op === 'exhaust') this.exhaust(op.on);
    else this.step(op);
    const announced = this.state !== 'sleeps' || this.undecided > 0 || this.waiting === 0 || this.signalled;
    require(announced, `asleep beside ${this.waiting} buffers, and no notification is on its way`);
  }

  // ---- the device ----------------------------------------------------------------------------------------------------

  private step(step: DeviceStep): void {
    if (step.op === 'publish') this.publish(step.packets, step.bytes);
    else this.decide();
  }

  private publish(packets: number, length: number): void {
    const { device, shape } = this.fixture;
    device.takeAll();
    const free = [...device.outstanding];
    const used = [];
    for (let i = 0; i < packets; i++) {
      const buffers = this.buffersFor(free, length);
      if (buffers === undefined) break;
      const bytes = new Uint8Array(shape.hdrSize + length);
      bytes.set(packetBytes(i, length), shape.hdrSize);
      if (shape.hdrSize > 10) bytes[10] = buffers.length;
      let at = 0;
      for (const buffer of buffers) {
        const written = scatter(device, buffer, bytes.subarray(at));
        used.push({ buffer, length: written });
        at += written;
      }
    }
    // no device uses more than a ring between two decisions
    if (this.undecided + used.length > shape.size) this.decide();
    if (used.length === 0) return;
    device.use(used);
    this.waiting += used.length;
    this.undecided += used.length;
    this.usedSince += used.length;
  }

  private buffersFor(free: Buffer[], length: number): Buffer[] | undefined {
    const { hdrSize, mergeable } = this.fixture.shape;
    let count = 0;
    for (let room = 0; room < hdrSize + length; count++) {
      if (free[count] === undefined || (count > 0 && !mergeable)) return undefined;
      room += capacity(free[count]!);
    }
    return free.splice(0, count);
  }

  private decide(): void {
    if (this.undecided === 0) return;
    const notify = this.wantsNotification();
    this.decidedAt = this.position();
    this.undecided = 0;
    if (!notify) return;
    const { eventIdx, packed } = this.fixture.spec;
    require(this.state !== 'polls' || (eventIdx && !packed), 'a notification for a driver that polls');
    this.signals++;
    // an index that was asked for is passed once in a lap
    const once = !eventIdx || this.usedSince > this.fixture.spec.size || this.signals === 1;
    require(once, 'told twice after having asked once');
    this.signalled = true;
  }

  private wantsNotification(): boolean {
    const { fixture, decidedAt } = this;
    const { packed, eventIdx, size } = fixture.spec;
    const { view } = fixture.device;
    const { index, wrap } = this.position();
    if (packed) {
      const event = fixture.spec.ringOff + 16 * size;
      const [offWrap, flags] = [view.getUint16(event, true), view.getUint16(event + 2, true)];
      return packedNeedsNotify(eventIdx, flags, offWrap, size, index, wrap, this.undecided);
    }
    const avail = fixture.spec.ringOff + 16 * size;
    const word = view.getUint16(eventIdx ? avail + 4 + 2 * size : avail, true);
    return splitNeedsNotify(eventIdx, word, index, decidedAt.index);
  }

  // ---- the driver ----------------------------------------------------------------------------------------------------

  private enable(atFence: readonly DeviceStep[], atLook: readonly DeviceStep[]): void {
    this.signalled = false; // who wakes reads the eventfd empty before it looks
    this.state = 'awake';
    this.signals = 0;
    this.usedSince = 0;
    const there = amid(
      () => this.interrupt.enable(),
      () => atFence.forEach((step) => this.step(step)),
      () => atLook.forEach((step) => this.step(step)),
    );
    require(there === this.waiting > 0, `enable: ${there}, with ${this.waiting} buffers there`);
    if (!there) this.state = 'sleeps';
  }

  private disable(): void {
    this.interrupt.disable();
    this.state = 'polls';
  }

  /** @returns buffers that came back */
  private receive(burst: number): number {
    const { pool, broken } = this.fixture;
    if (this.state === 'sleeps') this.state = 'awake';
    const n = this.path.recv(this.pkts, burst);
    let buffers = 0;
    for (let i = 0; i < n; i++) {
      buffers += pool.nbSegs[this.pkts[i]!]!;
      if (this.exhausted) this.held.push(this.pkts[i]!);
      else pool.free(this.pkts[i]!);
    }
    this.waiting -= buffers;
    require(broken === 0, `the queue broke: ${broken}`);
    return buffers;
  }

  private exhaust(on: boolean): void {
    const { pool } = this.fixture;
    this.exhausted = on;
    if (on) {
      for (let m = pool.get(); m !== NIL; m = pool.get()) this.hoard.push(m);
      return;
    }
    for (const m of this.hoard.splice(0)) pool.put(m);
    for (const m of this.held.splice(0)) pool.free(m);
  }

  /** Takes all that waits, as a program does that `enable` or a notification has woken: each burst must get on. */
  drain(): void {
    this.exhaust(false);
    this.decide();
    while (this.waiting > 0) require(this.receive(32) > 0, `a burst takes none of ${this.waiting} buffers`);
    this.receive(32); // gives buffers for those that were short of mbufs
    this.disable();
    this.signalled = false;
  }

  finish(): void {
    this.drain();
    this.fixture.finish();
  }
}

/**
 * Runs `enable`, and in the midst of it, as another thread might, `atFence` when it passes its barrier and `atLook` before it
 * observes the ring. It has to do both, in this order.
 */
function amid(enable: () => boolean, atFence: () => void, atLook: () => void): boolean {
  const { add, load } = Atomics;
  const passed: string[] = [];
  const restore = () => Object.assign(Atomics, { add, load });
  Atomics.load = ((array: Int32Array, index: number) => {
    restore();
    passed.push('look');
    atLook();
    return load(array, index);
  }) as typeof load;
  Atomics.add = ((array: Int32Array, index: number, value: number) => {
    Atomics.add = add;
    const hooked = Atomics.load;
    Atomics.load = load;
    passed.push('fence');
    atFence();
    Atomics.load = hooked;
    return add(array, index, value);
  }) as typeof add;
  try {
    const there = enable();
    // with no buffer at the device there may be nothing to look at
    require(passed.join() === 'fence,look' || (passed.join() === 'fence' && !there), `enable did: ${passed.join()}`);
    return there;
  } finally {
    restore();
  }
}
