/**
 * The race of sleep and kick on our net_vhost port: single packets, timed around the moment when the lcore falls asleep. The
 * guest is DPDK's virtio_user, or ours, which can do EVENT_IDX too.
 */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Port } from '../../driver/port/port.js';
import { eventually, startFrontEnd, temporaryDirectory } from '../support/peers.js';
import { startForwarding } from '../support/traffic.js';
import { AT_ONCE, MISSED, SLEEPS, WAITING } from './support/interrupt-sleeper.js';
import { Ends } from './support/interrupt-wire.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

/** The sleeper falls asleep after so long without packets. */
const IDLE_US = 150;
const PACKETS = 2000;

/** Every gap from none to twice the idle time, in an order that jumps. */
const gapsUs = Array.from({ length: PACKETS }, (_, i) => ((i * 0.618034) % 1) * 2 * IDLE_US);

async function storm(t: ExecutionContext, ends: Ends, near: Port): Promise<void> {
  await eventually('the link', () => near.link.up, Boolean);
  const words = ends.sleep(near, IDLE_US);
  // one by one, a lost kick would keep its packet; in a stream the next one brings it along, or is lost with it
  for (const oneByOne of [true, false]) {
    await eventually('asleep', () => Atomics.load(words, WAITING), Boolean);
    const report = await ends.send({ gapsUs, oneByOne });
    t.like(report, { sent: PACKETS, back: PACKETS, strange: 0 });
  }
  ends.stop(); // its last words
  t.is(words[MISSED], 0);
  t.true(words[SLEEPS]! > PACKETS / 4, 'half of the gaps are longer than it takes to fall asleep');
  t.log(`${words[SLEEPS]} sleeps; ${words[AT_ONCE]} times the look after enabling found a packet`);
}

for (const packed of [0, 1]) {
  test.serial(
    `DPDK's virtio_user, packed_vq=${packed}: packets around the sleep decision all come back, no kick is lost`,
    async (t) => {
      const directory = temporaryDirectory(t);
      const [nearSocket, farSocket] = [join(directory, 'near'), join(directory, 'far')];
      const ends = new Ends(t);
      const near = await ends.listen(nearSocket, { rxInterrupts: true });
      const dpdk = await startFrontEnd(t, {
        vdevs: [`net_virtio_user0,path=${nearSocket},queues=1,packed_vq=${packed}`, `net_vhost0,iface=${farSocket}`],
      });
      await startForwarding(dpdk);
      await ends.connectSender(farSocket, 1);
      await storm(t, ends, near);
    },
  );

  for (const eventIdx of [0, 1]) {
    test.serial(`our virtio_user, packed_vq=${packed}, event_idx=${eventIdx}: the same`, async (t) => {
      const socket = join(temporaryDirectory(t), 's');
      const ends = new Ends(t);
      const near = await ends.listen(socket, { rxInterrupts: true });
      await ends.connectSender(socket, 1, `packed_vq=${packed},event_idx=${eventIdx},`);
      await storm(t, ends, near);
    });
  }
}
