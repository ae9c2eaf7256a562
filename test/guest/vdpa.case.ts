/**
 * The kernel's vdpa simulator behind vhost-vdpa: a device that gives back what it is sent, broadcasts and frames to its own
 * address at least. Frames go from the wire through a NIC to the simulator, and the same way back.
 */
import { readFileSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { needs } from '../support/needs.js';
import { casesInGuest } from './support/cases.js';
import { file } from './support/cpio.js';
import type { Guest } from './support/guest.js';
import { withLibraries } from './support/image.js';
import { quote, type GuestProcess } from './support/process.js';
import { run } from './support/run.js';
import { bind, quit, start, stop, testpmdCommand, type TestpmdOptions } from './support/testpmd.js';
import { builtModules, VDPA_MODULES } from './support/built-modules.js';
import { frame } from './support/wire.js';

// without zeros, at which the simulator stops to compare
const MAC = '02:5d:5d:5d:5d:01';
const OTHER_MAC = '02:5d:5d:5d:5d:02';
const ROUNDS = 8;
const SIZES = [60, 64, 65, 127, 128, 512, 1024, 1513, 1514];

const asleep = readFileSync(new URL('./support/vdpa-asleep.mjs', import.meta.url));

let folder = '';
let tool = '';
let missing = '';
try {
  tool = run('sh', ['-c', 'command -v vdpa']).toString().trim();
  folder = builtModules('vdpa');
} catch (error) {
  missing = tool === '' ? 'vdpa is not installed (Debian: iproute2)' : (error as Error).message;
}

const inGuest = missing
  ? (title: string) => needs(missing)(title, (t) => t.pass())
  : casesInGuest({
      iommu: false,
      hugepages: 80,
      nics: [{ name: 'wired', properties: 'disable-legacy=on' }],
      more: {
        modules: VDPA_MODULES,
        moduleFolders: [folder],
        entries: [...withLibraries(tool), file('app/vdpa-asleep.mjs', asleep)],
      },
    });

/** Makes a simulator. @returns the file of its vhost-vdpa */
async function simulate(guest: Guest, name: string): Promise<string> {
  await guest.ok(`${tool} dev add name ${name} mgmtdev vdpasim_net mac ${MAC}`);
  return (await guest.ok(`ls -d /sys/bus/vdpa/devices/${name}/vhost-vdpa-*`)).trim().replace(/^.*\//, '/dev/');
}

/** testpmd with all the memory that it wants to lock, which the kernel counts for root too. */
async function unlimited(t: ExecutionContext, guest: Guest, options: TestpmdOptions): Promise<GuestProcess> {
  const command = `sh -c ${quote(`ulimit -l unlimited; exec ${testpmdCommand(options)}`)}`;
  const testpmd = await guest.start(t, 'testpmd in the guest', command);
  await testpmd.waitFor(/testpmd> /, 90_000);
  return testpmd;
}

/** Port 0 is the wire's, port 1 the simulator's. */
function paired(guest: Guest, path: string, devargs = ''): TestpmdOptions {
  return {
    devices: [guest.bdf('wired')],
    ealArgs: [`--vdev=net_virtio_user0,path=${path}${devargs}`],
    args: ['--port-topology=paired'],
  };
}

inGuest(
  'frames of every size go to the simulator and come back, before and after its port was stopped and reset',
  async (t, guest) => {
    await bind(guest, 'uio_pci_generic', 'wired');
    const testpmd = await unlimited(t, guest, paired(guest, await simulate(guest, 'loop')));
    t.true(testpmd.output.includes(`Port 1: ${MAC.toUpperCase()}`), testpmd.output.slice(-1000));
    const wire = guest.wire('wired');
    await start(testpmd);
    await wire.pingPong(SIZES, 40);
    await stop(testpmd);
    for (const between of [[], ['port reset 1'], ['port reset 1']]) {
      for (const command of ['port stop 1', ...between, 'port start 1']) await testpmd.ask(command, /Done/);
      await start(testpmd);
      await wire.pingPong([64, 1514], 64);
      await stop(testpmd);
    }
    await quit(t, testpmd);
  },
);

inGuest(
  "the device's own control queue: a MAC address that is set there is the one that it takes",
  async (t, guest) => {
    const testpmd = await unlimited(t, guest, paired(guest, await simulate(guest, 'addressed'), ',cq=1'));
    const wire = guest.wire('wired');
    const [old, other] = [MAC, OTHER_MAC].map((mac) => mac.split(':').map((byte) => parseInt(byte, 16)));
    await start(testpmd);
    // what the simulator does not take never comes back: the next one does
    wire.send(frame(100, 1, other));
    wire.send(frame(100, 2, old));
    t.deepEqual(await wire.receive(20_000), frame(100, 2, old));
    await testpmd.ask(`mac_addr set 1 ${OTHER_MAC}`, /testpmd> /);
    wire.send(frame(100, 3, old));
    wire.send(frame(100, 4, other));
    t.deepEqual(await wire.receive(20_000), frame(100, 4, other));
    await testpmd.ask('show port info 1', new RegExp(`MAC address: ${OTHER_MAC}`, 'i'));
    await quit(t, testpmd);
  },
);

inGuest('asleep until the simulator interrupts: every frame wakes it', async (t, guest) => {
  const path = await simulate(guest, 'waking');
  const { code, output } = await guest.run(
    `ulimit -l unlimited; exec ${process.execPath} /app/vdpa-asleep.mjs ${path} ${ROUNDS}`,
  );
  t.is(code, 0, output);
  t.log(output.trim().split('\n').at(-1));
  const { received, wakeups } = JSON.parse(/^\{.*\}$/m.exec(output)![0]) as { received: number; wakeups: number };
  t.is(received, ROUNDS);
  t.true(wakeups > ROUNDS / 2, output); // the rest came while it looked
});

inGuest('mac= is stored in the device', async (t, guest) => {
  const testpmd = await unlimited(t, guest, paired(guest, await simulate(guest, 'told'), `,mac=${OTHER_MAC}`));
  t.true(testpmd.output.includes(`Port 1: ${OTHER_MAC.toUpperCase()}`), testpmd.output.slice(-1000));
  t.regex(await guest.ok(`${tool} dev config show told`), new RegExp(`mac ${OTHER_MAC}`));
  await quit(t, testpmd);
});

inGuest('refusals: locked memory, a device in use, more queues than it has', async (t, guest) => {
  const path = await simulate(guest, 'refusing');
  const refused = async (devargs: string, words: RegExp) => {
    const options = { ealArgs: ['--no-pci', `--vdev=virtio_user0,path=${path}${devargs}`] };
    const { output } = await guest.run(`ulimit -l 1024; ${testpmdCommand(options)}`);
    t.regex(output, words);
    t.notRegex(output, /\n +at /, 'no stack trace');
  };
  await refused('', /cannot be mapped for the device .*ulimit -l/);
  await refused(',queues=2', /has one queue pair: use queues=1/);
  const testpmd = await unlimited(t, guest, paired(guest, path));
  await refused('', /another process has it open/);
  await quit(t, testpmd);
});

inGuest('a device that is deleted while it forwards: its port says so, and the kernel lets it go', async (t, guest) => {
  const testpmd = await unlimited(t, guest, paired(guest, await simulate(guest, 'deleted')));
  await start(testpmd);
  await guest.wire('wired').pingPong([64], 32);
  await guest.ok(`${tool} dev del deleted`);
  await testpmd.waitFor(/Port 1: device removal event/);
  await testpmd.ask('show port info 1', /Link status: down/);
  await stop(testpmd);
  await testpmd.ask('port stop 1', /Done/);
  await testpmd.ask('port start 1', /was removed: detach the port/);
  await testpmd.ask('port close 1', /Port 1 is closed/);
  t.notRegex(await guest.ok(`${tool} dev show`), /deleted/);
  const path = await simulate(guest, 'deleted');
  await testpmd.ask(`port attach net_virtio_user1,path=${path}`, /is attached/);
  await quit(t, testpmd);
});

inGuest('a vdpa driver that is told of every piece of memory by itself, and never of all', async (t, guest) => {
  const names = (await guest.ok(`ls /sys/bus/vdpa/devices`)).trim().split(/\s+/);
  for (const name of names) await guest.ok(`${tool} dev del ${name}`);
  await guest.ok('rmmod vdpa_sim_net vdpa_sim');
  await guest.ok('insmod /modules/vdpa_sim.ko batch_mapping=0 && insmod /modules/vdpa_sim_net.ko');
  const testpmd = await unlimited(t, guest, paired(guest, await simulate(guest, 'pieces')));
  for (const command of ['port stop 1', 'port reset 1', 'port start 1']) await testpmd.ask(command, /Done/);
  await start(testpmd);
  await guest.wire('wired').pingPong([64, 1514], 64);
  await quit(t, testpmd);
});
