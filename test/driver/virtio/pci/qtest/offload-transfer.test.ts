/**
 * TCP and UDP between two kernels, through our driver in the middle: with offloads as long packets whose checksums nobody
 * computes, without as packets of the MTU that are whole. The contents are compared at the ends, and the kernels find
 * nothing wrong.
 */
import { RX_OFFLOAD_SCATTER, TX_OFFLOAD_VLAN_INSERT } from '../../../../../driver/port/types.js';
import { RTE_MBUF_F_TX_VLAN } from '../../../../../paths/mbuf.js';
import type { Mempool } from '../../../../../paths/mempool.js';
import { CHECKSUMS, ETHER, LARGE, MIB, SCATTERED, startTransfer } from './support/net-transfer.js';
import { tcpEcho, udpEcho } from './support/net.js';
import { lacks, needs } from '../../../../support/needs.js';
import { whyNoTap } from '../../../../support/tap.js';

const test = needs(lacks('qemu-system-x86_64') || whyNoTap());

test.serial('without offloads: TCP and UDP in packets of the MTU, each with its whole checksum', async (t) => {
  const net = await startTransfer(t, { port: {} });
  const [a, b] = net.ends;
  for (const host of [b.ipv4, b.ipv6]) {
    await tcpEcho(t, a, host, 2 * MIB);
    await udpEcho(t, a, host, [0, 1, 2, 63, 1452, 5000]);
  }
  for (const seen of await net.finish()) {
    t.like(seen, { longest: ETHER + 1500, none: 0, good: 0, lro: 0 });
  }
});

test.serial('checksums only: packets of the MTU that the kernels leave without one', async (t) => {
  const net = await startTransfer(t, { port: CHECKSUMS });
  const [a, b] = net.ends;
  for (const host of [b.ipv4, b.ipv6]) {
    await tcpEcho(t, a, host, 2 * MIB);
    await udpEcho(t, a, host, [0, 1, 2, 63, 1452]);
  }
  for (const seen of await net.finish()) {
    t.like(seen, { longest: ETHER + 1500, lro: 0 });
    t.true(seen.none > 2800, `${seen.none} without a checksum`);
  }
});

test.serial('LRO and TSO: IPv4 and IPv6 in packets of up to 64 KiB, with the sizes of their segments', async (t) => {
  const net = await startTransfer(t, { port: SCATTERED });
  const [a, b] = net.ends;
  for (const host of [b.ipv4, b.ipv6]) {
    await tcpEcho(t, a, host, 4 * MIB);
    await udpEcho(t, a, host, [0, 1, 2, 63, 1452, 5000]);
  }
  for (const seen of await net.finish()) {
    t.true(seen.longest > 20_000, `the longest has ${seen.longest} bytes`);
    t.true(seen.segments > 10, `in ${seen.segments} mbufs`);
    t.deepEqual([...seen.lroVersions].sort(), [4, 6]);
    t.true(seen.none > seen.lro);
    // 12 bytes of timestamps behind each TCP header
    t.deepEqual([...seen.segmentSizes].sort(), [1500 - 40 - 20 - 12, 1500 - 20 - 20 - 12]);
  }
});

test.serial('LRO and TSO without mergeable buffers: in mbufs as long as packets get', async (t) => {
  const net = await startTransfer(t, { device: 'mrg_rxbuf=off', port: LARGE, dataRoom: 65_000 });
  const [a, b] = net.ends;
  await tcpEcho(t, a, b.ipv4, 2 * MIB);
  await tcpEcho(t, a, b.ipv6, 2 * MIB);
  for (const seen of await net.finish()) {
    t.true(seen.longest > 20_000, `the longest has ${seen.longest} bytes`);
    t.is(seen.segments, 1);
    t.true(seen.lro > 0);
  }
});

const JUMBO_MTU = 9000;

for (const { name, device, port, dataRoom } of [
  { name: 'in several mbufs', device: '', port: { rxOffloads: RX_OFFLOAD_SCATTER }, dataRoom: 2048 },
  { name: 'in one mbuf', device: 'mrg_rxbuf=off', port: {}, dataRoom: 9216 },
]) {
  test.serial(`jumbo frames ${name}, without offloads`, async (t) => {
    const request = { device, mtu: JUMBO_MTU, dataRoom, port: { ...port, mtu: JUMBO_MTU } };
    const net = await startTransfer(t, request);
    const [a, b] = net.ends;
    for (const host of [b.ipv4, b.ipv6]) {
      await tcpEcho(t, a, host, 2 * MIB);
      await udpEcho(t, a, host, [0, 2000, 8952, 20_000]);
    }
    for (const seen of await net.finish()) {
      t.like(seen, {
        longest: ETHER + JUMBO_MTU,
        segments: Math.ceil((ETHER + JUMBO_MTU) / dataRoom),
        none: 0,
        lro: 0,
      });
    }
  });
}

test.serial('jumbo frames with LRO and TSO: segments of the larger MTU', async (t) => {
  const net = await startTransfer(t, { mtu: JUMBO_MTU, port: { ...SCATTERED, mtu: JUMBO_MTU } });
  const [a, b] = net.ends;
  for (const host of [b.ipv4, b.ipv6]) {
    await tcpEcho(t, a, host, 4 * MIB);
    await udpEcho(t, a, host, [0, 2000, 8952, 20_000]);
  }
  for (const seen of await net.finish()) {
    t.true(seen.longest > 20_000, `the longest has ${seen.longest} bytes`);
    t.deepEqual([...seen.segmentSizes].sort(), [JUMBO_MTU - 40 - 20 - 12, JUMBO_MTU - 20 - 20 - 12]);
  }
});

test.serial(
  'priority tags inserted into all that is sent, with and without offloads: the kernels take them',
  async (t) => {
    for (const port of [{ rxOffloads: 0, txOffloads: 0 }, SCATTERED]) {
      const txOffloads = port.txOffloads | TX_OFFLOAD_VLAN_INSERT;
      const net = await startTransfer(t, { port: { ...port, txOffloads }, adjust: insertPriority });
      const [a, b] = net.ends;
      for (const host of [b.ipv4, b.ipv6]) {
        await tcpEcho(t, a, host, MIB);
        await udpEcho(t, a, host, [0, 1, 2, 63, 1452, 5000]);
      }
      for (const { lro } of await net.finish()) t.is(lro > 0, port === SCATTERED);
    }
  },
);

/** Priority 3 in no VLAN: what a stack without VLANs takes. */
function insertPriority(pool: Mempool, m: number): void {
  pool.vlanTci[m] = 3 << 13;
  pool.olFlags[m]! |= RTE_MBUF_F_TX_VLAN;
}
