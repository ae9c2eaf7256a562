/** Packets between a port and the kernel of the namespace: the tap is real, only vhost-net is a mock (vhost-net-pump.ts). */
import { virtioPort, virtqueues } from '../../../../support/virtio-port.js';
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEal } from '../../../../../driver/eal/eal.js';
import { parseVirtioUser } from '../../../../../driver/devargs/devargs.js';
import type { Port } from '../../../../../driver/port/port.js';
import { macBytes } from '../../../../../driver/wire/mac.js';
import { RX_OFFLOAD_UDP_CKSUM, TX_OFFLOAD_UDP_CKSUM, type PortConfig } from '../../../../../driver/port/types.js';
import { openVhostKernel } from '../../../../../driver/virtio/user/vhost-kernel/vhost-kernel.js';
import {
  packetFrom,
  readPacket,
  RTE_MBUF_F_RX_L4_CKSUM_MASK,
  RTE_MBUF_F_RX_L4_CKSUM_NONE,
  RTE_MBUF_F_TX_IPV4,
  RTE_MBUF_F_TX_UDP_CKSUM,
} from '../../../../../paths/mbuf.js';
import { FakeKernel } from './mock-vhost-net.js';
import { configure, exists, ip, send } from './tap-tools.js';
import { isRight, udpPacket } from '../../../../support/udp.js';
import { VhostPump } from './vhost-net-pump.js';

const KERNEL_MAC = '02:00:00:00:00:01';
const KERNEL_IP = 0x0a08_0001;
const OURS = '02:00:00:00:00:02';
const PATIENCE_MS = 10_000;
const isUdp = (packet: Uint8Array) => packet[12] === 8 && packet[13] === 0 && packet[23] === 17;

interface Packet {
  readonly bytes: Uint8Array;
  readonly flags: number;
  readonly segments: number;
  readonly queue: number;
}

/** A started port whose tap is up, with an address, and at its end 10.8.0.2, which the kernel need not ask for. */
async function withPort(
  args: string,
  config: Omit<PortConfig, 'mempool'>,
  run: (bench: ReturnType<typeof tools>) => Promise<void> | void,
): Promise<void> {
  const eal = createEal({ noHuge: true, memoryMiB: 64, log: () => undefined, pinMain: false });
  const mempool = eal.createMempool({ count: 4096 });
  const kernel = new FakeKernel({ real: true });
  const text = `net_virtio_user0,path=/dev/vhost-net,iface=exc,up=1,mac=${KERNEL_MAC}${args}`;
  const devargs = parseVirtioUser(text);
  const { path, iface, up, queues, queueSize, cq } = devargs;
  const log = () => undefined;
  const mac = macBytes(devargs.mac!);
  const transport = openVhostKernel(eal, { path, iface, up, queues, queueSize, cq, mac, log }, kernel);
  const port = virtioPort({ eal, id: 0, devargs: text, args: devargs, transport, log });
  try {
    port.configure({ ...config, mempool });
    configure('exc', { 2: OURS });
    port.start();
    await run(tools(port, new VhostPump(kernel, mempool.mapping), eal.mempool(mempool)));
    port.stop();
  } finally {
    port.close();
    assert.deepEqual(eal.leaks(), []);
    eal.close();
  }
  assert.ok(!exists('exc'));
}

function tools(port: Port, pump: VhostPump, pool: ReturnType<ReturnType<typeof createEal>['mempool']>) {
  const burst = new Uint32Array(64);
  /** The next `count` UDP packets, and what comes within a moment after them. */
  const receive = async (count: number): Promise<Packet[]> => {
    const found: Packet[] = [];
    const deadline = Date.now() + PATIENCE_MS;
    for (let idle = 0; idle < 5 || (found.length < count && Date.now() < deadline); idle++) {
      if (pump.run().received > 0) idle = 0;
      virtqueues(port).rx.forEach((_, queue) => {
        const n = port.rx(queue).recv(burst, burst.length);
        for (const m of burst.subarray(0, n)) {
          const bytes = readPacket(pool, m);
          if (isUdp(bytes)) found.push({ bytes, flags: pool.olFlags[m]!, segments: pool.nbSegs[m]!, queue });
          pool.free(m);
        }
      });
      await sleep(5);
    }
    assert.equal(found.length, count);
    return found;
  };
  const transmit = (bytes: Uint8Array, flags = 0) => {
    burst[0] = packetFrom(pool, bytes);
    const m = burst[0]!;
    pool.olFlags[m] = flags;
    pool.l2Len[m] = 14;
    pool.l3Len[m] = 20;
    const tx = port.tx(0);
    assert.equal(tx.prepare(burst, 1), 1);
    assert.equal(tx.xmit(burst, 1), 1);
    assert.ok(pump.run().sent >= 1);
  };
  return { port, receive, transmit };
}

/** Runs `act`: a UDP socket of the kernel's end gets `payloads`, and the kernel counts `wrong` checksums. */
async function kernelGets(payloads: readonly string[], wrong: number, act: () => void): Promise<void> {
  const counted = () => {
    const [names, values] = readFileSync('/proc/self/net/snmp', 'utf8').match(/^Udp: .*$/gm)!;
    return Number(values!.split(' ')[names!.split(' ').indexOf('InCsumErrors')]);
  };
  const socket = createSocket('udp4');
  const got: string[] = [];
  socket.on('message', (message) => got.push(message.toString()));
  await new Promise<void>((resolve) => socket.bind(9, '10.8.0.1', resolve));
  const before = counted();
  act();
  const deadline = Date.now() + PATIENCE_MS;
  while ((got.length < payloads.length || counted() - before < wrong) && Date.now() < deadline) await sleep(5);
  await new Promise<void>((resolve) => socket.close(resolve));
  assert.deepEqual(got, payloads);
  assert.equal(counted() - before, wrong);
}

const datagram = (payload: string) =>
  udpPacket({
    source: { mac: 2, ip: 0x0a08_0002, port: 7 },
    destination: { mac: 1, ip: KERNEL_IP, port: 9 },
    payload: new TextEncoder().encode(payload),
  });

/** As a stack leaves it that has the device do the rest: not even the sum of the pseudo-header, which prepare writes. */
function unfinished(packet: Uint8Array): Uint8Array {
  packet.fill(0, 40, 42);
  packet[40] = 0x12;
  return packet;
}

export const packetScenarios: Readonly<Record<string, () => Promise<void>>> = {
  'packets from the kernel: whole without offloads, unfinished and flagged with them': async () => {
    await withPort('', {}, async ({ receive }) => {
      await send([2]);
      const [packet] = await receive(1);
      assert.ok(isRight(packet!.bytes));
      assert.equal(packet!.flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, 0);
    });
    await withPort('', { rxOffloads: RX_OFFLOAD_UDP_CKSUM }, async ({ receive }) => {
      await send([2]);
      const [packet] = await receive(1);
      assert.equal(packet!.flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_NONE);
      assert.ok(!isRight(packet!.bytes));
    });
  },
  'packets to the kernel: it finishes the checksum when it is asked to, and counts those that are wrong': async () => {
    await withPort('', { txOffloads: TX_OFFLOAD_UDP_CKSUM }, async ({ transmit }) => {
      await kernelGets(['as it is'], 0, () => transmit(datagram('as it is')));
      const flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM;
      await kernelGets(['finished'], 0, () => transmit(unfinished(datagram('finished')), flags));
      await kernelGets([], 1, () => transmit(unfinished(datagram('wrong'))));
    });
  },
  'a jumbo frame of the kernel comes in several mbufs': async () => {
    await withPort(',queue_size=512', {}, async ({ receive }) => {
      ip('link set exc mtu 9000');
      await send([2], 1, 8000);
      const [packet] = await receive(1);
      assert.equal(packet!.bytes.length, 14 + 20 + 8 + 8000);
      assert.equal(packet!.segments, 4);
      assert.ok(isRight(packet!.bytes));
    });
  },
  'two pairs: packets come to both queues, and with one in use to that one': async () => {
    await withPort(',queues=2', { rxQueues: 2, txQueues: 2 }, async ({ receive }) => {
      await send([2], 32);
      const packets = await receive(32);
      assert.deepEqual([...new Set(packets.map(({ queue }) => queue))].sort(), [0, 1]);
    });
    await withPort(',queues=2', { rxQueues: 1, txQueues: 1 }, async ({ receive }) => {
      await send([2], 32);
      await receive(32);
    });
  },
  'a port that is not promiscuous gets what is for it': async () => {
    await withPort(',cq=1', {}, async ({ port, receive }) => {
      await send([2]); // a tap lets everything through until somebody asks
      await receive(1);
      port.setPromiscuous(false);
      await send([2]);
      await receive(0);
      port.setPromiscuous(true);
      await send([2]);
      await receive(1);
    });
  },
  'many packets each way, over the end of the rings again and again': async () => {
    await withPort(',queue_size=32', {}, async ({ receive, transmit }) => {
      const payloads = Array.from({ length: 100 }, (_, i) => String(i));
      await kernelGets(payloads, 0, () => payloads.forEach((payload) => transmit(datagram(payload))));
      for (let round = 0; round < 10; round++) {
        await send([2], 20);
        await receive(20);
      }
    });
  },
};
