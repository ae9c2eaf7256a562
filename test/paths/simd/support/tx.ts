/** Random lives of a vectorized transmit queue beside its scalar twin: see lockstep.ts. */
import fc from 'fast-check';
import { NIL } from '../../../../paths/mempool.js';
import type { GuestFixture } from '../../../support/guest-fixture.js';
import { groupArbitrary, kickArbitrary, setKick, type Kick } from '../../support/guest-model.js';
import { eventArbitrary, lieArbitrary, setTrap, tell, writeEvent, type Lie } from './lies.js';
import { Lockstep, type VectorShape } from './lockstep.js';

interface Packet {
  readonly length: number;
  readonly segments: number;
  /** Where the packet begins: the pool's headroom, just room for the header, too little, somewhere. */
  readonly start: 'usual' | 'tight' | 'cramped' | 'odd' | 'anywhere';
  readonly anywhere: number;
  /** What lies in front of the packet: zeros, something everywhere, or one byte of the header that is not zero. */
  readonly front: 'clean' | 'dirty' | 'one byte';
  readonly group: number;
}

export type TxStep =
  | { readonly op: 'send'; readonly packets: readonly Packet[] }
  | { readonly op: 'use'; readonly count: number; readonly grouping: number }
  | { readonly op: 'cleanup' }
  | { readonly op: 'flush' }
  | { readonly op: 'reopen' }
  | { readonly op: 'kick'; readonly kick: Kick; readonly distance: number }
  | { readonly op: 'event'; readonly words: readonly [number, number] }
  | { readonly op: 'lie'; readonly lie: Lie; readonly packets: readonly Packet[] };

const simpleArbitrary: fc.Arbitrary<Packet> = fc.record({
  length: fc.oneof(fc.constant(64), fc.constantFrom(1, 13, 63, 65, 127, 128, 1023, 1024, 1518, 1519), fc.nat(2048)),
  segments: fc.constant(1),
  start: fc.constantFrom<Packet['start']>('usual', 'usual', 'usual', 'tight', 'anywhere'),
  anywhere: fc.nat({ max: 120 }).map((half) => 2 * half),
  front: fc.constantFrom<Packet['front']>('clean', 'dirty', 'one byte'),
  group: groupArbitrary,
});

const mixedArbitrary: fc.Arbitrary<Packet> = fc.record({
  length: fc.nat(2048),
  segments: fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 10 })),
  start: fc.constantFrom<Packet['start']>('usual', 'tight', 'cramped', 'odd', 'anywhere'),
  anywhere: fc.nat({ max: 255 }),
  front: fc.constantFrom<Packet['front']>('clean', 'dirty', 'one byte'),
  group: groupArbitrary,
});

/** One segment all the same, but the header takes a descriptor of its own. */
const crampedArbitrary = simpleArbitrary.map((packet): Packet => ({ ...packet, start: 'cramped' }));
const simpleOnes = fc.array(simpleArbitrary, { maxLength: 20 });

/** Mostly bursts that SIMD code sends; some that have to take the scalar code, with packets that had not to. */
const packetsArbitrary: fc.Arbitrary<Packet[]> = fc.oneof(
  { weight: 3, arbitrary: fc.array(simpleArbitrary, { maxLength: 40 }) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(simpleArbitrary, fc.integer({ min: 1, max: 128 }))
      .map(([one, count]) => new Array<Packet>(count).fill(one)),
  },
  { weight: 1, arbitrary: fc.array(mixedArbitrary, { minLength: 1, maxLength: 12 }) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(simpleOnes, fc.oneof(mixedArbitrary, crampedArbitrary), simpleOnes)
      .map(([before, one, after]) => [...before, one, ...after]),
  },
);

const just = <T extends string>(op: T) => fc.record({ op: fc.constant(op) });

export const txStepsArbitrary: fc.Arbitrary<TxStep[]> = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ op: fc.constant('send' as const), packets: packetsArbitrary }) },
    {
      weight: 6,
      arbitrary: fc.record({
        op: fc.constant('use' as const),
        count: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant(300)),
        grouping: fc.constantFrom(1, 2, 3, 4, 5, 8, 32, 300),
      }),
    },
    { weight: 1, arbitrary: fc.oneof(just('cleanup'), just('flush'), just('reopen')) },
    { weight: 1, arbitrary: fc.oneof(kickArbitrary, eventArbitrary) },
    {
      weight: 1,
      arbitrary: fc.record({ op: fc.constant('lie' as const), lie: lieArbitrary, packets: packetsArbitrary }),
    },
  ),
  { minLength: 1, maxLength: 20 },
);

function startOf({ hdrSize, headroom, dataRoom }: VectorShape, { start, anywhere }: Packet): number {
  switch (start) {
    case 'usual':
      return headroom;
    case 'tight':
      return hdrSize;
    case 'cramped':
      return anywhere % hdrSize;
    case 'odd':
      return hdrSize + 1;
    case 'anywhere':
      return Math.min(hdrSize + anywhere, headroom + dataRoom - 1);
  }
}

/** Makes a packet on one side, or NIL when the pool has too few mbufs. Its bytes matter only where somebody looks. */
function make(shape: VectorShape, { pool }: GuestFixture, packet: Packet, number: number): number {
  // a table longer than the ring would be too long a chain (virtio 1.2 section 2.8.8)
  const segments = Math.min(packet.segments, shape.indirect ? shape.size - 1 : shape.nbDesc + 2);
  const first = pool.get();
  if (first === NIL) return NIL;
  const start = startOf(shape, packet);
  const length = Math.min(Math.max(1, packet.length), shape.headroom + shape.dataRoom - start);
  pool.dataOff[first] = start;
  pool.dataLen[first] = length;
  const at = pool.bufOff(first);
  pool.u8.fill(packet.front === 'dirty' ? 0x5a : 0, at, at + start);
  if (packet.front === 'one byte' && start > 0) pool.u8[at + start - 1 - (number % Math.min(start, shape.hdrSize))] = 1;
  if (packet.group === 2) pool.u8.fill(0xff, at + start, at + start + Math.min(6, length));
  else pool.u8[at + start] = packet.group === 1 ? 0x01 : 0x02;
  let last = first;
  for (let k = 1; k < segments; k++) {
    const m = pool.get();
    if (m === NIL) {
      pool.free(first);
      return NIL;
    }
    pool.dataOff[m] = shape.headroom;
    pool.dataLen[m] = 1 + ((number + k) % shape.dataRoom);
    pool.next[last] = m;
    last = m;
  }
  pool.nbSegs[first] = segments;
  pool.pktLen[first] = length;
  return first;
}

export function runTxLockstep(shape: VectorShape, steps: readonly TxStep[]): void {
  const pair = new Lockstep(shape);
  let paths = [pair.scalar.openTx(), pair.vector.openTx()];
  let number = 0;

  const cleanup = () => pair.both('cleanup', (_, side) => paths[side]!.cleanup());

  const send = (packets: readonly Packet[]) => {
    let made: number[] = [];
    pair.both('making packets', (fixture) => {
      made = packets.map((packet, i) => make(shape, fixture, packet, number + i)).filter((m) => m !== NIL);
      return made.length;
    });
    number += packets.length;
    const call = (side: 0 | 1, pkts: Uint32Array) => paths[side]!.xmit(pkts, made.length);
    const { count } = pair.burst(`xmit of ${made.length}`, made.length, made, call);
    pair.both('freeing what was refused', ({ pool }) => {
      for (const m of made.slice(count)) pool.free(m);
      return 0;
    });
  };

  const use = (count: number, grouping: number) => {
    pair.device((ring) => {
      for (let left = Math.min(count, ring.outstanding.length); left > 0;) {
        const batch = ring.outstanding.slice(0, Math.min(grouping, left));
        ring.useBatch(batch);
        left -= batch.length;
      }
    });
    setTrap(pair);
  };

  const step = (next: TxStep) => {
    switch (next.op) {
      case 'send':
        return send(next.packets);
      case 'use':
        return use(next.count, next.grouping);
      case 'cleanup':
        return cleanup();
      case 'flush':
        return pair.both('flush', ({ pool }) => {
          pool.flushCache();
          return 0;
        });
      case 'reopen':
        paths = [pair.scalar.openTx(), pair.vector.openTx()];
        return;
      case 'kick':
        return pair.device((ring) => setKick(pair.scalar, next.kick, next.distance, ring));
      case 'event':
        return writeEvent(pair, next.words);
      case 'lie':
        tell(pair, next.lie);
        send(next.packets);
        cleanup();
        return pair.restart();
    }
  };

  try {
    for (const next of steps) step(next);
    use(Infinity, 3);
    cleanup();
  } catch (error) {
    pair.abandon();
    throw error;
  }
  pair.finish();
}
