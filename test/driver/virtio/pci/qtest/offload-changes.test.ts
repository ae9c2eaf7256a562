/** What changes while kernels talk through our driver: offloads that come and go, a larger MTU, several queues. */
import { TX_OFFLOAD_MULTI_SEGS } from '../../../../../driver/port/types.js';
import { CHECKSUMS, ETHER, MIB, SCATTERED, startTransfer } from './support/net-transfer.js';
import { ip, tcpEcho, udpEcho } from './support/net.js';
import { soon } from '../../../../support/wire.js';
import { lacks, needs } from '../../../../support/needs.js';
import { whyNoTap } from '../../../../support/tap.js';

const test = needs(lacks('qemu-system-x86_64') || whyNoTap());

test.serial('offloads are taken away in the middle of a transfer, and given back: it goes on', async (t) => {
  const net = await startTransfer(t, { port: SCATTERED });
  const { ends, forwarder, mempool, ports } = net;
  const [a, b] = ends;
  const transfer = tcpEcho(t, a, b.ipv4, 8 * MIB);
  for (const offloads of [CHECKSUMS, { rxOffloads: 0, txOffloads: 0 }, SCATTERED]) {
    const before = forwarder.seen[0].packets;
    await soon(
      'packets after the last change',
      () => forwarder.seen[0].packets,
      (packets) => packets > before + 20,
    );
    forwarder.dropPending();
    for (const port of ports) {
      port.stop();
      port.configure({ mempool, ...offloads });
      port.start();
    }
  }
  await transfer;
  // packets that the kernel had made for the offloads before may have come in between, with no checksum, and been dropped
  await forwarder.stop();
  for (const port of ports) port.close();
  t.deepEqual(net.eal.leaks(), []);
});

test.serial('a larger MTU while packets flow: packets of it pass, with offloads and without', async (t) => {
  for (const port of [{ rxOffloads: SCATTERED.rxOffloads & 0x2000, txOffloads: TX_OFFLOAD_MULTI_SEGS }, SCATTERED]) {
    const net = await startTransfer(t, { port });
    const [a, b] = net.ends;
    await udpEcho(t, a, b.ipv4, [0, 1472]);
    for (const each of net.ports) each.setMtu(9000);
    for (const [i, { pid }] of net.ends.entries()) ip(pid, `link set t${i} mtu 9000`);
    await udpEcho(t, a, b.ipv4, [1, 1473, 8972]);
    await tcpEcho(t, a, b.ipv6, MIB);
    for (const { longest, segmentSizes } of await net.finish()) {
      if (port === SCATTERED) t.deepEqual([...segmentSizes], [9000 - 40 - 20 - 12]);
      else t.is(longest, ETHER + 9000);
    }
  }
});

for (const packed of ['off', 'on']) {
  test.serial(`two queues, both with offloads (packed=${packed})`, async (t) => {
    const device = `mq=on,vectors=6,packed=${packed}`;
    const net = await startTransfer(t, { device, queues: 2, port: { ...SCATTERED, rxQueues: 2, rss: false } });
    const [a, b] = net.ends;
    for (const host of [b.ipv4, b.ipv6]) await tcpEcho(t, a, host, MIB / 4, 8);
    for (const { queues, lro } of await net.finish()) {
      t.deepEqual([...queues].sort(), [0, 1]);
      t.true(lro > 0);
    }
  });
}
