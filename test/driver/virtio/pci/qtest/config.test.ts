/** What QEMU's device says of itself, and what the control queue tells it: sizes, limits, queues, filters. */
import type { ExecutionContext } from 'ava';
import { RX_OFFLOAD_SCATTER } from '../../../../../driver/port/types.js';
import { featureNames } from '../../../../../driver/wire/virtio-features.js';
import { sleep } from '../../../../support/peers.js';
import {
  awaitFrames,
  BROADCAST,
  frame,
  macOf,
  pingPong,
  receiveFrames,
  sendFrame,
  startMachine,
  startPort,
  stream,
  type QtestPort,
} from '../../../support/qtest.js';
import { startBackend, waitForSocket } from '../../../../support/testpmd-process.js';
import type { Wire } from '../../../../support/wire.js';
import { lacks, needs } from '../../../../support/needs.js';

const test = needs(lacks('qemu-system-x86_64'));

test.serial("the MAC address is the device's", async (t) => {
  for (const device of ['mac=52:54:00:ab:cd:ef', 'mac=52:54:00:ab:cd:ef,disable-modern=on,disable-legacy=off']) {
    const { port } = await startPort(t, await startMachine(t, { devices: [device] }));
    t.is(port.mac, '52:54:00:AB:CD:EF');
    t.is(port.info().mac, '52:54:00:AB:CD:EF');
  }
});

for (const size of [256, 512, 1024]) {
  test.serial(`rings of ${size} descriptors, and a burst of three times as many`, async (t) => {
    const machine = await startMachine(t, { devices: [`rx_queue_size=${size}`, `rx_queue_size=${size},packed=on`] });
    for (const [i, addr] of ['04.0', '05.0'].entries()) {
      const port = await startPort(t, machine, { devargs: `,addr=${addr}` });
      t.is(port.port.rxQueueInfo(0).nbDesc, size);
      await stream(t, port, machine.wires[i]!, 3 * size);
      port.port.close();
      port.eal.close();
    }
  });
}

test.serial('host_mtu is the limit, and what a port without an MTU of its own begins with', async (t) => {
  const devices = ['host_mtu=1500', 'host_mtu=9000', 'host_mtu=1280'];
  const machine = await startMachine(t, { devices });
  for (const [i, mtu] of [1500, 9000, 1280].entries()) {
    const port = await startPort(t, machine, { devargs: `,addr=0${4 + i}.0`, rxOffloads: RX_OFFLOAD_SCATTER });
    t.is(port.port.info().maxMtu, mtu);
    t.is(port.port.info().mtu, mtu);
    t.throws(() => port.port.setMtu(mtu + 1), { code: 'ECONFIG', message: new RegExp(`between 68 and ${mtu}`) });
    await pingPong(t, port, machine.wires[i]!, [64, mtu + 14]);
    port.port.close();
    port.eal.close();
  }
});

test.serial('page-per-vq, ATS and queues that cannot be reset: nothing changes for the packets', async (t) => {
  for (const device of [
    'page-per-vq=on',
    'page-per-vq=on,packed=on',
    'queue_reset=off,ats=on',
    'modern-pio-notify=on',
  ]) {
    const machine = await startMachine(t, { devices: [`disable-legacy=on,${device}`] });
    await stream(t, await startPort(t, machine), machine.wires[0]!, 300);
  }
});

test.serial("speed and duplex are the device's, unless devargs say otherwise", async (t) => {
  const machine = await startMachine(t, { devices: ['speed=25000,duplex=full'] });
  const port = await startPort(t, machine);
  t.is(port.port.link.speed, 25000);
  port.port.close();
  t.is((await startPort(t, machine, { devargs: ',speed=100000' })).port.link.speed, 100000);
});

test.serial('features that a device declines are refused in words', async (t) => {
  const device =
    'ctrl_vq=off,ctrl_rx=off,ctrl_vlan=off,ctrl_mac_addr=off,ctrl_guest_offloads=off,guest_announce=off,mq=off,status=off';
  const machine = await startMachine(t, { devices: [`${device},event_idx=off,indirect_desc=off`] });
  const port = await startPort(t, machine);
  const { acknowledged, refused } = port.port.path().features;
  t.false(featureNames(acknowledged).includes('VIRTIO_NET_F_CTRL_VQ'), featureNames(acknowledged).join(' '));
  t.true(refused.some(({ what }) => what.includes('CTRL_VQ')));
  t.true(port.port.link.up, 'without STATUS the link is always up');
  await stream(t, port, machine.wires[0]!, 300);
});

for (const queues of [2, 4]) {
  for (const packed of ['off', 'on']) {
    const title = `${queues} queue pairs, packed=${packed}: frames come back on the queue that they left by, and vectors suffice`;
    test.serial(title, async (t) => {
      // of QEMU's own netdevs only tap has several queues; a vhost-user back-end has as many as it likes
      const backend = await waitForSocket(startBackend(t, queues));
      const machine = await startMachine(t, {
        devices: [`mq=on,packed=${packed},vectors=${2 * queues + 2}`],
        netdevs: [`vhost-user,chardev=c0,queues=${queues}`],
        args: ['-chardev', `socket,id=c0,path=${backend}`],
      });
      const port = await startPort(t, machine, { rxQueues: queues });
      t.is(port.port.info().maxRxQueues, queues);
      for (let queue = 0; queue < queues; queue++) {
        const frames = Array.from({ length: 100 }, (_, i) => frame(64 + i, queue * 100 + i));
        for (const out of frames) await sendFrame(port, out, queue);
        t.deepEqual(await awaitFrames(port, frames.length, queue), frames, `queue ${queue}`);
      }
      port.port.close();
      t.deepEqual(port.eal.leaks(), []);
    });
  }
}

/** Whether a frame to `destination` arrives: one that surely does is sent after it. */
async function arrives(port: QtestPort, wire: Wire, bytes: Uint8Array): Promise<boolean> {
  receiveFrames(port);
  wire.send(bytes);
  wire.send(frame(64, 9999, BROADCAST));
  const came: Uint8Array[] = [];
  while (!came.some((one) => one.length === 64 && one[0] === 0xff)) {
    came.push(...receiveFrames(port));
    await sleep(2);
  }
  return came.length === 2;
}

const to = (destination: readonly number[]) => frame(80, 1, destination);
const tagged = (vlan: number, destination: readonly number[]) => {
  const bytes = frame(84, 1, destination);
  bytes.set([0x81, 0, vlan >> 8, vlan & 0xff, 0x88, 0xb5], 12);
  return bytes;
};
const OTHER = [0x52, 0x54, 0, 1, 2, 3];
const GROUP = [1, 0, 0x5e, 0, 0, 5];
const otherMac = '52:54:00:01:02:03';

async function filtered(t: ExecutionContext, device: string) {
  const machine = await startMachine(t, { devices: [device] });
  const port = await startPort(t, machine);
  const check = async (bytes: Uint8Array, expected: boolean, what: string) =>
    t.is(await arrives(port, machine.wires[0]!, bytes), expected, what);
  return { port: port.port, check };
}

for (const device of ['', 'packed=on', 'disable-legacy=off,disable-modern=on']) {
  test.serial(
    `promiscuous mode, multicast, MAC addresses and VLANs are filtered as told (${device || 'split'})`,
    async (t) => {
      const { port, check } = await filtered(t, device);
      const mine = macOf(port);
      port.setPromiscuous(true);
      await check(to(OTHER), true, 'promiscuous');
      port.setPromiscuous(false);
      await check(to(OTHER), false, 'not any more');
      await check(to(mine), true, 'to the port itself');
      port.filters.addMacAddress(otherMac);
      await check(to(OTHER), true, 'an address that was added');
      port.filters.removeMacAddress(otherMac);
      await check(to(OTHER), false, 'and removed');

      await check(to(GROUP), false, 'a group that nobody joined');
      port.setAllmulticast(true);
      await check(to(GROUP), true, 'all groups');
      port.setAllmulticast(false);
      port.filters.setMulticastList(['01:00:5E:00:00:05']);
      await check(to(GROUP), true, 'one group');
      port.filters.setMulticastList([]);
      await check(to(GROUP), false, 'and none');

      await check(tagged(7, mine), false, 'a VLAN that was not asked for');
      port.filters.setVlanFiltering(true);
      port.filters.setVlanFilter(7, true);
      await check(tagged(7, mine), true, 'one that was');
      await check(tagged(8, mine), false, 'its neighbour');
      port.filters.setVlanFilter(7, false);
      await check(tagged(7, mine), false, 'and no more');

      port.filters.setDefaultMac(otherMac);
      await check(to(OTHER), true, 'the new address');
      await check(to(mine), false, 'the old one');
    },
  );
}

test.serial('filters are told again after a reset', async (t) => {
  const { port, check } = await filtered(t, '');
  port.setPromiscuous(false);
  port.filters.addMacAddress(otherMac);
  port.filters.setVlanFiltering(true);
  port.filters.setVlanFilter(7, true);
  port.stop();
  port.reset();
  port.start();
  await check(to([0x52, 0x54, 9, 9, 9, 9]), false, 'still not promiscuous');
  await check(to(OTHER), true, 'the address that was added');
  await check(tagged(7, OTHER), true, 'the VLAN');
  await check(tagged(8, OTHER), false, 'its neighbour');
});
