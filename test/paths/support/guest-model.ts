/**
 * Sequences of what an application and a device can do to one queue, and a model of what must come of them: packets
 * whole and in order, counters exact, mbufs conserved, the doorbell rung when it has to be.
 */
import fc from 'fast-check';
import { ringBase, type QueueState, type RxPathName, type TxPathName } from '../../../paths/guest/queue.js';
import { BROADCAST, BYTES, MULTICAST, PACKETS, SIZE_BINS } from '../../../paths/stats.js';
import { shape, type GuestFixture, type Shape } from '../../support/guest-fixture.js';
import type { KickMode } from '../../support/reference-ring.js';

export const require = (holds: boolean, what: string) => {
  if (!holds) throw new Error(what);
};

/** What the counters have to say about the packets so far; bins by comparison, not by arithmetic. */
export class Ledger {
  packets = 0;
  bytes = 0;
  multicast = 0;
  broadcast = 0;
  readonly bins = new Array<number>(8).fill(0);

  add(bytes: Uint8Array): void {
    const { length } = bytes;
    this.packets++;
    this.bytes += length;
    if (bytes[0]! & 1) {
      if (bytes.subarray(0, 6).every((byte) => byte === 0xff)) this.broadcast++;
      else this.multicast++;
    }
    const limits = [63, 64, 127, 255, 511, 1023, 1518, Infinity];
    this.bins[limits.findIndex((limit) => length <= limit)]!++;
  }

  compare({ stats }: QueueState): void {
    const found = [stats[PACKETS], stats[BYTES], stats[MULTICAST], stats[BROADCAST]].join();
    const expected = [this.packets, this.bytes, this.multicast, this.broadcast].join();
    require(found === expected, `packets, bytes, multicast, broadcast: ${found}, expected ${expected}`);
    const bins = stats.slice(SIZE_BINS, SIZE_BINS + 8).join();
    require(bins === this.bins.join(), `size bins: ${bins}, expected ${this.bins.join()}`);
  }
}

/** A permutation of `items` that `seed` determines. */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  const result = [...items];
  let state = seed | 1;
  for (let i = result.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const j = (state >>> 8) % (i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

export type Kick = 'always' | 'never' | 'ahead';

/** 'ahead': the device asks for the doorbell a few descriptors from now. */
export function setKick(fixture: GuestFixture, kick: Kick, distance: number, device = fixture.device): void {
  const { words } = fixture.state;
  const [index, wrap] = [words[1]!, words[5]!]; // AVAIL_IDX, AVAIL_WRAP
  let mode: KickMode = kick === 'ahead' ? 'always' : kick;
  if (kick === 'ahead' && fixture.shape.eventIdx) {
    const at = index + distance;
    if (!fixture.spec.packed) mode = { at: at & 0xffff, wrap: 0 };
    else mode = { at: at % fixture.spec.size, wrap: at < fixture.spec.size ? wrap : wrap ^ 1 };
  }
  device.setKickMode(mode);
}

export const kickArbitrary = fc.record({
  op: fc.constant('kick' as const),
  kick: fc.constantFrom<Kick>('always', 'never', 'ahead'),
  distance: fc.integer({ min: 0, max: 5 }),
});

export const lengthArbitrary = fc.oneof(
  fc.constantFrom(64, 65, 127, 128, 1023, 1024, 1518, 1519, 9728),
  fc.integer({ min: 14, max: 200 }),
  fc.integer({ min: 64, max: 9728 }),
);
export const groupArbitrary = fc.constantFrom(0, 0, 1, 2);

const splitSizes = [2, 4, 8, 32, 256];
const packedSizes = [2, 3, 7, 16, 255, 256];

/** Every legal combination of terms for a path. */
export function shapeArbitrary(path: RxPathName | TxPathName): fc.Arbitrary<Shape> {
  const packed = path.includes('_packed');
  const mergeablePath = path.includes('_mergeable');
  return fc
    .record({
      size: fc.constantFrom(...(packed ? packedSizes : splitSizes)),
      hdr: fc.constantFrom(...(packed || mergeablePath ? [12, 20] : [10, 12, 20])),
      mergeable: fc.boolean(),
      inOrder: fc.boolean(),
      indirect: fc.boolean(),
      eventIdx: fc.boolean(),
      anyLayout: fc.boolean(),
      reserve: fc.nat({ max: 255 }),
      freeThresh: fc.integer({ min: 1, max: 40 }),
      index: fc.nat({ max: 65535 }),
      nearWrap: fc.boolean(),
      wrap: fc.constantFrom(0, 1),
      dataRoom: fc.constantFrom(256, 2048),
      headroom: fc.constantFrom(20, 128, 129),
      threshold: fc.constantFrom(1, undefined),
    })
    .map((pick) => {
      const { size } = pick;
      const tx = path.startsWith('virtio_xmit');
      const inOrder = path.includes('_inorder') || (tx && path.endsWith('_vec')) || (packed && pick.inOrder);
      const mergeable = mergeablePath || (path.endsWith('pkts_inorder') && !tx && pick.mergeable && pick.hdr > 10);
      const index = packed ? pick.index % size : pick.nearWrap ? 65535 - (pick.index % 4) : pick.index;
      return shape(path, {
        size,
        hdrSize: pick.hdr,
        mergeable,
        inOrder,
        indirect: pick.indirect,
        eventIdx: pick.eventIdx,
        anyLayout: pick.hdr > 10 || pick.anyLayout,
        nbDesc: Math.max(2, size - (pick.reserve % size)),
        freeThresh: Math.min(pick.freeThresh, size - 1),
        start: { index, wrap: packed ? pick.wrap : 0 },
        mbufs: tx ? 700 : size + 200,
        dataRoom: tx || mergeable ? pick.dataRoom : 9728,
        headroom: tx ? pick.headroom : 128,
        threshold: pick.threshold,
      });
    });
}

/** After everything was used and noticed: where a new device would go on is where this one stopped. */
export function checkBase(fixture: GuestFixture): void {
  const { spec } = fixture;
  const base = spec.packed
    ? (fixture.packed.usedAt | (fixture.packed.usedWrap << 15)) * 0x10001
    : fixture.split.usedIdx;
  require(ringBase(spec) === base, `ring base ${ringBase(spec)}, the device is at ${base}`);
}
