/**
 * Our testpmd as the back-end (net_vhost) of DPDK's virtio_user: every recipe that DPDK can run, several queues, ring sizes,
 * server mode, ends and restarts of either side.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import {
  eventually,
  portStats,
  startFrontEnd,
  startOurs,
  temporaryDirectory,
  type OurOptions,
  type Peer,
} from '../support/peers.js';
import { flow, loopPackets, setForwarding, startForwarding, stopForwarding } from '../support/traffic.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

/** Devargs, and the path that DPDK says it takes. */
const recipes: readonly (readonly [devargs: string, path: RegExp])[] = [
  ['mrg_rxbuf=1,in_order=0', /using mergeable buffer Rx path/],
  ['mrg_rxbuf=0,in_order=0', /using standard Rx path/],
  ['mrg_rxbuf=1,in_order=1', /using inorder Rx path/],
  ['mrg_rxbuf=0,in_order=1', /using inorder Rx path/],
  ['mrg_rxbuf=0,in_order=0,vectorized=1', /using vectorized Rx path/],
  ['packed_vq=1,mrg_rxbuf=1,in_order=0', /using packed ring mergeable buffer Rx path/],
  ['packed_vq=1,mrg_rxbuf=0,in_order=0', /using packed ring standard Rx path/],
  ['packed_vq=1,mrg_rxbuf=1,in_order=1', /using packed ring mergeable buffer Rx path/],
  ['packed_vq=1,mrg_rxbuf=0,in_order=1', /using packed ring standard Rx path/],
  // without AVX-512 DPDK falls back to the scalar path
  ['packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1', /using packed ring (vectorized|standard) Rx path/],
];

const debug = ['--log-level=pmd.net.virtio.*:info'];

/** Our testpmd on a net_vhost port, with its log. */
function startBack(t: ExecutionContext, socket: string, args = '', options: Partial<OurOptions> = {}): Promise<Peer> {
  return startOurs(t, {
    ...options,
    vdevs: [`net_vhost0,iface=${socket}${args}`],
    ealArgs: ['--log-level', 'lib.vhost.*:info', ...(options.ealArgs ?? [])],
  });
}

const isUp = (peer: Peer) =>
  eventually('the link', async () => (await peer.ask('show port info 0', /Link status: \w+/))[0], (text) => text.endsWith('up')); // prettier-ignore

for (const [devargs, path] of recipes) {
  test.serial(
    `${devargs}: DPDK's virtio_user on our net_vhost port: loops at three sizes, both sides stop and start`,
    async (t) => {
      const socket = join(temporaryDirectory(t), 's');
      const ours = await startBack(t, socket);
      const far = await startFrontEnd(t, {
        vdevs: [`net_virtio_user0,path=${socket},queues=1,${devargs}`],
        ealArgs: debug,
      });
      await eventually('the path', () => far.output, (text) => path.test(text)); // prettier-ignore
      await isUp(ours);
      await setForwarding('mac', ours, far);
      for (const size of [64, 512, 1518]) await loopPackets(t, ours, far, size);
      await stopForwarding(far);
      await stopForwarding(ours);

      await far.ask('port stop 0', /Done/);
      await far.ask('port start 0', /Done/);
      await isUp(ours);
      await startForwarding(ours);
      await startForwarding(far, 'tx_first 1');
      await flow(far, 1000);

      await stopForwarding(ours);
      await ours.ask('port stop 0', /Stopping ports[^]*Done/);
      await ours.ask('port start 0', /Done/);
      await startForwarding(ours, 'tx_first 1');
      await flow(far, 1000);
      await stopForwarding(far);
      await stopForwarding(ours);
      t.is((await portStats(far)).rxErrors, 0);
      t.is((await portStats(ours)).rxErrors, 0);
      t.is(await far.stop(), 'exit code 0');
      t.is(await ours.stop(), 'exit code 0');
      t.notRegex(ours.output, /is given up|connection closed|Error/);
    },
  );
}

for (const queues of [2, 4, 8]) {
  for (const ring of ['packed_vq=0', 'packed_vq=1']) {
    test.serial(`${queues} queue pairs, ${ring}: each carries packets`, async (t) => {
      const socket = join(temporaryDirectory(t), 's');
      const rings = [`--rxq=${queues}`, `--txq=${queues}`];
      const ours = await startBack(t, socket, `,queues=${queues}`, { args: rings });
      const far = await startFrontEnd(t, {
        vdevs: [`net_virtio_user0,path=${socket},queues=${queues},${ring}`],
        args: rings,
      });
      await isUp(ours);
      await setForwarding('mac', ours, far);
      await startForwarding(ours);
      await startForwarding(far, 'tx_first 32');
      await flow(far, 20_000);
      const [text] = await far.ask('stop', /[^]*Done\./);
      for (let queue = 0; queue < queues; queue++) {
        const line = new RegExp(`RX Port= 0/Queue= ?${queue} [^]*?RX-packets: (\\d+)`).exec(text);
        t.true(Number(line?.[1]) > 100, `queue ${queue} received`);
      }
      const [xstats] = await ours.ask('show port xstats 0', /[^]*tx_q0_mbuf_alloc_failed[^]*?testpmd> /);
      for (let queue = 0; queue < queues; queue++) {
        t.true(Number(new RegExp(`rx_q${queue}_good_packets: (\\d+)`).exec(xstats)?.[1]) > 100);
      }
      t.is(await far.stop(), 'exit code 0');
      t.is(await ours.stop(), 'exit code 0');
    });
  }
}

for (const [size, ring] of [
  [32, ''],
  [1024, ''],
  [32768, ''],
  [32, ',packed_vq=1'],
  [255, ',packed_vq=1'],
  [32768, ',packed_vq=1'],
] as const) {
  // prettier-ignore
  test.serial(`a ring of ${size}${ring}: packets go round`, async (t) => {
    const socket = join(temporaryDirectory(t), 's');
    const ours = await startBack(t, socket);
    const far = await startFrontEnd(t, {
      vdevs: [`net_virtio_user0,path=${socket},queues=1,queue_size=${size}${ring}`],
      args: size > 4096 ? ['--total-num-mbufs=40000', `--rxd=4096`] : [],
    });
    await isUp(ours);
    await setForwarding('mac', ours, far);
    await startForwarding(ours);
    await startForwarding(far, 'tx_first 1');
    await flow(far, 3 * size > 20_000 ? 100_000 : 20_000);
    t.is(await far.stop(), 'exit code 0');
    t.is(await ours.stop(), 'exit code 0');
  });
}

test.serial(
  'client=1, and DPDK listens (server=1); killed and started again, it is found within seconds',
  async (t) => {
    const socket = join(temporaryDirectory(t), 's');
    const ours = await startBack(t, socket, ',client=1');
    await setForwarding('mac', ours);
    await startForwarding(ours);
    for (let round = 0; round < 2; round++) {
      const far = await startFrontEnd(t, { vdevs: [`net_virtio_user0,path=${socket},queues=1,server=1`] });
      await setForwarding('mac', far);
      await startForwarding(far, 'tx_first 32');
      await flow(far, 5000);
      if (round === 0) {
        await far.kill();
        await ours.waitFor(/vhost peer closed/);
        rmSync(socket, { force: true });
      } else t.is(await far.stop(), 'exit code 0');
    }
    t.is(await ours.stop(), 'exit code 0');
  },
);

for (const ring of ['packed_vq=0', 'packed_vq=1']) {
  test.serial(
    `killed under traffic and started again, ${ring}: first the front-end, then we (its server=1)`,
    async (t) => {
      const directory = temporaryDirectory(t);
      const socket = join(directory, 's');
      const ours = await startBack(t, socket);
      await setForwarding('mac', ours);
      await startForwarding(ours);
      for (let round = 0; round < 3; round++) {
        const far = await startFrontEnd(t, { vdevs: [`net_virtio_user0,path=${socket},queues=1,${ring}`] });
        await setForwarding('mac', far);
        await startForwarding(far, 'tx_first 32');
        await flow(far, 5000);
        await far.kill();
      }
      t.is(await ours.stop(), 'exit code 0');

      const listening = startFrontEnd(t, {
        vdevs: [`net_virtio_user0,path=${join(directory, 'l')},queues=1,server=1,${ring}`],
      });
      let far: Peer | undefined;
      for (let round = 0; round < 3; round++) {
        const back = await startBack(t, join(directory, 'l'), ',client=1');
        far ??= await listening;
        await isUp(back);
        if (round === 0) {
          await setForwarding('mac', far);
          await startForwarding(far);
        }
        await setForwarding('mac', back);
        await startForwarding(back, 'tx_first 32');
        await flow(back, 5000);
        await back.kill();
      }
      t.is(await far?.stop(), 'exit code 0');
    },
  );
}

test.serial(
  'hotplug at the prompt: attached, a front-end comes and sends, detached under its traffic, attached again',
  async (t) => {
    const directory = temporaryDirectory(t);
    const [first, second] = [join(directory, 'a'), join(directory, 'b')];
    const ours = await startBack(t, first);
    for (let round = 0; round < 2; round++) {
      await ours.ask(`port attach net_vhost1,iface=${second}`, /Port 1 is attached/);
      await ours.ask('port start 1', /Done/);
      const far = await startFrontEnd(t, { vdevs: [`net_virtio_user0,path=${second},queues=1`] });
      await setForwarding('txonly', far);
      await startForwarding(far);
      await setForwarding('rxonly', ours);
      await startForwarding(ours);
      await flow(ours, 10_000, 1);
      await stopForwarding(ours);
      await ours.ask('port stop 1', /Done/);
      await ours.ask('port detach 1', /is (now )?(closed|detached)/);
      await far.ask('show port stats 0', /TX-packets/);
      await far.kill();
    }
    t.is(await ours.stop(), 'exit code 0');
  },
);
