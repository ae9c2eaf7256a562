/** Random lives of a vectorized receive queue beside its scalar twin: see lockstep.ts. */
import fc from 'fast-check';
import { eventArbitrary, lieArbitrary, setTrap, tell, writeEvent, type Lie } from './lies.js';
import { Lockstep, type VectorShape } from './lockstep.js';
import { groupArbitrary, kickArbitrary, setKick, shuffled, type Kick } from '../../support/guest-model.js';
import type { Buffer, ReferenceRing, Used } from '../../../support/reference-ring.js';

interface Packet {
  /** Bytes behind the net header: 'some' within the buffer, the others at or beyond a limit. */
  readonly length: 'some' | 'least' | 'most' | 'too few' | 'too many' | 'runt' | 'headless' | 'alias' | 'negative';
  readonly some: number;
  readonly group: number;
  readonly tagged: boolean;
}

export type RxStep =
  | { readonly op: 'deliver'; readonly packets: readonly Packet[]; readonly order: Order; readonly seed: number }
  | { readonly op: 'receive'; readonly burst: number; readonly hold: boolean }
  | { readonly op: 'fill' }
  | { readonly op: 'release' }
  | { readonly op: 'flush' }
  | { readonly op: 'reopen' }
  | { readonly op: 'exhaust'; readonly leave: number; readonly elsewhere: boolean }
  | { readonly op: 'replenish' }
  | { readonly op: 'kick'; readonly kick: Kick; readonly distance: number }
  | { readonly op: 'event'; readonly words: readonly [number, number] }
  | { readonly op: 'lie'; readonly lie: Lie; readonly polls: readonly number[] };

type Order = 'as offered' | 'reversed' | 'one pair swapped' | 'any';

const packet = (length: fc.Arbitrary<Packet['length']>): fc.Arbitrary<Packet> =>
  fc.record({
    length,
    some: fc.oneof(fc.constant(50), fc.constantFrom(49, 51, 113, 114, 1009, 1010, 1504, 1505), fc.nat({ max: 3000 })),
    group: groupArbitrary,
    tagged: fc.boolean(),
  });

const odd = fc.constantFrom<Packet['length']>(
  ...(['least', 'most', 'too few', 'too many', 'runt', 'headless', 'alias', 'negative'] as const),
);
const usual = fc.constant('some' as const);
const packetArbitrary = packet(fc.oneof({ weight: 24, arbitrary: usual }, { weight: 1, arbitrary: odd }));

/** Many alike in a row are what SIMD code is for; all different is what it may get wrong. */
const packetsArbitrary = fc.oneof(
  fc.array(packetArbitrary, { minLength: 1, maxLength: 40 }),
  fc
    .tuple(packet(fc.oneof(usual, odd)), fc.integer({ min: 1, max: 100 }))
    .map(([one, count]) => new Array<Packet>(count).fill(one)),
);

const burstArbitrary = fc.oneof(fc.integer({ min: 1, max: 64 }), fc.constantFrom(0, 4, 8, 32, 64, 100));
const just = <T extends string>(op: T) => fc.record({ op: fc.constant(op) });

export const rxStepsArbitrary: fc.Arbitrary<RxStep[]> = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        op: fc.constant('deliver' as const),
        packets: packetsArbitrary,
        order: fc.constantFrom<Order>('as offered', 'as offered', 'reversed', 'one pair swapped', 'any'),
        seed: fc.nat(),
      }),
    },
    {
      weight: 10,
      arbitrary: fc.record({ op: fc.constant('receive' as const), burst: burstArbitrary, hold: fc.boolean() }),
    },
    { weight: 1, arbitrary: fc.oneof(just('fill'), just('flush'), just('reopen')) },
    { weight: 2, arbitrary: just('release') },
    {
      weight: 1,
      arbitrary: fc.record({
        op: fc.constant('exhaust' as const),
        leave: fc.oneof(fc.constant(0), fc.nat({ max: 40 })),
        elsewhere: fc.boolean(),
      }),
    },
    { weight: 2, arbitrary: just('replenish') },
    { weight: 2, arbitrary: fc.oneof(kickArbitrary, eventArbitrary) },
    {
      weight: 1,
      arbitrary: fc.record({
        op: fc.constant('lie' as const),
        lie: lieArbitrary,
        polls: fc.array(burstArbitrary, { minLength: 1, maxLength: 3 }),
      }),
    },
  ),
  { minLength: 1, maxLength: 20 },
);

function usedLength({ hdrSize, dataRoom }: VectorShape, { length, some }: Packet): number {
  switch (length) {
    case 'some':
      return hdrSize + 14 + (some % (dataRoom - 13));
    case 'least':
      return hdrSize + 14;
    case 'most':
      return hdrSize + dataRoom;
    case 'runt':
      return hdrSize + (some % 14);
    case 'headless':
      return some % hdrSize;
    case 'too few':
      return hdrSize + 13;
    case 'too many':
      return hdrSize + dataRoom + 1;
    case 'alias':
      return 65536 + hdrSize + 14 + some; // small in 16 bits
    case 'negative':
      return [2 ** 31 + hdrSize + 14, 2 ** 31, 2 ** 32 - 1, 2 ** 32 - hdrSize][some % 4]!;
  }
}

function ordered(buffers: readonly Buffer[], order: Order, seed: number): Buffer[] {
  if (order === 'any') return shuffled(buffers, seed);
  const result = [...buffers];
  if (order === 'reversed') result.reverse();
  if (order === 'one pair swapped' && result.length > 1) {
    const at = seed % (result.length - 1);
    [result[at], result[at + 1]] = [result[at + 1]!, result[at]!];
  }
  return result;
}

/** Writes what is looked at of a packet: the header, which nobody may believe, the addresses, the tag. */
function write(ring: ReferenceRing, shape: VectorShape, buffer: Buffer, packet: Packet, number: number): void {
  const at = buffer.pieces[0]!.offset;
  const bytes = new Uint8Array(ring.view.buffer, at, Math.min(buffer.pieces[0]!.length, shape.hdrSize + 18));
  for (let i = 0; i < bytes.length; i++) bytes[i] = number * 29 + i * 3;
  const mac = bytes.subarray(shape.hdrSize, shape.hdrSize + 6);
  if (packet.group === 2) mac.fill(0xff);
  else mac[0] = packet.group === 1 ? 0x01 : 0x02;
  if (packet.tagged) bytes.set([0x81, 0x00, 0x20, number], shape.hdrSize + 12);
}

export function runRxLockstep(shape: VectorShape, steps: readonly RxStep[]): void {
  const pair = new Lockstep(shape);
  let paths = [pair.scalar.openRx(), pair.vector.openRx()];
  let held: number[] = [];
  let number = 0;

  const fill = () => pair.both('fill', (_, side) => paths[side]!.fill());

  const deliver = (packets: readonly Packet[], order: Order, seed: number) => {
    pair.device((ring) => {
      const buffers = shape.inOrder ? [...ring.outstanding] : ordered(ring.outstanding, order, seed);
      const used: Used[] = packets.slice(0, buffers.length).map((packet, i) => {
        const buffer = buffers[i]!;
        write(ring, shape, buffer, packet, number++);
        return { buffer, length: usedLength(shape, packet) };
      });
      ring.use(used);
    });
    setTrap(pair);
  };

  const receive = (burst: number, hold: boolean) => {
    const call = (side: 0 | 1, pkts: Uint32Array) => paths[side]!.recv(pkts, burst);
    const { count, pkts } = pair.burst(`recv of ${burst}`, burst, [], call);
    if (hold) held.push(...pkts);
    else free([...pkts]);
    return count;
  };

  /** Whoever had them has written into the columns. */
  const free = (mbufs: readonly number[]) =>
    pair.both('free', ({ pool }) => {
      for (const m of mbufs) {
        pool.olFlags[m] = pool.pktLen[m] = pool.hash[m] = 0xa5a5a5a5;
        pool.dataOff[m] = pool.dataLen[m] = pool.vlanTci[m] = 0xa5a5;
        pool.free(m);
      }
      return 0;
    });

  const release = () => {
    free(held);
    held = [];
  };

  const step = (next: RxStep) => {
    switch (next.op) {
      case 'deliver':
        return deliver(next.packets, next.order, next.seed);
      case 'receive':
        return receive(next.burst, next.hold);
      case 'fill':
        return fill();
      case 'release':
        return release();
      case 'flush':
        return pair.both('flush', ({ pool }) => {
          pool.flushCache();
          return 0;
        });
      case 'reopen':
        paths = [pair.scalar.openRx(), pair.vector.openRx()];
        return;
      case 'exhaust':
        return pair.exhaust(next.leave, next.elsewhere);
      case 'replenish':
        return pair.replenish();
      case 'kick':
        return pair.device((ring) => setKick(pair.scalar, next.kick, next.distance, ring));
      case 'event':
        return writeEvent(pair, next.words);
      case 'lie':
        tell(pair, next.lie);
        for (const burst of next.polls) receive(burst, false);
        pair.restart();
        return fill();
    }
  };

  try {
    fill();
    for (const next of steps) step(next);
    while (receive(64, false) > 0);
    release();
    pair.replenish();
  } catch (error) {
    pair.abandon();
    throw error;
  }
  pair.finish();
}
