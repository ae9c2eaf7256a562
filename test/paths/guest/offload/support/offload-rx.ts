/** Received packets whose net header says something: what a device writes, what has to come of it, and whether it did. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { RxPath, RxPathName } from '../../../../../paths/guest/queue.js';
import { maxSegments } from '../../../../../paths/guest/burst.js';
import {
  readPacket,
  RTE_MBUF_F_RX_L4_CKSUM_GOOD,
  RTE_MBUF_F_RX_L4_CKSUM_NONE,
  RTE_MBUF_F_RX_LRO,
} from '../../../../../paths/mbuf.js';
import { DROP_OFFLOAD, ERRORS } from '../../../../../paths/stats.js';
import { GuestFixture, sameBytes, shape, type Shape } from '../../../../support/guest-fixture.js';
import { Ledger } from '../../../support/guest-model.js';
import { buildPacket, recipeArbitrary, type Packet, type Recipe } from '../../../../support/offload-packets.js';
import { differences, memoryOf, pieces, scramble } from '../../../../support/offload-pool.js';
import {
  completeChecksum,
  DATA_VALID,
  encodeHeader,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  NEEDS_CSUM,
  type NetHeader,
} from '../../../../support/offload-reference.js';
import { scatter, type Buffer, type Piece, type Used } from '../../../../support/reference-ring.js';

/** What has to come of a packet; undefined: it is dropped. */
export type Verdict = { readonly bytes: Uint8Array; readonly flags: number; readonly segment: number } | undefined;

/**
 * @param known TCP or UDP, not a fragment, its headers whole in the first segment
 * @param usual the header says where such a packet has its checksum
 */
export function verdict(bytes: Uint8Array, header: NetHeader, terms: RxTerms, known: boolean, usual: boolean): Verdict {
  if (!terms.csum) return { bytes, flags: 0, segment: 0 };
  const { csumStart, csumOffset, gsoType, gsoSize } = header;
  let flags = 0;
  if (header.flags & NEEDS_CSUM) {
    if (known && usual) flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
    else if (csumStart < 14 || csumStart + csumOffset + 2 > bytes.length) return undefined;
    else bytes = completeChecksum(bytes, csumStart, csumOffset);
  } else if (header.flags & DATA_VALID && known) {
    flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  }
  if (gsoType === GSO_NONE) return { bytes, flags, segment: 0 };
  if (!terms.lro || gsoSize === 0 || (gsoType !== GSO_TCPV4 && gsoType !== GSO_TCPV6)) return undefined;
  return { bytes, flags: RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE, segment: gsoSize };
}

/** A packet as the device delivers it. */
export interface Delivery {
  readonly recipe: Recipe;
  /** Bytes changed behind the packet's back: where, and into what. It ends at `length`. */
  readonly changes: readonly (readonly [at: number, value: number])[];
  readonly length: number;
  readonly header: NetHeader;
  /** Lengths of its parts when it takes several buffers. */
  readonly cuts: readonly number[];
}

/** The possible verdicts: one, but for a packet that was tampered with, of which nobody knows what it is. */
function verdicts({ recipe, changes, header }: Delivery, terms: RxTerms, bytes: Uint8Array, first: number): Verdict[] {
  const { l2Len, l3Len, l4Len, protocol, csumOffset } = buildPacket(recipe);
  const judge = (known: boolean, usual: boolean) => verdict(bytes, header, terms, known, usual);
  if (changes.length > 0) return [judge(true, true), judge(true, false), judge(false, false)];
  const known = protocol !== 0 && first >= l2Len + l3Len + l4Len;
  return [judge(known, header.csumStart === l2Len + l3Len && header.csumOffset === csumOffset)];
}

// ---- arbitraries ---------------------------------------------------------------------------------------------------

const flagsArbitrary = fc.oneof(fc.constantFrom(0, 1, 1, 1, 2, 2, 3, 4, 5, 0xfe, 0xff), fc.nat({ max: 255 }));
const gsoTypeArbitrary = fc.oneof(
  { weight: 4, arbitrary: fc.constant(GSO_NONE) },
  { weight: 3, arbitrary: fc.constantFrom(GSO_TCPV4, GSO_TCPV6) },
  { weight: 2, arbitrary: fc.constantFrom(2, 3, 5, 0x20, 0x40, 0x80, 0x81, 0x84, 0xff) },
  { weight: 1, arbitrary: fc.nat({ max: 255 }) },
);
const gsoSizeArbitrary = fc.oneof(fc.constantFrom(0, 1, 536, 1448, 65535), fc.nat({ max: 65535 }));
const word = fc.oneof(fc.nat({ max: 3000 }), fc.nat({ max: 65535 }));

/** True things, lies, and what lies just at the end of a packet of `length` bytes. */
function headerArbitrary(packet: Packet, length: number): fc.Arbitrary<NetHeader> {
  const l4 = packet.l2Len + packet.l3Len;
  const headers = l4 + packet.l4Len;
  const inside = (value: number) => Math.max(0, value);
  const near = [0, 13, 14, l4 - 1, l4 + 1, length - 2, length - 1, length, 65535].map(inside);
  const right = fc.constant([l4, packet.csumOffset]);
  const anywhere = fc.tuple(fc.oneof(fc.constantFrom(...near), word), fc.oneof(fc.constantFrom(0, 6, 16, 65535), word));
  const atEnd = fc
    .tuple(fc.nat({ max: length }), fc.integer({ min: -3, max: 1 }))
    .map(([start, behind]) => [start, inside(length + behind - start)]);
  return fc
    .record({
      flags: flagsArbitrary,
      gsoType: gsoTypeArbitrary,
      gsoSize: gsoSizeArbitrary,
      hdrLen: fc.oneof(fc.constantFrom(0, headers, inside(headers - 1), length, 65535), word),
      place: fc.oneof(
        { weight: 2, arbitrary: right },
        { weight: 1, arbitrary: anywhere },
        { weight: 2, arbitrary: atEnd },
      ),
    })
    .map(({ place, ...rest }) => ({ ...rest, csumStart: place[0]!, csumOffset: place[1]! }));
}

const changesArbitrary = fc.oneof(
  { weight: 4, arbitrary: fc.constant([]) },
  {
    weight: 1,
    arbitrary: fc.array(fc.tuple(fc.nat({ max: 120 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }),
  },
);

export function deliveryArbitrary(longest: number): fc.Arbitrary<Delivery> {
  return recipeArbitrary(longest).chain((recipe) => {
    const packet = buildPacket(recipe);
    const whole = packet.bytes.length;
    return fc
      .oneof(
        { weight: 3, arbitrary: fc.constant(whole) },
        { weight: 1, arbitrary: fc.integer({ min: 14, max: whole }) },
      )
      .chain((length) =>
        fc.record({
          recipe: fc.constant(recipe),
          changes: changesArbitrary,
          length: fc.constant(length),
          header: headerArbitrary(packet, length),
          cuts: fc.array(fc.oneof(fc.integer({ min: 1, max: 80 }), fc.integer({ min: 1, max: 2000 })), {
            maxLength: 5,
          }),
        }),
      );
  });
}

/** Queues of a path: header sizes, data rooms, places in the ring. */
export function rxShapeArbitrary(path: RxPathName, more: Partial<Shape> = {}): fc.Arbitrary<Shape> {
  const packed = path.includes('_packed');
  const mergeable = more.mergeable ?? path.includes('_mergeable');
  return fc
    .record({
      hdrSize: fc.constantFrom(...(packed || mergeable ? [12, 20] : [10, 12, 20])),
      dataRoom: fc.constantFrom(...(mergeable ? [256, 2048] : [2560])),
      index: fc.nat({ max: 31 }),
      threshold: fc.constantFrom(1, undefined),
    })
    .map(({ hdrSize, dataRoom, index, threshold }) =>
      shape(path, {
        ...{ size: 32, mbufs: 80, mergeable, hdrSize, dataRoom, threshold },
        start: { index, wrap: packed ? 1 : 0 },
        ...more,
      }),
    );
}

/** What was negotiated. */
export interface RxTerms {
  /** GUEST_CSUM */
  readonly csum: boolean;
  /** GUEST_TSO4 and GUEST_TSO6, which need GUEST_CSUM */
  readonly lro: boolean;
}

export const everything: RxTerms = { csum: true, lro: true };

export const rxTermsArbitrary: fc.Arbitrary<RxTerms> = fc.constantFrom(
  ...[everything, everything, { csum: true, lro: false }, { csum: false, lro: false }],
);

/** A receive queue with offloads. */
export function rxOffloadFixture(shapeOf: Shape, { csum, lro }: RxTerms = everything): GuestFixture {
  const fixture = new GuestFixture(shapeOf);
  Object.assign(fixture.spec, { rxOffload: csum, lro });
  return fixture;
}

// ---- one burst -----------------------------------------------------------------------------------------------------

interface Delivered {
  readonly delivery: Delivery;
  readonly bytes: Uint8Array;
  /** Where its bytes are, the net header left out. */
  readonly places: readonly Piece[];
}

/** Delivers packets and receives them: flags, bytes, counters, mbufs, and every byte of the mempool that is none of theirs. */
export function runRxOffload(shapeOf: Shape, terms: RxTerms, deliveries: readonly Delivery[], seed: number): void {
  const fixture = rxOffloadFixture(shapeOf, terms);
  try {
    checkBurst(fixture, terms, deliveries, seed);
  } catch (error) {
    fixture.abandon();
    throw error;
  }
  fixture.finish();
}

function checkBurst(fixture: GuestFixture, terms: RxTerms, deliveries: readonly Delivery[], seed: number): void {
  const { pool } = fixture;
  scramble(pool, seed);
  const path = fixture.openRx();
  path.fill();
  const delivered = deliver(fixture, deliveries);
  const memory = memoryOf(pool);

  const pkts = new Uint32Array(64);
  const n = receiveAll(path, pkts);

  const ledger = new Ledger();
  let at = 0;
  let drops = 0;
  for (const { delivery, bytes, places } of delivered) {
    const possible = verdicts(delivery, terms, bytes, places[0]!.length);
    const m = at < n ? pkts[at]! : -1;
    const found = m < 0 ? undefined : outcomeOf(fixture, m);
    const match = possible.find((each) => each !== undefined && found !== undefined && same(each, found));
    if (match !== undefined) {
      ledger.add(match.bytes);
      at++;
    } else {
      if (!possible.includes(undefined)) assert.deepEqual(found, possible[0]);
      drops++;
    }
    patch(memory, pool.base, places, match?.bytes ?? current(pool.u8, places));
  }
  assert.equal(at, n, 'packets received that were not expected');
  assert.deepEqual(
    differences(pool, memory),
    [],
    'bytes outside of the packets, or of a packet that should be as it was, changed',
  );
  assert.equal(fixture.broken, 0);
  assert.equal(fixture.stat(ERRORS), drops);
  assert.equal(fixture.stat(DROP_OFFLOAD), drops);
  ledger.compare(fixture.state);
  assert.equal(
    pool.inUse(),
    fixture.shape.nbDesc + segmentsOf(fixture, pkts.subarray(0, n)),
    'what was dropped is not back',
  );
  pool.freeBulk(pkts, 0, n);
}

/** Writes the packets into the driver's buffers, one after the other, and shows them all. */
function deliver(fixture: GuestFixture, deliveries: readonly Delivery[]): Delivered[] {
  const { device, shape: terms, spec } = fixture;
  const { dataRoom } = terms;
  const buffers = [...device.takeAll()];
  const used: Used[] = [];
  const delivered: Delivered[] = [];
  for (const delivery of deliveries) {
    const bytes = buildPacket(delivery.recipe).bytes.slice(0, delivery.length);
    for (const [at, value] of delivery.changes) if (at < bytes.length) bytes[at] = value;
    const cuts = [Math.max(14, delivery.cuts[0] ?? dataRoom), ...delivery.cuts.slice(1)];
    const parts = terms.mergeable ? pieces(bytes, cuts, dataRoom) : [bytes];
    if (parts.length > Math.min(buffers.length, maxSegments(spec, dataRoom))) continue;
    const written = writeParts(fixture, buffers, parts, delivery.header);
    used.push(...written.used);
    delivered.push({ delivery, bytes, places: written.places });
  }
  device.use(used);
  return delivered;
}

/** Writes a packet into as many of `buffers`, from the first on, as it has parts. */
function writeParts(
  { device, shape: { hdrSize } }: GuestFixture,
  buffers: Buffer[],
  parts: readonly Uint8Array[],
  header: NetHeader,
): { used: Used[]; places: Piece[] } {
  const used: Used[] = [];
  const places = parts.map((part, i) => {
    const head = i === 0 ? encodeHeader(header, hdrSize) : new Uint8Array(0);
    if (i === 0 && hdrSize > 10) head[10] = parts.length;
    const buffer = buffers.shift()!;
    const bytes = new Uint8Array(head.length + part.length);
    bytes.set(head);
    bytes.set(part, head.length);
    used.push({ buffer, length: scatter(device, buffer, bytes) });
    return { offset: buffer.pieces[0]!.offset + head.length, length: part.length };
  });
  return { used, places };
}

/** Everything that there is: a burst of nothing but dropped packets is empty too. @returns how many */
function receiveAll(path: RxPath, pkts: Uint32Array): number {
  let n = 0;
  for (let idle = 0; idle < 4;) {
    const got = path.recv(pkts.subarray(n), pkts.length - n);
    idle = got === 0 ? idle + 1 : 0;
    n += got;
  }
  return n;
}

/** Delivers one packet in full buffers and receives it. @returns its mbuf; undefined when it was dropped */
export function deliverOne(
  fixture: GuestFixture,
  path: RxPath,
  bytes: Uint8Array,
  header: NetHeader,
): number | undefined {
  const { device, shape: terms } = fixture;
  const { dataRoom, hdrSize } = terms;
  device.takeAll();
  // all but the first buffer have the header's room for data, too
  const rest = bytes.subarray(dataRoom);
  const parts = [bytes.subarray(0, dataRoom), ...(rest.length > 0 ? pieces(rest, [], dataRoom + hdrSize) : [])];
  device.use(writeParts(fixture, [...device.outstanding], parts, header).used);
  const pkts = new Uint32Array(2);
  const n = receiveAll(path, pkts);
  assert(n <= 1);
  return n === 1 ? pkts[0] : undefined;
}

function outcomeOf({ pool }: GuestFixture, m: number): NonNullable<Verdict> {
  const flags = pool.olFlags[m]!;
  return { bytes: readPacket(pool, m), flags, segment: flags & RTE_MBUF_F_RX_LRO ? pool.tsoSegsz[m]! : 0 };
}

const same = (a: NonNullable<Verdict>, b: NonNullable<Verdict>) =>
  a.flags === b.flags && a.segment === b.segment && sameBytes(a.bytes, b.bytes);

function segmentsOf({ pool }: GuestFixture, pkts: Uint32Array): number {
  return pkts.reduce((sum, m) => sum + pool.nbSegs[m]!, 0);
}

function current(u8: Uint8Array, places: readonly Piece[]): Uint8Array {
  const bytes = new Uint8Array(places.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const { offset, length } of places) {
    bytes.set(u8.subarray(offset, offset + length), at);
    at += length;
  }
  return bytes;
}

function patch(memory: Uint8Array, base: number, places: readonly Piece[], bytes: Uint8Array): void {
  let at = 0;
  for (const { offset, length } of places) {
    memory.set(bytes.subarray(at, at + length), offset - base);
    at += length;
  }
}
