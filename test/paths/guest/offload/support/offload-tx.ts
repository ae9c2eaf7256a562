/** Packets that are sent with RTE_MBUF_F_TX_* flags: what the device has to read in the net header, and in the packet. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { TxPath, TxPathName } from '../../../../../paths/guest/queue.js';
import {
  readPacket,
  RTE_MBUF_F_TX_IPV4,
  RTE_MBUF_F_TX_IPV6,
  RTE_MBUF_F_TX_L4_MASK,
  RTE_MBUF_F_TX_TCP_CKSUM,
  RTE_MBUF_F_TX_TCP_SEG,
  RTE_MBUF_F_TX_UDP_CKSUM,
  RTE_MBUF_F_TX_VLAN,
} from '../../../../../paths/mbuf.js';
import type { Mempool } from '../../../../../paths/mempool.js';
import { GuestFixture, shape, type Shape } from '../../../../support/guest-fixture.js';
import { buildPacket, type Packet, type Recipe } from '../../../../support/offload-packets.js';
import { differences, memoryOf, pieces, place, scramble } from '../../../../support/offload-pool.js';
import {
  decodeHeader,
  emptyHeader,
  encodeHeader,
  get16,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  NEEDS_CSUM,
  onesSum,
  pseudoHeader,
  put16,
  TCP,
  UDP,
  type NetHeader,
} from '../../../../support/offload-reference.js';
import { gather, type Buffer } from '../../../../support/reference-ring.js';

/** What was negotiated. */
export interface Terms {
  /** CSUM */
  readonly csum: boolean;
  /** HOST_TSO4 and HOST_TSO6, which need CSUM */
  readonly tso: boolean;
}

/** What an application says of a packet: the mbuf's fields. */
export interface Request {
  readonly flags: number;
  readonly l2Len: number;
  readonly l3Len: number;
  readonly l4Len: number;
  readonly tsoSegsz: number;
  readonly vlanTci: number;
}

export function writeRequest(pool: Mempool, m: number, request: Request): void {
  pool.olFlags[m] = request.flags;
  pool.l2Len[m] = request.l2Len;
  pool.l3Len[m] = request.l3Len;
  pool.l4Len[m] = request.l4Len;
  pool.tsoSegsz[m] = request.tsoSegsz;
  pool.vlanTci[m] = request.vlanTci;
}

const l4Bits = ({ flags }: Request) => flags & RTE_MBUF_F_TX_L4_MASK;
const cuts = ({ flags }: Request) => (flags & RTE_MBUF_F_TX_TCP_SEG) !== 0;
const asks = (request: Request) => cuts(request) || l4Bits(request) !== 0;
const isUdp = (request: Request) => !cuts(request) && l4Bits(request) === RTE_MBUF_F_TX_UDP_CKSUM;

/** The header that a request comes to. */
export function headerFor(request: Request, { csum, tso }: Terms): NetHeader {
  if (!csum || !asks(request)) return emptyHeader;
  const { flags, l2Len, l3Len, l4Len, tsoSegsz } = request;
  const segmented = tso && cuts(request);
  const csumStart = (l2Len + l3Len) % 65536;
  return {
    flags: NEEDS_CSUM,
    gsoType: !segmented ? GSO_NONE : flags & RTE_MBUF_F_TX_IPV6 ? GSO_TCPV6 : GSO_TCPV4,
    hdrLen: segmented ? (l2Len + l3Len + l4Len) % 65536 : 0,
    gsoSize: segmented ? tsoSegsz : 0,
    csumStart,
    csumOffset: isUdp(request) ? 6 : 16,
  };
}

/** What `prepare` makes of a packet: its bytes, and what the mbuf says then; `ready`: whether it can be sent. */
export interface Prepared {
  readonly ready: boolean;
  readonly bytes: Uint8Array;
  readonly request: Request;
}

/** @param first bytes of the first segment; @param headroom free ones in front of it */
export function prepared(bytes: Uint8Array, first: number, headroom: number, request: Request, terms: Terms): Prepared {
  if (request.flags & RTE_MBUF_F_TX_VLAN) {
    if (headroom < 4 || first < 14) return { ready: false, bytes, request };
    const { vlanTci } = request;
    const tag = [0x81, 0, vlanTci >> 8, vlanTci & 0xff];
    bytes = Uint8Array.of(...bytes.subarray(0, 12), ...tag, ...bytes.subarray(12));
    first += 4;
    const l2Len = asks(request) ? (request.l2Len + 4) % 65536 : request.l2Len;
    request = { ...request, l2Len, flags: request.flags & ~RTE_MBUF_F_TX_VLAN };
  }
  if (!asks(request)) return { ready: true, bytes, request };
  if (!sound(bytes, first, request, terms)) return { ready: false, bytes, request };
  const { l2Len, l3Len } = request;
  const version = isIpv6(request) ? 6 : 4; // what the application says
  const sum = onesSum(pseudoHeader(bytes, l2Len, isUdp(request) ? UDP : TCP, l4Length(bytes, request), version));
  bytes = bytes.slice();
  put16(bytes, l2Len + l3Len + (isUdp(request) ? 6 : 16), sum);
  return { ready: true, bytes, request };
}

const isIpv6 = ({ flags }: Request) => (flags & RTE_MBUF_F_TX_IPV6) !== 0;

function l4Length(bytes: Uint8Array, request: Request): number {
  const { l2Len, l3Len } = request;
  return isIpv6(request) ? get16(bytes, l2Len + 4) + 40 - l3Len : get16(bytes, l2Len + 2) - l3Len;
}

/** Whether what a request says can be true, and was negotiated. */
function sound(bytes: Uint8Array, first: number, request: Request, { csum, tso }: Terms): boolean {
  const { flags, l2Len, l3Len, l4Len, tsoSegsz } = request;
  const l4 = l2Len + l3Len;
  if (!csum || (cuts(request) && !tso)) return false;
  if (isIpv6(request) === ((flags & RTE_MBUF_F_TX_IPV4) !== 0)) return false;
  if (!cuts(request) && l4Bits(request) === 2 << 28) return false; // SCTP
  if (l2Len < 14 || l3Len < (isIpv6(request) ? 40 : 20)) return false;
  if (l4 + (isUdp(request) ? 8 : 18) > first) return false;
  if (cuts(request) && (tsoSegsz === 0 || l4Len < 20 || l4 + l4Len > first)) return false;
  const length = l4Length(bytes, request);
  return length >= 0 && l4 + length <= bytes.length;
}

/** What an application that knows the packet says of it. @param tsoSegsz 0: a checksum is all */
export function requestFor(packet: Packet, tsoSegsz = 0, vlanTci: number | undefined = undefined): Request {
  const { recipe, l2Len, l3Len, l4Len, protocol } = packet;
  const version = recipe.l3 === 'ipv4' ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
  const l4 = tsoSegsz ? RTE_MBUF_F_TX_TCP_SEG : protocol === TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
  const vlan = vlanTci === undefined ? 0 : RTE_MBUF_F_TX_VLAN;
  return { flags: version | l4 | vlan, l2Len, l3Len, l4Len, tsoSegsz, vlanTci: vlanTci ?? 0 };
}

// ---- arbitraries ---------------------------------------------------------------------------------------------------

const word = fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 3000 }), fc.constantFrom(65516, 65534, 65535));

/** Any flags with any lengths: what an application does that is out of its mind. */
export const wildRequestArbitrary: fc.Arbitrary<Request> = fc.record({
  flags: fc
    .tuple(
      fc.constantFrom(0, 0, RTE_MBUF_F_TX_VLAN),
      fc.constantFrom(0, RTE_MBUF_F_TX_IPV4, RTE_MBUF_F_TX_IPV6, RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6),
      fc.constantFrom(0, RTE_MBUF_F_TX_TCP_CKSUM, RTE_MBUF_F_TX_UDP_CKSUM, 2 << 28),
      fc.constantFrom(0, 0, RTE_MBUF_F_TX_TCP_SEG),
      fc.constantFrom(0, 0, 0x141, 1 << 16), // what was known when it was received
    )
    .map((bits) => bits.reduce((all, bit) => all | bit)),
  ...{ l2Len: word, l3Len: word, l4Len: word, tsoSegsz: word, vlanTci: fc.nat({ max: 65535 }) },
});

/** The truth with one field of it changed, or not. */
export function nearRequestArbitrary(packet: Packet): fc.Arbitrary<Request> {
  const field = fc.constantFrom('flags', 'l2Len', 'l3Len', 'l4Len', 'tsoSegsz');
  const end = packet.bytes.length;
  const value = fc.oneof(
    word,
    fc.constantFrom(end - 40, end - 34, end - 20, end - 18, end).map((n) => Math.max(0, n)),
  );
  return fc
    .tuple(
      fc.nat({ max: 1500 }),
      fc.option(fc.nat({ max: 65535 }), { nil: undefined }),
      fc.option(fc.tuple(field, value)),
      wildRequestArbitrary,
    )
    .map(([mss, vlanTci, change, wild]) => {
      const truth = requestFor(packet, packet.protocol === TCP ? mss : 0, vlanTci);
      if (change === null) return truth;
      return { ...truth, [change[0]]: change[0] === 'flags' ? wild.flags : change[1] };
    });
}

export const termsArbitrary: fc.Arbitrary<Terms> = fc.constantFrom(
  ...[
    { csum: true, tso: true },
    { csum: true, tso: true },
    { csum: true, tso: false },
    { csum: false, tso: false },
  ],
);

export function txShapeArbitrary(path: TxPathName, more: Partial<Shape> = {}): fc.Arbitrary<Shape> {
  const packed = path.includes('_packed');
  return fc
    .record({
      hdrSize: fc.constantFrom(...(packed ? [12, 20] : [10, 12, 20])),
      inOrder: fc.boolean(),
      indirect: fc.boolean(),
      anyLayout: fc.boolean(),
      headroom: fc.constantFrom(20, 128, 129),
      index: fc.nat({ max: 15 }),
      threshold: fc.constantFrom(1, undefined),
    })
    .map(({ inOrder, anyLayout, index, ...rest }) =>
      shape(path, {
        ...{ size: 16, mbufs: 64, dataRoom: 2048, ...rest },
        inOrder: path.includes('_inorder') || path.endsWith('_vec') || (packed && inOrder),
        anyLayout: rest.hdrSize > 10 || anyLayout,
        start: { index, wrap: packed ? 1 : 0 },
        ...more,
      }),
    );
}

// ---- a queue with offloads -----------------------------------------------------------------------------------------

export function txOffloadFixture(shapeOf: Shape, { csum, tso }: Terms, which = 0): GuestFixture {
  const fixture = new GuestFixture(shapeOf, which);
  Object.assign(fixture.spec, { txOffload: csum, txTso: csum && tso });
  return fixture;
}

/** What the device reads of one packet. */
export interface Seen {
  readonly header: NetHeader;
  readonly packet: Uint8Array;
  /** Where the header lies when it was pushed in front of the data. */
  readonly pushedAt: number | undefined;
}

/** The device takes what is there; it checks what is zero by definition. */
export function look({ device, shape: { hdrSize } }: GuestFixture): Seen[] {
  return device.takeAll().map((buffer: Buffer) => {
    const bytes = gather(device, buffer);
    assert(
      bytes.subarray(10, hdrSize).every((byte) => byte === 0),
      'num_buffers, or what follows it, is not 0',
    );
    const pushedAt = buffer.pieces.length === 1 ? buffer.pieces[0]!.offset : undefined;
    return { header: decodeHeader(bytes), packet: bytes.subarray(hdrSize), pushedAt };
  });
}

/** Uses everything, so that its slots and mbufs are free again. */
export function useAll({ device }: GuestFixture, path: TxPath): void {
  device.use([...device.outstanding].map((buffer) => ({ buffer, length: 0 })));
  path.cleanup();
}

/** A packet to send, however it lies in memory. */
export interface Sending {
  readonly recipe: Recipe;
  readonly request: Request;
  /** Lengths of the first segments. */
  readonly cuts: readonly number[];
  /** Less headroom than a header needs. */
  readonly cramped: boolean;
}

/** Lengths of the first segments; that of the first one is often near where it matters. */
function cutsArbitrary({ l2Len, l3Len, l4Len }: Packet): fc.Arbitrary<readonly number[]> {
  const from = Math.max(14, l2Len + l3Len - 2);
  const first = fc.oneof(fc.integer({ min: 14, max: 1500 }), fc.integer({ min: from, max: from + l4Len + 4 }));
  const rest = fc.array(fc.integer({ min: 14, max: 1500 }), { maxLength: 8 });
  return fc.oneof(
    fc.constant([]),
    fc.tuple(first, rest).map(([size, sizes]) => [size, ...sizes]),
  );
}

export function sendingArbitrary(
  packets: fc.Arbitrary<Packet>,
  requests: (packet: Packet) => fc.Arbitrary<Request>,
): fc.Arbitrary<Sending> {
  return packets.chain((packet) =>
    fc.record({
      recipe: fc.constant(packet.recipe),
      request: requests(packet),
      cuts: cutsArbitrary(packet),
      cramped: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
    }),
  );
}

export function placeSending(
  { pool }: GuestFixture,
  { recipe, request, cuts: sizes, cramped }: Sending,
  seed: number,
): number {
  const m = place(pool, pieces(buildPacket(recipe).bytes, sizes, pool.dataRoom), cramped ? seed % 8 : pool.headroom);
  writeRequest(pool, m, request);
  return m;
}

/**
 * Bursts one after the other through the same ring, without `prepare`: the header of each packet is what its own request
 * comes to, whatever was in its place before, and `xmit` changes nothing but headers.
 */
export function runHeaders(shapeOf: Shape, terms: Terms, bursts: readonly (readonly Sending[])[], seed: number): void {
  const fixture = txOffloadFixture(shapeOf, terms);
  const { pool } = fixture;
  try {
    scramble(pool, seed);
    const path = fixture.openTx();
    for (const burst of bursts) {
      const pkts = Uint32Array.from(burst.map((sending) => placeSending(fixture, sending, seed)));
      const memory = memoryOf(pool);
      const sent = path.xmit(pkts, pkts.length);
      const seen = look(fixture);
      assert.equal(seen.length, sent);
      seen.forEach(({ header, packet, pushedAt }, i) => {
        const expected = headerFor(burst[i]!.request, terms);
        assert.deepEqual(header, expected);
        assert.deepEqual(packet, buildPacket(burst[i]!.recipe).bytes);
        if (pushedAt !== undefined) memory.set(encodeHeader(expected, shapeOf.hdrSize), pushedAt - pool.base);
      });
      assert.deepEqual(differences(pool, memory), [], 'xmit changed more than headers');
      useAll(fixture, path);
      pool.freeBulk(pkts, sent, pkts.length - sent);
      assert.equal(pool.inUse(), 0);
    }
  } catch (error) {
    fixture.abandon();
    throw error;
  }
  fixture.finish();
}

/** One burst through `prepare`: how many, their bytes, their mbufs, and every byte of the mempool that is none of theirs. */
export function runPrepare(shapeOf: Shape, terms: Terms, burst: readonly Sending[], seed: number): void {
  const fixture = txOffloadFixture(shapeOf, terms);
  const { pool } = fixture;
  try {
    scramble(pool, seed);
    const path = fixture.openTx();
    const pkts = Uint32Array.from(burst.map((sending) => placeSending(fixture, sending, seed)));
    const memory = memoryOf(pool);
    const results = burst.map(({ recipe, request }, i) => {
      const m = pkts[i]!;
      return prepared(buildPacket(recipe).bytes, pool.dataLen[m]!, pool.dataOff[m]!, request, terms);
    });
    const refused = results.findIndex(({ ready }) => !ready);
    const expected = refused < 0 ? pkts.length : refused;
    assert.equal(path.prepare(pkts, pkts.length), expected);
    results.slice(0, expected + 1).forEach(({ bytes, request }, i) => {
      const m = pkts[i]!;
      assert.deepEqual(readPacket(pool, m), bytes);
      assert.equal(pool.l2Len[m], request.l2Len);
      assert.equal((pool.olFlags[m]! & ~0x41) >>> 0, (request.flags & ~0x41) >>> 0);
      if (request.flags & RTE_MBUF_F_TX_VLAN) assert.equal(pool.olFlags[m], request.flags >>> 0);
      for (let segment = m, at = 0; segment >= 0; segment = pool.next[segment]!) {
        memory.set(bytes.subarray(at, at + pool.dataLen[segment]!), pool.dataStart(segment) - pool.base);
        at += pool.dataLen[segment]!;
      }
    });
    assert.deepEqual(differences(pool, memory), [], 'prepare changed bytes outside of the packets, or packets behind');
    pool.freeBulk(pkts, 0, pkts.length);
  } catch (error) {
    fixture.abandon();
    throw error;
  }
  fixture.finish();
}
