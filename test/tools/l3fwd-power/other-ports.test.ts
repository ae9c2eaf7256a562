/** l3fwd-power on ports that are no virtio: it sleeps on queues that have interrupts, and says why it cannot on others. */
import test, { type ExecutionContext } from 'ava';
import { createEal, processCpus } from '../../../driver/eal/eal.js';
import type { PortHost } from '../../../driver/port/device.js';
import { Port } from '../../../driver/port/port.js';
import { loadQueues } from '../../../driver/port/queue.js';
import { packetFrom } from '../../../paths/mbuf.js';
import { Forwarding } from '../../../tools/l3fwd-power/forwarding.js';
import { byLcore } from '../../../tools/l3fwd-power/lcore-config.js';
import { parseOptions, type Mode } from '../../../tools/l3fwd-power/options.js';
import { setUpPorts } from '../../../tools/l3fwd-power/ports.js';
import { Loop, type LoopOptions } from '../../driver/port/support/loop-device.js';
import { startPeer } from '../../support/peers.js';
import { soon } from '../../support/wire.js';
import { tableOf } from '../../support/l3fwd-program.js';

function make(t: ExecutionContext, loop: LoopOptions) {
  const cpus = processCpus();
  const lcores = new Map([0, 1, 2].map((id) => [id, [cpus.at(-id) ?? cpus[0]!]]));
  const eal = createEal({ noHuge: true, memoryMiB: 64, lcores, pinMain: false, log: () => undefined });
  t.teardown(() => eal.close());
  const open = (host: PortHost) => new Loop(host, loop);
  const port = new Port({ eal, id: 0, name: 'net_loop0', devargs: 'net_loop0', open, log: () => undefined });
  const said: string[] = [];
  const say = (text: string) => void said.push(text);
  const output = { print: say, complain: say, log: () => undefined };
  const options = parseOptions(['-p', '1', '-P', '--config=(0,0,1)', '--parse-ptype', '--max-pkt-len=1400']);
  const setUp = (mode: Mode, lcoreCount = 1) => {
    const polling = [...byLcore(options.config), { lcoreId: 2, queues: [] }].slice(0, lcoreCount);
    const ports = setUpPorts([port], { eal, options, mode, lcores: polling, maxSimdBitwidth: 0, output });
    return new Forwarding({
      ...{ eal, ports, options, mode, lcores: polling, routes: { ipv4: [], ipv6: [] }, tellSleeps: true, info: say },
    });
  };
  return { eal, port, said, setUp };
}

test.serial('a queue with an interrupt: the lcore sleeps, and each packet wakes it', async (t) => {
  const { eal, port, said, setUp } = make(t, { interrupts: true });
  const forwarding = setUp('interrupt-only', 2);
  t.false(said.some((line) => /queue pairs/.test(line)), 'that is said of virtio'); // prettier-ignore
  t.true(said.includes('Error during enabling promiscuous mode for port 0: a loop receives everything - ignore'));
  t.is(port.info().mtu, 1382);
  const { tx, rx } = port.spec();
  await loadQueues([...rx, ...tx]);
  const ending = new AbortController();
  const running = forwarding.run(ending.signal);
  const pool = eal.mempool(tx[0]!.mempool);
  const times = (text: RegExp) => said.filter((line) => text.test(line)).length;
  for (let packets = 1; packets <= 3; packets++) {
    await soon('it sleeps', () => times(/lcore 1 sleeps until interrupt triggers/), (n) => n === packets); // prettier-ignore
    port.tx(0).xmit(Uint32Array.of(packetFrom(pool, new Uint8Array(64))), 1);
    await soon('it is awake', () => times(/lcore 1 is waked up from rx interrupt on port 0 queue 0/), (n) => n === packets); // prettier-ignore
  }
  ending.abort();
  await running;
  t.like(tableOf(forwarding.statistics(), 'port')[0], { received: 3 });
});

test.serial('a queue without one: the reason, and which modes do without', (t) => {
  const { port, setUp } = make(t, {});
  t.throws(() => setUp('interrupt-only'), {
    code: 'ECONFIG',
    message:
      'port 0 (net_loop0) has no interrupts of Rx queues: nobody signals a loop; use --pmd-mgmt=pause or --pmd-mgmt=baseline',
  });
  t.false(port.configured);
  const polling = make(t, {});
  polling.setUp('pmd mgmt');
  t.true(polling.port.started);
});

test.serial('the program', async (t) => {
  const run = (vdev: string) =>
    startPeer(t, 'l3fwd-power', process.execPath, [
      ...['--import', './tools/ts.mjs', 'test/tools/support/with-loop.ts', 'tools/l3fwd-power/main.ts'],
      ...['-l', '0,1', '--no-huge', '--no-pci', '--vdev', vdev, '--', '-p', '1', '--config=(0,0,1)', '--parse-ptype'],
    ]);
  const without = run('net_loop0');
  t.is(await without.end(), 'exit code 1');
  t.regex(
    without.output,
    /Cause: error\[ECONFIG\]: port 0 \(net_loop0\) has no interrupts of Rx queues: nobody signals/,
  );
  const peer = run('net_loop0,interrupts=1');
  await peer.waitFor(/entering main interrupt loop on lcore 1\n/, 60_000);
  process.kill(peer.pid, 'SIGINT');
  t.is(await peer.end(), 'exit code 0');
});
