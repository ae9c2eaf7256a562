/**
 * A vectorized path and its scalar twin side by side: two queues, two memories that the device sees at the same address,
 * and the same calls. The scalar one is the definition (tested against the reference device elsewhere); after every call
 * nothing may differ but where things are.
 */
import { drainFd } from '../../../../native/event.js';
import type { SimdIsa } from '../../../../native/helper.js';
import type { RxPathName, TxPathName } from '../../../../paths/guest/queue.js';
import { Mempool, NIL } from '../../../../paths/mempool.js';
import { GuestFixture, type Shape } from '../../../support/guest-fixture.js';
import { restart } from '../../support/hostile.js';
import { difference, memoryUsed } from './compare.js';
import type { ReferencePackedRing } from '../../../support/reference-packed.js';
import type { ReferenceRing, ReferenceSplitRing } from '../../../support/reference-ring.js';

export type VectorPathName = 'virtio_recv_pkts_vec' | 'virtio_recv_pkts_packed_vec' | 'virtio_xmit_pkts_packed_vec';

export const twins: Readonly<Record<VectorPathName, RxPathName | TxPathName>> = {
  virtio_recv_pkts_vec: 'virtio_recv_pkts',
  virtio_recv_pkts_packed_vec: 'virtio_recv_pkts_packed',
  virtio_xmit_pkts_packed_vec: 'virtio_xmit_pkts_packed',
};

export interface VectorShape extends Shape {
  readonly path: VectorPathName;
  readonly simd: SimdIsa;
}

/** What a burst array holds where nobody wrote. */
const UNTOUCHED = 0xdeadbeef;

export class Lockstep {
  readonly scalar: GuestFixture;
  readonly vector: GuestFixture;
  /** Works on the scalar queue's memory; `device` copies what it does. */
  private ring: ReferenceRing;
  /** Another lcore's handle on each mempool. */
  private readonly others: readonly Mempool[];
  private hoard: number[] = [];
  private readonly arrays = new Map<number, readonly Uint32Array[]>();
  private calls = 0;

  constructor(readonly shape: VectorShape) {
    this.scalar = new GuestFixture({ ...shape, path: twins[shape.path], simd: undefined }, 0);
    this.vector = new GuestFixture(shape, 1);
    this.ring = this.scalar.device;
    this.others = [this.scalar, this.vector].map(({ pool }) => new Mempool(pool.spec, (shape.lcoreId + 1) % 128));
    this.mirror();
  }

  /** The device at work. Takes what is available first. */
  device<R>(act: (ring: ReferenceRing) => R): R {
    this.ring.takeAll();
    const result = act(this.ring);
    this.mirror();
    return result;
  }

  get split(): ReferenceSplitRing {
    return this.ring as ReferenceSplitRing;
  }

  get packed(): ReferencePackedRing {
    return this.ring as ReferencePackedRing;
  }

  /**
   * Does the same on both sides and returns what it returns on both.
   * @throws Error that says what differs, if anything does
   */
  both(what: string, act: (fixture: GuestFixture, side: 0 | 1) => number): number {
    this.calls++;
    const expected = act(this.scalar, 0);
    const found = act(this.vector, 1);
    const [mustRing, rang] = [drainFd(this.scalar.doorbell), drainFd(this.vector.doorbell)];
    const fail = (why: string): never => {
      throw new Error(`call ${this.calls}, ${what}: ${why}`);
    };
    if (found !== expected) fail(`returned ${found}, expected ${expected}`);
    if (rang !== mustRing) fail(`the doorbell ${rang ? 'rang' : 'did not ring'}`);
    const differs = difference(this.scalar, this.vector);
    if (differs) fail(differs);
    return found;
  }

  /** Calls `burst` on both sides with arrays of the same content and no room behind `n`. @returns what it returned. */
  burst(
    what: string,
    n: number,
    content: ArrayLike<number>,
    call: (side: 0 | 1, pkts: Uint32Array) => number,
  ): { count: number; pkts: Uint32Array } {
    const arrays = this.arraysFor(n);
    for (const array of arrays) array.set(content);
    const count = this.both(what, (_, side) => call(side, arrays[side]!));
    const [expected, found] = arrays.map((array) => array.subarray(0, count));
    const at = expected!.findIndex((m, i) => m !== found![i]);
    if (at >= 0) throw new Error(`${what}: packet ${at} is mbuf ${found![at]}, expected ${expected![at]}`);
    for (const array of arrays) if (!isGuarded(array)) throw new Error(`${what}: wrote outside the burst array`);
    return { count, pkts: expected! };
  }

  /** An array for each side: of its own, inside a larger one, or one that was used before. */
  private arraysFor(n: number): readonly Uint32Array[] {
    const kind = this.calls % 3;
    const known = this.arrays.get(n);
    if (kind === 0 && known !== undefined) return known;
    const arrays = [burstArray(n, kind), burstArray(n, kind)];
    this.arrays.set(n, arrays);
    return arrays;
  }

  /** Takes all mbufs but `leave` out of the pool: `elsewhere`, those of the shared stack, by another lcore. */
  exhaust(leave: number, elsewhere: boolean): void {
    this.replenish();
    this.both('taking mbufs', ({ pool }, side) => {
      const taken: number[] = [];
      const taker = elsewhere ? this.others[side]! : pool;
      for (let m = taker.get(); m !== NIL; m = taker.get()) taken.push(m);
      for (const m of taken.splice(0, leave)) pool.put(m);
      this.hoard = taken;
      return taken.length;
    });
  }

  replenish(): void {
    this.both('giving mbufs back', ({ pool }) => {
      for (const m of this.hoard) pool.put(m);
      return 0;
    });
    this.hoard = [];
  }

  /** Starts both queues over, as after port stop and start: what a broken queue needs. */
  restart(): void {
    this.both('restart', (fixture) => {
      const ring = restart(fixture);
      if (fixture === this.scalar) this.ring = ring;
      return 0;
    });
  }

  /** Both have to be idle, and every mbuf back. */
  finish(): void {
    this.scalar.finish();
    this.vector.finish();
  }

  abandon(): void {
    this.scalar.abandon();
    this.vector.abandon();
  }

  private mirror(): void {
    const end = memoryUsed(this.scalar);
    this.vector.pool.u8.set(this.scalar.pool.u8.subarray(0, end));
  }
}

/** Room for `n` numbers: an array of its own, which V8 keeps in its heap at first if it is small, or inside a larger one. */
function burstArray(n: number, kind: number): Uint32Array {
  if (kind < 2) return new Uint32Array(n);
  return new Uint32Array(n + 32).fill(UNTOUCHED).subarray(13, 13 + n);
}

function isGuarded(array: Uint32Array): boolean {
  const whole = new Uint32Array(array.buffer);
  const from = array.byteOffset / 4;
  return whole.every((word, i) => (i >= from && i < from + array.length) || word === UNTOUCHED);
}
