/** Forwarding modes on queues that are plain arrays: what they do to the bytes, and that no mbuf is lost. */
import test from 'ava';
import { RTE_MBUF_F_TX_VLAN, packetFrom } from '../../../paths/mbuf.js';
import { TX_OFFLOAD_VLAN_INSERT } from '../../../driver/port/types.js';
import { ipChecksum } from '../../../tools/testpmd/engines/packets.js';
import type { BuiltInMode } from '../../../tools/testpmd/engines/modes.js';
import { engineFixture as setup } from './support/engine-fixture.js';

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

const A = '020000000011';
const B = '020000000022';
const udp = hex(`${A}${B}0800 4500002e000000004011aaaa 0a000001 0a000002 1111 2222 001a0000 ${'00'.repeat(18)}`);

test('io: packets go on unchanged', (t) => {
  const s = setup(t, 'io');
  t.deepEqual(s.run(udp, udp).map(toHex), [toHex(udp), toHex(udp)]);
  t.deepEqual(s.counts(), { rxPackets: 2, txPackets: 2, txDropped: 0 });
});

test('io: what the Tx queue does not take is freed and counted', (t) => {
  const s = setup(t, 'io');
  s.tx.room.push(1);
  s.run(udp, udp, udp);
  t.deepEqual(s.counts(), { rxPackets: 3, txPackets: 1, txDropped: 2 });
  t.is(s.held(), 0);
});

test('retry: the rest is offered again, in order, until retries run out', (t) => {
  const s = setup(t, 'io', { retries: 2 });
  s.tx.room.push(1, 0, 2);
  const numbered = [1, 2, 3, 4].map((n) => Uint8Array.from([n, ...udp.subarray(1)]));
  t.deepEqual(
    s.run(...numbered).map((bytes) => bytes[0]),
    [1, 2, 3],
  );
  t.deepEqual(s.counts(), { rxPackets: 4, txPackets: 3, txDropped: 1 });
  t.is(s.held(), 0);
});

test('mac: own source, the peer as destination, the rest unchanged, also at an odd address', (t) => {
  const s = setup(t, 'mac');
  const [sent] = s.run(udp);
  t.is(toHex(sent!), `020000000001 0200000000aa`.replace(' ', '') + toHex(udp.subarray(12)));
  const odd = packetFrom(s.pool, udp.subarray(0, 14));
  s.pool.dataOff[odd]!++;
  s.rx.queue.push(odd);
  t.is(toHex(s.run()[1]!.subarray(0, 12)), '0200000000010200000000aa');
});

test('macswap: source and destination change places; a runt is left alone', (t) => {
  const s = setup(t, 'macswap');
  const [sent, runt] = s.run(udp, hex('0102030405060708'));
  t.is(toHex(sent!.subarray(0, 14)), `${B}${A}0800`);
  t.is(toHex(runt!), '0102030405060708');
});

test('5tswap: MAC, IPv4 and ports, behind a VLAN tag and IPv4 options too', (t) => {
  const s = setup(t, '5tswap');
  const tagged = hex(
    `${A}${B}8100 0005 0800 4600002e000000004006aaaa 0a000001 0a000002 01010101 1111 2222 ${'00'.repeat(16)}`,
  );
  const [plain, vlan] = s.run(udp, tagged);
  t.is(toHex(plain!.subarray(0, 38)), `${B}${A}08004500002e000000004011aaaa0a0000020a00000122221111`);
  t.is(toHex(vlan!.subarray(0, 46)), `${B}${A}8100000508004600002e000000004006aaaa0a0000020a0000010101010122221111`);
});

test('5tswap: IPv6 addresses; ports of TCP and UDP only; a later fragment has none', (t) => {
  const s = setup(t, '5tswap');
  const source = '20010db8000000000000000000000001';
  const target = '20010db8000000000000000000000002';
  const v6 = (next: string) => hex(`${A}${B}86dd 60000000 0008 ${next} 40 ${source} ${target} 1111 2222 00000000`);
  const fragment = hex(`${A}${B}0800 4500002e000000014011aaaa 0a000001 0a000002 1111 2222 ${'00'.repeat(12)}`);
  const [udp6, icmp6, later, short] = s.run(v6('11'), v6('3a'), fragment, udp.subarray(0, 30));
  t.is(toHex(udp6!.subarray(22, 58)), `${target}${source}22221111`);
  t.is(toHex(icmp6!.subarray(22, 58)), `${target}${source}11112222`);
  t.is(toHex(later!.subarray(26, 38)), '0a0000020a00000111112222');
  t.is(toHex(short!.subarray(0, 30)), `${B}${A}` + toHex(udp.subarray(12, 30)));
});

test('rxonly: packets are counted and freed', (t) => {
  const s = setup(t, 'rxonly');
  t.deepEqual(s.run(udp, udp), []);
  t.deepEqual(s.counts(), { rxPackets: 2, txPackets: 0, txDropped: 0 });
  t.is(s.held(), 0);
});

test('txonly: the packet of dpdk-testpmd, byte for byte', (t) => {
  const s = setup(t, 'txonly', { burst: 2 });
  const packets = s.run();
  t.is(packets.length, 2);
  const expected = `020000000001 0200000000aa 0800 45000032000000004011ee93 c6120001 c6120002 0009 0009 001e 0000 ${'00'.repeat(22)}`;
  for (const packet of packets) t.is(toHex(packet), expected.replaceAll(' ', ''));
});

for (const segments of [[64, 128, 256], [20, 22, 30], [1, 1, 1, 61], [42], [1500]]) {
  test(`txonly: segments of ${segments.join(', ')} bytes make one packet with whole headers`, (t) => {
    const s = setup(t, 'txonly', { burst: 3, plan: { segments } });
    const length = segments.reduce((sum, n) => sum + n, 0);
    for (const packet of s.run()) {
      t.is(packet.length, length);
      t.is(packet[14], 0x45);
      t.is((packet[16]! << 8) | packet[17]!, length - 14);
      t.is(ipChecksum(packet, 14), 0);
      t.is((packet[38]! << 8) | packet[39]!, length - 34);
    }
    t.true(s.tx.sent.every((m) => s.pool.nbSegs[m] === segments.length && s.pool.pktLen[m] === length));
  });
}

test('txonly: an empty mempool sends fewer packets, and loses no mbuf', (t) => {
  const s = setup(t, 'txonly', { burst: 8, count: 11, plan: { segments: [64, 64] } });
  t.is(s.run().length, 5);
  t.is(s.held(), 0);
  t.is(s.pool.available(), 1);
});

test('txonly-multi-flow: sources as dpdk-testpmd counts them, each with a valid checksum', (t) => {
  const s = setup(t, 'txonly', { burst: 4, plan: { multiFlow: true, segments: [80] } });
  const packets = s.run();
  t.deepEqual(
    packets.map((packet) => toHex(packet.subarray(26, 30))),
    ['c6120003', 'c6120103', 'c6120203', 'c6120303'],
  );
  for (const packet of packets) t.is(ipChecksum(packet, 14), 0);
});

test('flowgen: the packets of dpdk-testpmd, flow after flow; what comes in is freed', (t) => {
  const s = setup(t, 'flowgen', { burst: 3, plan: { flows: 2 } });
  const packets = s.run(udp);
  const expected = (checksum: string, last: string) =>
    `000102030401 000102030400 0800 4500002e000000004011${checksum} 0afe0000 0afd00${last} 03e8 03e9 001a 0000 ${'00'.repeat(18)}`.replaceAll(
      ' ',
      '',
    );
  t.deepEqual(packets.map(toHex), [expected('64c5', '00'), expected('64c4', '01'), expected('64c5', '00')]);
  t.deepEqual(s.counts(), { rxPackets: 1, txPackets: 3, txDropped: 0 });
  t.is(s.held(), 0);
});

test('icmpecho: an echo request is answered, with a valid checksum', (t) => {
  const s = setup(t, 'icmpecho');
  const request = hex(`${A}${B}0800 4500001c000000004001aaaa 0a000001 0a000002 0800 f7fe 0000 0001`);
  const [reply] = s.run(request);
  t.is(toHex(reply!), `${B}${A}08004500001c000000004001aaaa0a0000020a000001 0000 fffe 0000 0001`.replaceAll(' ', ''));
});

test('icmpecho: an ARP request is answered with our address', (t) => {
  const s = setup(t, 'icmpecho');
  const request = hex(`ffffffffffff${B}0806 0001 0800 06 04 0001 ${B} 0a000001 000000000000 0a000002`);
  const [reply] = s.run(request);
  const own = '0200000000aa';
  t.is(toHex(reply!), `${B}${own}0806 0001 0800 06 04 0002 ${own} 0a000002 ${B} 0a000001`.replaceAll(' ', ''));
});

test('icmpecho: everything else is dropped, cut short or not, without losing an mbuf', (t) => {
  const s = setup(t, 'icmpecho', { burst: 16 });
  const request = hex(`${A}${B}0800 4500001c000000004001aaaa 0a000001 0a000002 0800 f7fe 0000 0001`);
  const change = (offset: number, value: number) => request.map((byte, i) => (i === offset ? value : byte));
  const others = [
    udp,
    request.subarray(0, 20),
    request.subarray(0, 41),
    change(34, 0),
    change(14, 0x4f),
    change(30, 0xe0),
    change(21, 1),
    hex('00'),
  ];
  t.deepEqual(s.run(...others), []);
  t.is(s.counts().rxPackets, others.length);
  t.is(s.held(), 0);
});

test('verbose: bursts received and sent are described', (t) => {
  const s = setup(t, 'io', { verbose: 3 });
  s.run(udp);
  t.is(s.lines[0], 'port 3/queue 1: received 1 packets');
  t.is(
    s.lines[1],
    '  src=02:00:00:00:00:22 - dst=02:00:00:00:00:11 - pool=mb_pool_0 - type=0x0800 - length=60 - nb_segs=1 - Receive queue=0x1',
  );
  t.is(s.lines[2], '  ol_flags: RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN ');
  t.is(s.lines[3], 'port 3/queue 1: sent 1 packets');
  t.is(s.lines[5], '  ol_flags: RTE_MBUF_F_TX_L4_NO_CKSUM ');
});

const inserts = { offloads: TX_OFFLOAD_VLAN_INSERT, vlan: 5 };

for (const mode of ['mac', 'macswap', '5tswap', 'txonly', 'flowgen'] as const satisfies BuiltInMode[]) {
  test(`tx_vlan set: ${mode} puts the tag behind the addresses`, (t) => {
    const received = mode === 'txonly' ? [] : [udp];
    const plain = setup(t, mode, { burst: 2 }).run(...received);
    const s = setup(t, mode, { burst: 2, tx: inserts });
    const tagged = s.run(...received);
    t.is(tagged.length, plain.length);
    tagged.forEach((bytes, i) => {
      const without = toHex(plain[i]!);
      t.is(toHex(bytes), `${without.slice(0, 24)}81000005${without.slice(24)}`);
    });
    t.true(s.tx.sent.every((m) => (s.pool.olFlags[m]! & RTE_MBUF_F_TX_VLAN) === 0));
    t.is(s.held(), 0);
  });
}

test('tx_vlan set: without the offload, or in io, there is no tag', (t) => {
  for (const [mode, tx] of [
    ['mac', { offloads: 0, vlan: 5 }],
    ['mac', { offloads: TX_OFFLOAD_VLAN_INSERT }],
    ['io', inserts],
  ] as const) {
    t.is(setup(t, mode, { tx }).run(udp)[0]!.length, udp.length);
  }
});

test('tx_vlan set: a packet without room for a tag in front is dropped and counted', (t) => {
  const s = setup(t, 'mac', { tx: inserts });
  const m = packetFrom(s.pool, udp);
  s.pool.dataOff[m] = 3;
  s.rx.queue.push(m);
  t.is(s.run(udp).length, 1);
  t.deepEqual(s.counts(), { rxPackets: 2, txPackets: 1, txDropped: 1 });
  t.is(s.held(), 0);
});
