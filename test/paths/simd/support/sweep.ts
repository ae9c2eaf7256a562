/**
 * Every position: from each start of small rings, in both laps, bursts of 1, 2, 3, ... to the size. As the starts differ
 * by one, each burst begins at each position once.
 */
import type { SimdIsa } from '../../../../native/helper.js';
import { shape } from '../../../support/guest-fixture.js';
import { runRxLockstep, type RxStep } from './rx.js';
import { kinds, type Lie } from './lies.js';
import type { VectorPathName, VectorShape } from './lockstep.js';
import { runTxLockstep, type TxStep } from './tx.js';

const sizesOf = (path: VectorPathName) => (path.includes('_packed') ? [2, 3, 5, 7, 8, 17, 32] : [2, 4, 8, 16, 32]);

/** Rings of `path` with each start. @param nbDesc of the size of the ring. */
function* rings(path: VectorPathName, simd: SimdIsa, nbDesc: (size: number) => number): Generator<VectorShape> {
  const packed = path.includes('_packed');
  for (const size of sizesOf(path)) {
    for (const wrap of packed ? [0, 1] : [0]) {
      for (let index = 0; index < size; index++) {
        // a split index runs on to 65535: let some lives cross that
        const start = { index: packed ? index : 65536 - size + index, wrap };
        const more = { size, start, nbDesc: nbDesc(size), mbufs: 3 * size, dataRoom: 256, cacheSize: 8 };
        yield { ...shape(path, more), path, simd };
      }
    }
  }
}

const rxPacket = { length: 'some', some: 50, group: 0, tagged: false } as const;

function* rxSteps(size: number): Generator<RxStep> {
  const deliver = (count: number): RxStep => {
    return { op: 'deliver', packets: new Array(count).fill(rxPacket), order: 'as offered', seed: 0 };
  };
  const receive = (burst: number): RxStep => ({ op: 'receive', burst, hold: false });
  for (let count = 1; count <= size; count++) {
    yield deliver(count);
    yield receive(64);
    yield receive(4); // what was left to end on a cache line
    yield deliver(size);
    for (let left = size; left > 0; left -= count) yield receive(count);
    yield receive(64);
  }
}

const txPacket = { length: 64, segments: 1, start: 'usual', anywhere: 0, front: 'dirty', group: 0 } as const;

const cramped = { ...txPacket, start: 'cramped' } as const;

const send = (count: number): TxStep => ({ op: 'send', packets: new Array(count).fill(txPacket) });

function* txSteps(size: number): Generator<TxStep> {
  for (let count = 1; count <= size; count++) {
    yield send(count);
    yield { op: 'use', count, grouping: count };
    for (let sent = 0; sent < size; sent += count) yield send(count);
    yield { op: 'use', count: size, grouping: 1 + (count % 5) };
    yield { op: 'cleanup' };
  }
  // a packet of two descriptors among others, completed all at once and noticed while sending
  for (let before = 0; before < size - 5; before++) {
    yield { op: 'send', packets: [...new Array<typeof txPacket>(before).fill(txPacket), cramped, txPacket, txPacket] };
    yield { op: 'use', count: size, grouping: size };
    yield send(size);
    yield { op: 'use', count: size, grouping: size };
    yield { op: 'cleanup' };
  }
}

/** Each lie in each place of a batch. */
function* lies(): Generator<Lie> {
  for (const kind of kinds) {
    for (let at = 0; at < 9; at++) {
      for (let pick = 0; pick < 5; pick++) yield { kind, at, count: 9, pick, garbage: 0 };
    }
  }
}

/** @returns how many lives were lived. */
export function sweep(path: VectorPathName, simd: SimdIsa): number {
  const tx = path === 'virtio_xmit_pkts_packed_vec';
  let lives = 0;
  for (const nbDesc of [(size: number) => size, (size: number) => Math.max(2, size - 3)]) {
    for (const ring of rings(path, simd, nbDesc)) {
      lives++;
      if (tx) runTxLockstep(ring, [...txSteps(ring.nbDesc)]);
      else runRxLockstep(ring, [...rxSteps(ring.nbDesc)]);
    }
  }
  return lives;
}

/** Tells every lie to small rings of which the device has every buffer. @returns how many lies. */
export function sweepLies(path: VectorPathName, simd: SimdIsa): number {
  let told = 0;
  for (const size of path.includes('_packed') ? [9, 16, 19] : [16, 32]) {
    const more = { size, mbufs: 4 * size, dataRoom: 256, cacheSize: 8, freeThresh: size - 1 };
    const ring: VectorShape = { ...shape(path, more), path, simd };
    const packets = new Array<typeof txPacket>(size).fill(txPacket);
    const all = [...lies()];
    told += all.length;
    if (path === 'virtio_xmit_pkts_packed_vec') {
      runTxLockstep(
        ring,
        all.flatMap((lie): TxStep[] => [send(size), { op: 'lie', lie, packets }]),
      );
    } else {
      runRxLockstep(
        ring,
        all.map((lie) => ({ op: 'lie', lie, polls: [64, 4] })),
      );
    }
  }
  return told;
}
