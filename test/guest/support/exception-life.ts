/** Taps and ports that come and go. */
import type { ExecutionContext } from 'ava';
import type { InGuest } from './cases.js';
import type { Guest } from './guest.js';
import { Namespace } from './namespace.js';
import { quit, start, startTestpmd, stop, xstat } from './testpmd.js';

const CYCLES = 100;
const CYCLES_MS = 300_000;

interface Held {
  readonly descriptors: number;
  readonly threads: number;
  readonly memory: number;
  readonly mappings: number;
}

async function deleted(t: ExecutionContext, guest: Guest): Promise<void> {
  const testpmd = await startTestpmd(t, guest, {
    vdevs: [0, 1].map((i) => `virtio_user${i},path=/dev/vhost-net,iface=tap-${i}`),
    mbufs: 4096,
  });
  const namespaces: Namespace[] = [];
  for (const i of [0, 1]) {
    namespaces.push(await Namespace.make(t, guest));
    await namespaces[i]!.take(`tap-${i}`, i + 1);
  }
  await start(testpmd);
  await namespaces[0]!.ping('10.1.0.2');
  await guest.ok(`(${namespaces[1]!.command('ping -i 0.2 10.1.0.1')}) >/dev/null 2>&1 &`);
  await namespaces[0]!.ok('ip link del tap-0');
  await testpmd.waitFor(/Port 0: device removal event/);
  await testpmd.ask('show port info 0', /Link status: down/);
  await testpmd.ask('show port info 1', /Link status: up/);
  const before = await xstat(testpmd, 'rx_good_packets', 1);
  await namespaces[1]!.run('ping -c 3 -W 1 10.1.0.1');
  t.true((await xstat(testpmd, 'rx_good_packets', 1)) > before, 'the other port goes on');
  await stop(testpmd);
  await testpmd.ask('port stop 0', /Done/);
  await testpmd.ask('port close 0', /Port 0 is closed/);

  await testpmd.ask('port attach virtio_user0,path=/dev/vhost-net,iface=tap-0', /Port \d is attached/);
  await testpmd.ask('port start all', /Done/);
  await namespaces[0]!.take('tap-0', 1);
  await start(testpmd);
  await namespaces[0]!.ping('10.1.0.2');
  await quit(t, testpmd);
}

async function attached(t: ExecutionContext, guest: Guest): Promise<void> {
  const testpmd = await startTestpmd(t, guest, {
    vdevs: ['virtio_user0,path=/dev/vhost-net,iface=tap-0'],
    args: ['--forward-mode=icmpecho'],
  });
  const end = await Namespace.make(t, guest);
  await end.take('tap-0', 1);
  await start(testpmd);
  for (let i = 0; i < 2; i++) {
    await testpmd.ask('port attach virtio_user1,path=/dev/vhost-net,iface=tap-1,up=1', /Port 1 is attached/);
    await testpmd.ask('port start 1', /Done/);
    await guest.ok('ip link show tap-1 | grep UP');
    await testpmd.ask('port stop 1', /Done/);
    await testpmd.ask('port detach 1', /Device is detached/);
    t.not((await guest.run('ip link show tap-1')).code, 0);
  }
  await end.ping('10.1.0.2');
  await quit(t, testpmd);
}

async function cycles(t: ExecutionContext, guest: Guest): Promise<void> {
  t.timeout(CYCLES_MS);
  const command = `${process.execPath} --expose-gc /app/attach-cycles.mjs ${CYCLES}`;
  const running = await guest.start(t, 'attach-cycles', command);
  const [line] = await running.waitFor(/^\{.*\}$/m, CYCLES_MS);
  t.log(line);
  const { early, late, open } = JSON.parse(line) as { early: Held; late: Held; open: string[] };
  t.deepEqual(open, []);
  t.is(late.descriptors, early.descriptors);
  t.is(late.threads, early.threads);
  t.true(late.memory < early.memory * 1.25, 'resident memory');
  t.true(late.mappings < early.mappings + CYCLES, 'mappings');
}

/** docs/examples/exception-path.ts: a kernel port for each port, here for one on vhost-net itself. */
async function sample(t: ExecutionContext, guest: Guest): Promise<void> {
  const program = `${process.execPath} /app/dist/docs/examples/exception-path.js /dev/vhost-net 0@0,1@1`;
  const device = 'virtio_user9,path=/dev/vhost-net,iface=outside,mac=02:00:00:00:00:0c';
  const running = await guest.start(t, 'the sample program', `${program} ${device}`);
  await guest.ok(
    'until [ "$(cat /sys/class/net/virtio_user0/address)" = 02:00:00:00:00:0c ]; do sleep 0.5; done 2>/dev/null',
  );
  const [outside, inside] = [await Namespace.make(t, guest), await Namespace.make(t, guest)];
  await guest.ok('ip link set outside address 02:00:00:00:00:0d'); // it has that of its port, and so has the other
  await outside.take('outside', 1);
  await inside.take('virtio_user0', 2);
  await outside.ping('10.1.0.2');
  await running.terminate();
  t.is(await running.end(), 0, running.output);
  t.not((await inside.run('ip link show virtio_user0')).code, 0);
}

/** A speed in software emulation says nothing: only that the instrument runs. */
async function bench(t: ExecutionContext, guest: Guest): Promise<void> {
  await guest.ok('ln -s . /app/dist/dist'); // it starts what a build has made, below the folder it is in
  const options =
    '--no-build --side ours --pairs 1 --seconds 1 --warm-up 1 --size 64 --senders 1 --json /tmp/bench.json';
  const output = await guest.ok(
    `cd /app/dist && ${process.execPath} tools/bench/main.js exception-path ${options}`,
    150,
  );
  t.log(output);
  t.regex(output, /to-kernel[^]*from-kernel/);
  const { runs } = JSON.parse(await guest.ok('cat /tmp/bench.json')) as { runs: { packets: number }[] };
  t.is(runs.length, 2);
  for (const { packets } of runs) t.true(packets > 0);
}

export function lifeCases(inGuest: InGuest): void {
  inGuest(
    'a tap deleted while it forwards: the port says so, the other goes on, and a new one takes its place',
    deleted,
  );
  inGuest('a port attached and detached while another forwards', attached);
  inGuest('the documented program: an interface with the MAC address of its port, and pings through both', sample);
  inGuest('bench exception-path runs', bench);
  inGuest(`${CYCLES} ports attached, started and removed: nothing of them is left`, cycles);
}
