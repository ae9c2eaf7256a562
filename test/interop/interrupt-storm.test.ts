/** The race of sleep and interrupt with DPDK's vhost: single packets, timed around the moment when the lcore falls asleep. */
import { virtqueues } from '../support/virtio-port.js';
import { AT_ONCE, MISSED, SLEEPS, WAITING } from './support/interrupt-sleeper.js';
import { FileScope, startWires } from './support/interrupt-wire.js';
import { eventually } from '../support/peers.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

/** The sleeper falls asleep after so long without packets. */
const IDLE_US = 150;
const PACKETS = 3000;

/** Every gap from none to twice the idle time, in an order that jumps. */
const gapsUs = Array.from({ length: PACKETS }, (_, i) => ((i * 0.618034) % 1) * 2 * IDLE_US);

const scope = new FileScope();
let started: ReturnType<typeof startWires> | undefined;
test.after.always(() => scope.end());

for (const packed of [false, true]) {
  for (const eventIdx of [false, true]) {
    const title = `${packed ? 'packed' : 'split'} ring ${eventIdx ? 'with' : 'without'} EVENT_IDX`;
    test.serial(`${title}: packets around the sleep decision all come back, no interrupt is lost`, async (t) => {
      const { wires, ends } = await (started ??= startWires(scope, 1, 1));
      const devargs = `packed_vq=${Number(packed)},event_idx=${Number(eventIdx)}`;
      const near = await ends.connect(wires.near[0]!, devargs, { rxInterrupts: true });
      t.like(virtqueues(near).rx[0], { packed, eventIdx });
      t.teardown(() => {
        ends.stop();
        near.close();
      });
      await wires.connected();
      const words = ends.sleep(near, IDLE_US);
      // one by one, a lost interrupt would keep its packet; in a stream the next one brings it along, or is lost with it
      for (const oneByOne of [true, false]) {
        await eventually('asleep', () => Atomics.load(words, WAITING), Boolean);
        const report = await ends.send({ gapsUs, oneByOne });
        t.like(report, { sent: PACKETS, back: PACKETS, strange: 0 });
      }
      ends.stop(); // its last words
      t.is(words[MISSED], 0);
      t.true(words[SLEEPS]! > PACKETS / 4, 'half of the gaps are longer than it takes to fall asleep');
      t.log(`${words[SLEEPS]} sleeps; ${words[AT_ONCE]} times the look after enabling found a packet`);
    });
  }
}
