/** Random lives of a receive queue: see guest-model.ts. */
import fc from 'fast-check';
import type { SimdIsa } from '../../../../../native/helper.js';
import type { RxPathName } from '../../../../../paths/guest/queue.js';
import { readPacket } from '../../../../../paths/mbuf.js';
import { NIL } from '../../../../../paths/mempool.js';
import { ERRORS, NOMBUF } from '../../../../../paths/stats.js';
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
import { capacity, scatter, type Buffer, type Used } from '../../../../support/reference-ring.js';

export type RxOp =
  | { readonly op: 'deliver'; readonly packets: readonly RxPacket[]; readonly order: number }
  | { readonly op: 'receive'; readonly burst: number; readonly hold: boolean }
  | { readonly op: 'release' }
  | { readonly op: 'exhaust'; readonly on: boolean }
  | { readonly op: 'kick'; readonly kick: Kick; readonly distance: number };

interface RxPacket {
  readonly length: number;
  readonly group: number;
  /** Shorter than an Ethernet header: to be dropped and counted. */
  readonly runt: boolean;
}

export const rxOpsArbitrary: fc.Arbitrary<RxOp[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        op: fc.constant('deliver' as const),
        packets: fc.array(
          fc.record({
            length: lengthArbitrary,
            group: groupArbitrary,
            runt: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
          }),
          { minLength: 1, maxLength: 40 },
        ),
        order: fc.nat(),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        op: fc.constant('receive' as const),
        burst: fc.integer({ min: 1, max: 64 }),
        hold: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('release' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('exhaust' as const), on: fc.boolean() }) },
    { weight: 1, arbitrary: kickArbitrary },
  ),
  { minLength: 1, maxLength: 20 },
);

export function runRx(terms: Shape, ops: readonly RxOp[]): void {
  const fixture = new GuestFixture(terms);
  const { pool, device } = fixture;
  const path = fixture.openRx();
  const ledger = new Ledger();
  const expected: Uint8Array[] = []; // delivered, not received yet
  const held: number[] = [];
  const hoard: number[] = []; // what `exhaust` took
  const pkts = new Uint32Array(64);
  let number = 0;
  let runts = 0;

  const deliver = (packets: readonly RxPacket[], order: number) => {
    device.takeAll();
    const pick: Buffer[] = terms.inOrder ? [...device.outstanding] : shuffled(device.outstanding, order);
    const used: Used[] = [];
    for (const packet of packets) {
      const room = pick[0] === undefined ? 0 : capacity(pick[0]) - terms.hdrSize;
      const most = terms.mergeable ? 9728 : room;
      const payload = packetBytes(
        number++,
        packet.runt ? packet.length % 14 : Math.min(packet.length, most),
        packet.group,
      );
      const bytes = new Uint8Array(terms.hdrSize + payload.length);
      bytes.set(payload, terms.hdrSize);
      const parts = deliverOne(pick, bytes);
      if (parts === undefined) break; // no buffers: a device drops it
      used.push(...parts);
      if (packet.runt) runts++;
      else {
        expected.push(payload);
        ledger.add(payload);
      }
    }
    device.use(used);
  };

  /** Takes the buffers for one packet from `pick` and writes them. */
  const deliverOne = (pick: Buffer[], bytes: Uint8Array): Used[] | undefined => {
    let count = 0;
    for (let room = 0; room < bytes.length; count++) {
      if (pick[count] === undefined) return undefined;
      room += capacity(pick[count]!);
    }
    if (!terms.mergeable && count > 1) return undefined;
    if (terms.hdrSize > 10) bytes[10] = count;
    return pick.splice(0, count).map((buffer) => {
      const length = scatter(device, buffer, bytes);
      bytes = bytes.subarray(length);
      return { buffer, length };
    });
  };

  const receive = (burst: number, hold: boolean) => {
    const n = fixture.watchKicks(() => path.recv(pkts, burst));
    require(n <= burst, `recv returned ${n} of ${burst}`);
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      let total = 0;
      let segments = 0;
      for (let segment = m; segment !== NIL; segment = pool.next[segment]!) {
        total += pool.dataLen[segment]!;
        segments++;
      }
      require(total === pool.pktLen[m], `pktLen ${pool.pktLen[m]} of a packet of ${total}`);
      require(segments === pool.nbSegs[m], `nbSegs ${pool.nbSegs[m]} of a packet of ${segments}`);
      require(expected.length > 0, 'a packet that was not delivered');
      require(sameBytes(readPacket(pool, m), expected.shift()!), 'a packet changed on its way');
      if (hold) held.push(m);
      else pool.free(m);
    }
    return n;
  };

  const release = () => {
    for (const m of held.splice(0)) pool.free(m);
  };
  const exhaust = (on: boolean) => {
    if (on) for (let m = pool.get(); m !== NIL; m = pool.get()) hoard.push(m);
    else for (const m of hoard.splice(0)) pool.put(m);
  };

  try {
    path.fill();
    require(fixture.stat(NOMBUF) === 0, 'the pool had enough');
    for (const op of ops) {
      if (op.op === 'deliver') deliver(op.packets, op.order);
      else if (op.op === 'receive') receive(op.burst, op.hold);
      else if (op.op === 'release') release();
      else if (op.op === 'exhaust') exhaust(op.on);
      else setKick(fixture, op.kick, op.distance);
      require(fixture.broken === 0, `the queue broke: ${fixture.broken}`);
    }
    release();
    exhaust(false);
    for (let idle = 0; idle < 2;) idle = receive(64, false) === 0 ? idle + 1 : 0;
    require(expected.length === 0, `${expected.length} packets were not received`);
    require(fixture.stat(ERRORS) === runts, `${fixture.stat(ERRORS)} errors, ${runts} runts`);
    ledger.compare(fixture.state);
    checkBase(fixture);
    device.takeAll();
    require(device.outstanding.length === terms.nbDesc, `${device.outstanding.length} buffers of ${terms.nbDesc}`);
  } catch (error) {
    fixture.abandon();
    throw error;
  }
  fixture.finish();
}

/** Runs random sequences on random rings. @param simd of a vectorized path */
export function checkRx(path: RxPathName, numRuns: number, simd?: SimdIsa): void {
  const shapes = shapeArbitrary(path).map((terms) => ({ ...terms, simd }));
  fc.assert(fc.property(shapes, rxOpsArbitrary, runRx), { numRuns: runs(numRuns), includeErrorInReport: true });
}
