/**
 * What our driver asks of a device, done by a kernel: packets go out on one port with a checksum to be completed, or to be
 * cut into segments, and come back over a bridge of taps. A port without Rx offloads makes the kernel do the work, and every
 * byte of what it made is compared with what the book says; one with them gets the packet as it was sent.
 */
import fc from 'fast-check';
import type { ExecutionContext } from 'ava';
import { RX_OFFLOAD_VLAN_STRIP, TX_OFFLOAD_VLAN_INSERT } from '../../../../../driver/port/types.js';
import {
  packetFrom,
  readPacket,
  RTE_MBUF_F_RX_L4_CKSUM_NONE,
  RTE_MBUF_F_RX_LRO,
  RTE_MBUF_F_RX_VLAN,
  RTE_MBUF_F_RX_VLAN_STRIPPED,
  RTE_MBUF_F_TX_IPV4,
  RTE_MBUF_F_TX_IPV6,
  RTE_MBUF_F_TX_TCP_CKSUM,
  RTE_MBUF_F_TX_TCP_SEG,
  RTE_MBUF_F_TX_UDP_CKSUM,
  RTE_MBUF_F_TX_VLAN,
} from '../../../../../paths/mbuf.js';
import { ifSimd } from '../../../../support/simd-here.js';
import { startBridge, startPorts, type NetPortRequest, type NetPorts } from './support/net.js';
import { SCATTERED } from './support/net-transfer.js';
import {
  buildPacket,
  offloadableArbitrary,
  plainRecipe,
  type Packet,
  type Recipe,
} from '../../../../support/offload-packets.js';
import {
  checksum,
  emptyHeader,
  GSO_TCPV4,
  GSO_TCPV6,
  put16,
  segment,
  TCP,
  withPseudoSum,
} from '../../../../support/offload-reference.js';
import { soon } from '../../../../support/wire.js';
import { lacks, needs } from '../../../../support/needs.js';
import { whyNoTap } from '../../../../support/tap.js';

const test = needs(lacks('qemu-system-x86_64') || whyNoTap());

interface Bridged extends NetPorts {
  /** Frames of somebody else, such as the bridge's own, are not among them. */
  readonly received: {
    readonly bytes: Uint8Array;
    readonly flags: number;
    readonly size: number;
    readonly tci: number;
  }[];
}

async function startBridged(
  t: ExecutionContext,
  { device = '', receive = {} }: { device?: string; receive?: NetPortRequest | undefined } = {},
): Promise<Bridged> {
  const machine = await startBridge(t, { devices: [device, device] });
  const txOffloads = SCATTERED.txOffloads | TX_OFFLOAD_VLAN_INSERT;
  return { ...(await startPorts(t, machine, [{ txOffloads }, receive])), received: [] };
}

interface Sending {
  /** Bytes of the mbufs that the packet is in. */
  readonly segmentSize?: number;
  /** Bytes of payload in a segment. */
  readonly mss?: number;
  /** To be inserted. */
  readonly tci?: number;
}

/** Asks for the checksum, which is not there, and for segments of `mss` bytes if that is given. */
async function send(net: Bridged, packet: Packet, { segmentSize, mss, tci }: Sending): Promise<void> {
  const { pool, ports } = net;
  const { bytes, l2Len, l3Len, l4Len, protocol, csumOffset } = packet;
  const without = bytes.slice();
  put16(without, l2Len + l3Len + csumOffset, 0xdead);
  const m = packetFrom(pool, without, segmentSize);
  pool.l2Len[m] = l2Len;
  pool.l3Len[m] = l3Len;
  pool.l4Len[m] = l4Len;
  pool.olFlags[m] = packet.recipe.l3 === 'ipv4' ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
  pool.olFlags[m]! |= protocol === TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
  if (mss !== undefined) {
    pool.tsoSegsz[m] = mss;
    pool.olFlags[m]! |= RTE_MBUF_F_TX_TCP_SEG;
  }
  if (tci !== undefined) {
    pool.vlanTci[m] = tci;
    pool.olFlags[m]! |= RTE_MBUF_F_TX_VLAN;
  }
  if (ports[0]!.tx(0).prepare(Uint32Array.of(m), 1) !== 1) throw new Error('not prepared');
  await transmit(net, m);
}

async function transmit({ ports }: Bridged, m: number): Promise<void> {
  const tx = ports[0]!.tx(0);
  const pkts = Uint32Array.of(m);
  await soon(
    'room in the Tx ring',
    () => tx.xmit(pkts, 1),
    (n) => n === 1,
  );
}

/** Takes the next `count` packets between the MAC addresses of `like`. */
async function take({ pool, ports, received }: Bridged, like: Uint8Array, count: number) {
  const pkts = new Uint32Array(64);
  const gather = () => {
    const n = ports[1]!.rx(0).recv(pkts, pkts.length);
    for (const m of pkts.subarray(0, n)) {
      const bytes = readPacket(pool, m);
      if (!bytes.subarray(0, 12).every((byte, i) => byte === like[i])) continue;
      received.push({ bytes, flags: pool.olFlags[m]!, size: pool.tsoSegsz[m]!, tci: pool.vlanTci[m]! });
    }
    pool.freeBulk(pkts, 0, n);
    return received.length;
  };
  await soon(`${count} packets`, gather, (n) => n >= count);
  return received.splice(0);
}

/** A packet with a tag, as it has to be on the wire. */
function tagged(bytes: Uint8Array, tci: number): Uint8Array {
  return Uint8Array.of(...bytes.subarray(0, 12), 0x81, 0, tci >> 8, tci & 0xff, ...bytes.subarray(12));
}

/** Whether a packet is more than one segment. */
function isLong({ bytes, l2Len, l3Len, l4Len }: Packet, mss: number): boolean {
  return bytes.length - l2Len - l3Len - l4Len > mss;
}

/** As a packet leaves its sender: with the pseudo header's sum. */
function unfinished(packet: Packet): Uint8Array {
  return withPseudoSum(packet.bytes, packet, packet.bytes.length - packet.l2Len - packet.l3Len);
}

function piecesOf(packet: Packet, mss: number): Uint8Array[] {
  const { bytes, l2Len, l3Len, recipe, csumOffset } = packet;
  if (!isLong(packet, mss)) return [bytes];
  const gsoType = recipe.l3 === 'ipv4' ? GSO_TCPV4 : GSO_TCPV6;
  return segment(
    unfinished(packet),
    { ...emptyHeader, gsoType, gsoSize: mss, csumStart: l2Len + l3Len, csumOffset },
    l2Len,
  );
}

const MACS = [2, 0, 0, 0, 0, 0xdd, 2, 0, 0, 0, 0, 0xee];

function sample(count: number, longest: number, fixed: Partial<Recipe>): Packet[] {
  // tags are the subject of tests of their own
  const arbitrary = offloadableArbitrary(longest, { tags: [], padding: 0, ...fixed });
  const packets = fc.sample(arbitrary, { seed: 5, numRuns: count });
  for (const { bytes } of packets) bytes.set(MACS); // a bridge carries nothing from a group address
  return packets;
}

test.serial('checksums of TCP and UDP, with IP options and extension headers: the kernel completes them', async (t) => {
  const net = await startBridged(t);
  for (const [i, packet] of sample(300, 1200, {}).entries()) {
    await send(net, packet, { segmentSize: i % 2 === 0 ? 2048 : 700 });
    const [received] = await take(net, packet.bytes, 1);
    t.deepEqual(received!.bytes, packet.bytes, JSON.stringify(packet.recipe));
    t.is(received!.flags, 0);
  }
});

/** Long TCP packets that ask for segments. */
function longPackets(count: number): (readonly [packet: Packet, mss: number])[] {
  const plain = [1, 1000, 1001, 9000, 65_000].map((payload, i) => {
    const packet = buildPacket({ ...plainRecipe, payload, l3: i % 2 === 0 ? 'ipv4' : 'ipv6', tcpFlags: 0x99 });
    packet.bytes.set(MACS);
    return packet;
  });
  const packets = [...plain, ...sample(count, 20_000, { l4: 'tcp' })];
  // a segment with the longest headers fits into an MTU of 1500
  return packets.map((packet, i) => [packet, [1000, 999, 536][i % 3]!] as const);
}

test.serial('a checksum that no flag can tell of, inside of a tunnel: our driver completes it', async (t) => {
  const net = await startBridged(t, { receive: { rxOffloads: SCATTERED.rxOffloads } });
  const { pool } = net;
  for (const [i, inner] of sample(60, 1200, { l3: 'ipv4', ipOptions: 0 }).entries()) {
    // IPv4 in IPv4: the inner packet's own header, once more, in front of it
    const outer = buildPacket({ ...plainRecipe, l4: 'gre', payload: 0 }).bytes.slice(14, 34);
    outer[9] = 4;
    put16(outer, 2, inner.bytes.length - 14 + outer.length);
    put16(outer, 10, 0);
    put16(outer, 10, checksum(outer));
    const wrap = (bytes: Uint8Array) => Uint8Array.of(...bytes.subarray(0, 14), ...outer, ...bytes.subarray(14));
    const m = packetFrom(pool, wrap(unfinished(inner)), i % 2 === 0 ? 2048 : 301);
    pool.l2Len[m] = inner.l2Len;
    pool.l3Len[m] = outer.length + inner.l3Len;
    pool.olFlags[m] = inner.protocol === TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
    await transmit(net, m);
    const [received] = await take(net, inner.bytes, 1);
    t.deepEqual(received, { bytes: wrap(inner.bytes), flags: 0, size: received!.size, tci: 0 });
  }
});

for (const { name, device, receive } of [
  { name: 'split ring', device: '' },
  { name: 'split ring, no indirect descriptors', device: 'indirect_desc=off' },
  { name: 'split ring, legacy device', device: 'disable-legacy=off,disable-modern=on' },
  { name: 'packed ring', device: 'packed=on' },
  { name: 'packed ring, no indirect descriptors', device: 'packed=on,indirect_desc=off' },
  ...ifSimd({ name: 'to vectorized Rx', device: 'mrg_rxbuf=off', receive: { devargs: ',vectorized=1' } }),
]) {
  test.serial(`TCP segments, ${name}: the kernel cuts them, byte for byte as the book says`, async (t) => {
    const net = await startBridged(t, { device, receive });
    for (const [i, [packet, mss]] of longPackets(70).entries()) {
      const expected = piecesOf(packet, mss);
      await send(net, packet, { mss, segmentSize: i % 3 === 0 ? 701 : 2048 });
      const received = await take(net, packet.bytes, expected.length);
      t.deepEqual(
        received.map(({ bytes }) => bytes),
        expected,
        JSON.stringify({ ...packet.recipe, mss }),
      );
    }
  });
}

test.serial('the same to a port that takes long packets: whole, with flags and the size of a segment', async (t) => {
  const net = await startBridged(t, { receive: { rxOffloads: SCATTERED.rxOffloads } });
  for (const [packet, mss] of longPackets(100)) {
    await send(net, packet, { mss });
    const [received] = await take(net, packet.bytes, 1);
    const long = isLong(packet, mss);
    const flags = RTE_MBUF_F_RX_L4_CKSUM_NONE | (long ? RTE_MBUF_F_RX_LRO : 0);
    const expected = { bytes: unfinished(packet), flags, ...(long ? { size: mss } : {}) };
    t.like(received, expected, JSON.stringify({ ...packet.recipe, mss }));
  }
});

for (const tci of [0x6000, 0x2005, 0xffff]) {
  test.serial(`a tag that is inserted (TCI 0x${tci.toString(16)}): outside of what is completed and cut`, async (t) => {
    const net = await startBridged(t);
    for (const packet of sample(40, 1200, {})) {
      await send(net, packet, { tci });
      const [received] = await take(net, packet.bytes, 1);
      t.deepEqual(received!.bytes, tagged(packet.bytes, tci), JSON.stringify(packet.recipe));
    }
    for (const [packet, mss] of longPackets(20)) {
      const expected = piecesOf(packet, mss).map((bytes) => tagged(bytes, tci));
      await send(net, packet, { tci, mss });
      const received = await take(net, packet.bytes, expected.length);
      t.deepEqual(
        received.map(({ bytes }) => bytes),
        expected,
        JSON.stringify({ ...packet.recipe, mss }),
      );
    }
  });
}

for (const strip of [false, true]) {
  const how = strip ? 'taken out' : 'left in';
  test.serial(
    `a tag that is ${how} by a port with offloads: flags and sizes are those of the packet in it`,
    async (t) => {
      const rxOffloads = SCATTERED.rxOffloads | (strip ? RX_OFFLOAD_VLAN_STRIP : 0);
      const net = await startBridged(t, { receive: { rxOffloads } });
      const tci = 0x2005;
      for (const [packet, mss] of longPackets(50)) {
        await send(net, packet, { tci, mss });
        const [received] = await take(net, packet.bytes, 1);
        const long = isLong(packet, mss);
        const bytes = unfinished(packet);
        const expected = {
          bytes: strip ? bytes : tagged(bytes, tci),
          flags:
            RTE_MBUF_F_RX_L4_CKSUM_NONE |
            (long ? RTE_MBUF_F_RX_LRO : 0) |
            (strip ? RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED : 0),
          ...(strip ? { tci } : {}),
          ...(long ? { size: mss } : {}),
        };
        t.like(received, expected, JSON.stringify({ ...packet.recipe, mss }));
      }
    },
  );
}
