/** Random lives of a transmit queue: see guest-model.ts. */
import fc from 'fast-check';
import type { SimdIsa } from '../../../../../native/helper.js';
import { MAX_TX_INDIRECT, type TxPathName } from '../../../../../paths/guest/queue.js';
import { headroomOf, packetFrom, readPacket } from '../../../../../paths/mbuf.js';
import { NIL } from '../../../../../paths/mempool.js';
import { GuestFixture, packetBytes, sameBytes, type Shape } from '../../../../support/guest-fixture.js';
import {
  checkBase,
  groupArbitrary,
  kickArbitrary,
  Ledger,
  lengthArbitrary,
  require,
  setKick,
  shapeArbitrary,
  shuffled,
  type Kick,
} from '../../../support/guest-model.js';
import { runs } from '../../support/runs.js';
import { gather } from '../../../../support/reference-ring.js';

export type TxOp =
  | { readonly op: 'send'; readonly packets: readonly TxPacket[] }
  | { readonly op: 'use'; readonly count: number; readonly order: number; readonly batch: boolean }
  | { readonly op: 'kick'; readonly kick: Kick; readonly distance: number };

interface TxPacket {
  readonly length: number;
  readonly segments: number;
  /** Less headroom than the header needs. */
  readonly cramped: boolean;
  readonly group: number;
}

const txPacketArbitrary: fc.Arbitrary<TxPacket> = fc.record({
  length: lengthArbitrary,
  segments: fc.oneof(fc.constant(1), fc.constant(1), fc.integer({ min: 2, max: 10 })),
  cramped: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  group: groupArbitrary,
});

export const txOpsArbitrary: fc.Arbitrary<TxOp[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        op: fc.constant('send' as const),
        packets: fc.oneof(
          fc.array(txPacketArbitrary, { minLength: 1, maxLength: 8 }),
          fc.array(txPacketArbitrary, { minLength: 1, maxLength: 64 }),
        ),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        op: fc.constant('use' as const),
        count: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constant(300)),
        order: fc.nat(),
        batch: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: kickArbitrary },
  ),
  { minLength: 1, maxLength: 14 },
);

export function runTx(terms: Shape, ops: readonly TxOp[]): void {
  const fixture = new GuestFixture(terms);
  const { pool, device } = fixture;
  const path = fixture.openTx();
  const ledger = new Ledger();
  const sent: Uint8Array[] = []; // not seen by the device yet
  let number = 0;

  /** Makes a packet, or NIL when the pool has no more. */
  const make = (packet: TxPacket): number => {
    const segments = Math.min(packet.segments, terms.nbDesc - 1);
    const length = Math.min(packet.length, segments * pool.dataRoom);
    // never less than a header in the first segment: counters look at the destination there
    const m = packetFrom(pool, packetBytes(number++, length, packet.group), Math.max(14, Math.ceil(length / segments)));
    if (m === NIL) return NIL;
    const head = pool.bufOff(m);
    pool.u8.fill(0x5a, head, head + pool.dataOff[m]!); // headroom is garbage
    if (packet.cramped && pool.nbSegs[m] === 1) {
      const to = Math.min(terms.hdrSize - 1, headroomOf(pool, m));
      const from = pool.dataStart(m);
      pool.u8.copyWithin(head + to, from, from + pool.dataLen[m]!);
      pool.dataOff[m] = to;
    }
    return m;
  };

  const look = () => {
    for (const buffer of device.takeAll()) {
      const bytes = gather(device, buffer);
      require(sent.length > 0, 'the device sees a packet that was not sent');
      const header = bytes.subarray(0, terms.hdrSize);
      require(header.every((byte) => byte === 0), `header ${header.join()} is not zero`);
      require(sameBytes(bytes.subarray(terms.hdrSize), sent.shift()!), 'a packet changed on its way');
      if (!terms.anyLayout && buffer.pieces.length > 0) {
        require(buffer.pieces[0]!.length === terms.hdrSize, 'a legacy device wants the header by itself');
      }
    }
  };

  const use = (count: number, order: number, batch: boolean) => {
    look();
    const oldest = device.outstanding.slice(0, count);
    if (terms.inOrder && batch) device.useBatch(oldest);
    else if (terms.inOrder) device.use(oldest.map((buffer) => ({ buffer, length: order })));
    else {
      const chosen = shuffled(device.outstanding, order).slice(0, count);
      device.use(chosen.map((buffer) => ({ buffer, length: order }))); // a length means nothing here
    }
  };

  const descriptorsFor = (m: number) => {
    const segments = pool.nbSegs[m]!;
    const off = pool.dataOff[m]! - terms.hdrSize;
    if (segments === 1 && terms.anyLayout && off >= 0 && off % 2 === 0) return 1;
    const mayBeIndirect = terms.indirect && fixture.spec.path !== 'virtio_xmit_pkts_inorder';
    return mayBeIndirect && segments < MAX_TX_INDIRECT ? 1 : segments + 1;
  };

  const send = (packets: readonly TxPacket[]) => {
    const made = packets.map(make).filter((m) => m !== NIL);
    const pkts = Uint32Array.from(made);
    const contents = made.map((m) => readPacket(pool, m));
    const accepted = fixture.watchKicks(() => path.xmit(pkts, pkts.length));
    require(accepted >= 0 && accepted <= made.length, `xmit returned ${accepted} of ${made.length}`);
    for (const bytes of contents.slice(0, accepted)) {
      sent.push(bytes);
      ledger.add(bytes);
    }
    if (accepted < made.length) {
      look(); // so that everything outstanding is known
      const busy = device.outstanding.reduce((sum, buffer) => sum + buffer.descriptors, 0);
      const needed = descriptorsFor(pkts[accepted]!);
      require(needed > terms.nbDesc - busy, `xmit refused a packet of ${needed} while ${busy} are busy`);
    }
    pool.freeBulk(pkts, accepted, made.length - accepted);
    ledger.compare(fixture.state);
  };

  try {
    for (const op of ops) {
      if (op.op === 'send') send(op.packets);
      else if (op.op === 'use') use(op.count, op.order, op.batch);
      else setKick(fixture, op.kick, op.distance);
      require(fixture.broken === 0, `the queue broke: ${fixture.broken}`);
    }
    use(Infinity, 1, false);
    const free = path.cleanup();
    require(free === terms.nbDesc, `${free} descriptors are free of ${terms.nbDesc}`);
    require(pool.inUse() === 0, `${pool.inUse()} mbufs were not freed after everything was sent`);
    checkBase(fixture);
  } catch (error) {
    fixture.abandon();
    throw error;
  }
  fixture.finish();
}

/** Runs random sequences on random rings. @param simd of a vectorized path */
export function checkTx(path: TxPathName, numRuns: number, simd?: SimdIsa): void {
  const shapes = shapeArbitrary(path).map((terms) => ({ ...terms, simd }));
  fc.assert(fc.property(shapes, txOpsArbitrary, runTx), { numRuns: runs(numRuns), includeErrorInReport: true });
}
