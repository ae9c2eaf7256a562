/** The csum mode on mock packets: every checksum is right in the end, whoever makes it; a slow reference says so. */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import {
  packetFrom,
  readPacket,
  RTE_MBUF_F_RX_L4_CKSUM_BAD,
  RTE_MBUF_F_RX_L4_CKSUM_GOOD,
  RTE_MBUF_F_RX_L4_CKSUM_NONE,
  RTE_MBUF_F_RX_LRO,
  RTE_MBUF_F_RX_VLAN,
  RTE_MBUF_F_TX_IPV4,
  RTE_MBUF_F_TX_IPV6,
  RTE_MBUF_F_TX_L4_MASK,
  RTE_MBUF_F_TX_TCP_CKSUM,
  RTE_MBUF_F_TX_TCP_SEG,
  RTE_MBUF_F_TX_UDP_CKSUM,
} from '../../../paths/mbuf.js';
import type { Mempool } from '../../../paths/mempool.js';
import { TX_OFFLOAD_TCP_CKSUM, TX_OFFLOAD_TCP_TSO, TX_OFFLOAD_UDP_CKSUM } from '../../../driver/port/types.js';
import { requestFor, segmentSize } from '../../../tools/testpmd/engines/csum-request.js';
import { plainTx, type TxSettings } from '../../../tools/testpmd/engines/tx-settings.js';
import { engineFixture, OWN, PEER } from './support/engine-fixture.js';
import { buildPacket, noiseBytes, plainRecipe, recipeArbitrary, type Packet } from '../../support/offload-packets.js';
import { completeChecksum, get16, onesSum, pseudoHeader, put16, TCP, UDP } from '../../support/offload-reference.js';

const CHECKSUMS = TX_OFFLOAD_TCP_CKSUM | TX_OFFLOAD_UDP_CKSUM;
const ALL = CHECKSUMS | TX_OFFLOAD_TCP_TSO;

const addressed = (bytes: Uint8Array) => Uint8Array.from([...PEER, ...OWN, ...bytes.subarray(12)]);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const length = ({ bytes, recipe, l2Len, l3Len }: Packet) => bytes.length - recipe.padding - l2Len - l3Len;

/** A copy whose checksums are wrong; UDP's is not 0, which means something else. */
function spoil({ bytes, recipe, l2Len, l3Len, protocol, csumOffset }: Packet, seed: number): Uint8Array {
  const copy = bytes.slice();
  if (recipe.l3 === 'ipv4') put16(copy, l2Len + 10, seed);
  if (protocol !== 0) put16(copy, l2Len + l3Len + csumOffset, (seed * 7 + 1) & 0xffff || 1);
  return copy;
}

/** The sent packet as the device passes it on, where only its checksum was left to do. */
function afterDevice(pool: Mempool, m: number): Uint8Array {
  const bytes = readPacket(pool, m);
  const offload = pool.olFlags[m]! & RTE_MBUF_F_TX_L4_MASK;
  if (offload === 0) return bytes;
  return completeChecksum(bytes, pool.l2Len[m]! + pool.l3Len[m]!, offload === RTE_MBUF_F_TX_UDP_CKSUM ? 6 : 16);
}

/** Fails unless all checksums of `bytes` are right and everything else is as in `packet`. */
function checkPacket(t: ExecutionContext, packet: Packet, bytes: Uint8Array, what: string): void {
  const expected = addressed(packet.bytes);
  const { recipe, l2Len, l3Len } = packet;
  if (recipe.l3 === 'ipv4') {
    t.is(onesSum(bytes.subarray(l2Len, l2Len + l3Len)), 0xffff, `${what}: IPv4 checksum`);
    put16(expected, l2Len + 10, get16(bytes, l2Len + 10)); // 0 and 0xffff are the same
  }
  t.is(hex(bytes), hex(expected), what);
}

test('checksums of all kinds of packets, in software and by the device, in segments or not', (t) => {
  const soft = engineFixture(t, 'csum', { count: 512 });
  const hard = engineFixture(t, 'csum', { count: 512, tx: { offloads: CHECKSUMS } });
  const packets = recipeArbitrary(3000).map(buildPacket);
  const flags = fc.constantFrom(0, RTE_MBUF_F_RX_L4_CKSUM_NONE, RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_VLAN);
  fc.assert(
    fc.property(packets, fc.nat({ max: 0xffff }), fc.nat({ max: 300 }), flags, (packet, seed, more, received) => {
      const headers = packet.l2Len + packet.l3Len + packet.l4Len;
      for (const [what, { pool, rx, tx, runOnce, reset, held }] of [
        ['software', soft],
        ['device', hard],
      ] as const) {
        const m = packetFrom(pool, spoil(packet, seed), Math.max(64, headers + more));
        pool.olFlags[m] = received;
        rx.queue.push(m);
        runOnce();
        t.is(tx.sent.length, 1);
        const sent = tx.sent[0]!;
        const asked = pool.olFlags[sent]!;
        checkPacket(t, packet, afterDevice(pool, sent), `${what}: ${JSON.stringify(packet.recipe)}`);
        const offloaded = what === 'device' && packet.protocol !== 0 && packet.recipe.padding === 0;
        const l3 = packet.recipe.l3 === 'ipv4' ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
        const l4 = packet.protocol === TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
        t.is(asked, offloaded ? l3 | l4 : 0);
        if (offloaded) t.is(pool.l2Len[sent]! + pool.l3Len[sent]!, packet.l2Len + packet.l3Len);
        reset();
        t.is(held(), 0);
      }
    }),
    { numRuns: 300 },
  );
});

for (const l4 of ['tcp', 'udp'] as const) {
  for (const l3 of ['ipv4', 'ipv6'] as const) {
    test(`${l3}, ${l4}: cut off at every byte, with bytes of another packet behind, nothing beyond is touched`, (t) => {
      const options = { tags: [0x8100], ipOptions: 1, extensions: [['destination', 1]] as const, tcpOptions: 2 };
      const packet = buildPacket({ ...plainRecipe, ...options, l3, l4, payload: 20 });
      for (const tx of [{}, { offloads: ALL, tsoSegsz: 8 }]) {
        const { pool, rx, tx: queue, runOnce, reset, held, counts } = engineFixture(t, 'csum', { tx });
        for (let size = 0; size < packet.bytes.length; size++) {
          const m = packetFrom(pool, spoil(packet, size));
          pool.dataLen[m] = size;
          pool.pktLen[m] = size;
          const at = pool.dataStart(m);
          const behind = hex(pool.u8.slice(at + size, at + packet.bytes.length + 64));
          rx.queue.push(m);
          runOnce();
          t.is(queue.sent.length, 1, `${size} bytes`);
          t.is(pool.dataLen[m], size);
          t.is(pool.olFlags[m], 0);
          t.is(hex(pool.u8.slice(at + size, at + packet.bytes.length + 64)), behind, `${size} bytes`);
          const l4At = packet.l2Len + packet.l3Len;
          // the IP header speaks of more than there is: its own checksum is all that is made
          if (size > l4At) t.is(hex(readPacket(pool, m).subarray(l4At)), hex(spoil(packet, size).subarray(l4At, size)));
          reset();
        }
        t.is(held(), 0);
        t.is(counts().txDropped, 0);
      }
    });
  }
}

test('headers that go on in the second segment: the packet is sent on as it is', (t) => {
  const { pool, rx, tx, runOnce } = engineFixture(t, 'csum', { tx: { offloads: ALL, tsoSegsz: 8 } });
  const packet = buildPacket({ ...plainRecipe, l3: 'ipv6' });
  const bytes = spoil(packet, 1);
  rx.queue.push(packetFrom(pool, bytes, 60));
  runOnce();
  t.is(hex(readPacket(pool, tx.sent[0]!)), hex(addressed(bytes)));
});

test('padding that is not zeros does not count, at an even and at an odd place', (t) => {
  for (const payload of [10, 11]) {
    for (const padding of [1, 2, 7, 30]) {
      const packet = buildPacket({ ...plainRecipe, l4: 'udp', payload, padding });
      packet.bytes.set(noiseBytes(5, padding), packet.bytes.length - padding);
      const { pool, rx, tx, runOnce } = engineFixture(t, 'csum', { tx: { offloads: CHECKSUMS } });
      rx.queue.push(packetFrom(pool, spoil(packet, 3), 51));
      runOnce();
      t.is(pool.olFlags[tx.sent[0]!], 0, 'a device would sum up the padding');
      checkPacket(t, packet, readPacket(pool, tx.sent[0]!), `${payload} ${padding}`);
    }
  }
});

test('a UDP checksum of 0 stays 0, by whatever means; one that comes out as 0 is 0xffff', (t) => {
  const packet = buildPacket({ ...plainRecipe, l4: 'udp', payload: 2 });
  const field = packet.l2Len + packet.l3Len + 6;
  for (const offloads of [0, CHECKSUMS]) {
    const none = packet.bytes.slice();
    put16(none, field, 0);
    const s = engineFixture(t, 'csum', { tx: { offloads } });
    s.run(none);
    t.is(get16(readPacket(s.pool, s.tx.sent[0]!), field), 0);
    t.is(s.pool.olFlags[s.tx.sent[0]!], 0);
  }
  const zero = packet.bytes.slice();
  put16(zero, field, 0);
  const end = packet.l2Len + packet.l3Len + length(packet);
  put16(zero, end - 2, 0);
  const sum = onesSum([
    ...pseudoHeader(zero, packet.l2Len, UDP, length(packet)),
    ...zero.subarray(packet.l2Len + packet.l3Len, end),
  ]);
  put16(zero, end - 2, 0xffff - sum); // now the sum is 0xffff, and its complement 0
  put16(zero, field, 1);
  const [sent] = engineFixture(t, 'csum').run(zero);
  t.is(get16(sent!, field), 0xffff);
});

const tcp = (payload: number, l3: 'ipv4' | 'ipv6' = 'ipv4') => buildPacket({ ...plainRecipe, l3, payload });

test('tso set: packets with more payload are to be cut, others are not', (t) => {
  for (const l3 of ['ipv4', 'ipv6'] as const) {
    for (const [payload, cut] of [
      [500, false],
      [501, true],
      [4000, true],
    ] as const) {
      const s = engineFixture(t, 'csum', { tx: { offloads: ALL, tsoSegsz: 500 } });
      const packet = tcp(payload, l3);
      s.run(spoil(packet, 9));
      const m = s.tx.sent[0]!;
      const { pool } = s;
      t.is((pool.olFlags[m]! & RTE_MBUF_F_TX_TCP_SEG) !== 0, cut, `${l3} ${payload}`);
      t.is(pool.tsoSegsz[m], cut ? 500 : 0);
      const lengths = [pool.l2Len[m], pool.l3Len[m], pool.l4Len[m]];
      t.deepEqual(lengths, [packet.l2Len, packet.l3Len, packet.l4Len]);
      checkPacket(
        t,
        packet,
        completeChecksum(readPacket(pool, m), packet.l2Len + packet.l3Len, 16),
        `${l3} ${payload}`,
      );
    }
  }
});

test('LRO: a packet received as several segments is cut as it was, where the port can', (t) => {
  const settings = (change: Partial<TxSettings>): TxSettings => ({ ...plainTx, ...change });
  const can = settings({ offloads: ALL });
  t.is(segmentSize(can, 1448, 4000), 1448);
  t.is(segmentSize(can, 1448, 1448), 0);
  t.is(segmentSize(can, 0, 4000), 0);
  t.is(segmentSize(settings({ offloads: ALL, tsoSegsz: 700 }), 1448, 4000), 700);
  t.is(segmentSize(settings({ offloads: CHECKSUMS, tsoSegsz: 700 }), 1448, 4000), 0);
  t.is(requestFor(can, UDP, 0), RTE_MBUF_F_TX_UDP_CKSUM);
  t.is(requestFor(settings({ offloads: TX_OFFLOAD_TCP_CKSUM }), UDP, 0), 0);
  t.is(requestFor(settings({ offloads: TX_OFFLOAD_TCP_TSO }), TCP, 0), 0);
  t.is(
    requestFor(settings({ offloads: TX_OFFLOAD_TCP_TSO }), TCP, 700),
    RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM,
  );

  const { pool, rx, tx, runOnce } = engineFixture(t, 'csum', { tx: { offloads: ALL } });
  const m = packetFrom(pool, tcp(4000).bytes);
  pool.olFlags[m] = RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;
  pool.tsoSegsz[m] = 1448;
  rx.queue.push(m);
  runOnce();
  t.is(pool.olFlags[tx.sent[0]!]! & RTE_MBUF_F_TX_TCP_SEG, RTE_MBUF_F_TX_TCP_SEG);
  t.is(pool.tsoSegsz[tx.sent[0]!], 1448);
  t.is(pool.olFlags[tx.sent[0]!]! & RTE_MBUF_F_RX_LRO, 0);
});

test('mac-swap off: addresses stay; packets whose checksum is bad are counted for their stream', (t) => {
  const { pool, rx, tx, runOnce, badL4 } = engineFixture(t, 'csum', { tx: { macSwap: false } });
  for (const flags of [RTE_MBUF_F_RX_L4_CKSUM_BAD, RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_NONE, 0]) {
    const m = packetFrom(pool, tcp(10).bytes);
    pool.olFlags[m] = flags;
    rx.queue.push(m);
  }
  runOnce();
  for (const m of tx.sent) t.is(hex(readPacket(pool, m)), hex(tcp(10).bytes));
  t.deepEqual([...badL4], [0, 1]);
});

test('what the Tx port cannot prepare is dropped, and the rest is sent', (t) => {
  const s = engineFixture(t, 'csum', { tx: { offloads: ALL, tsoSegsz: 300 } });
  const packets = [tcp(10), tcp(1000), tcp(20)];
  t.is(s.run(...packets.map(({ bytes }) => bytes)).length, 3);
  s.reset();
  s.tx.prepare = (pkts, n) => {
    const refused = pkts.subarray(0, n).findIndex((m) => (s.pool.olFlags[m]! & RTE_MBUF_F_TX_TCP_SEG) !== 0);
    return refused < 0 ? n : refused;
  };
  t.is(s.run(...packets.map(({ bytes }) => bytes)).length, 2);
  t.deepEqual(s.counts(), { rxPackets: 6, txPackets: 5, txDropped: 1 });
  t.is(s.held(), 0);
});
