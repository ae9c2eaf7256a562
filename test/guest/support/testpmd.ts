/** Our testpmd in the guest, and the binding of its NICs. */
import type { ExecutionContext } from 'ava';
import { eventually, type Scope } from '../../support/peers.js';
import type { Guest } from './guest.js';
import { quote, type GuestProcess } from './process.js';

export interface TestpmdOptions {
  /** Behind `-a`. */
  readonly devices?: readonly string[];
  /** With these there is no PCI. */
  readonly vdevs?: readonly string[];
  /** Default 2048. */
  readonly mbufs?: number;
  readonly ealArgs?: readonly string[];
  readonly args?: readonly string[];
}

/** Main lcore and forwarding lcore on a CPU each. */
export function testpmdCommand(options: TestpmdOptions): string {
  const { devices = [], vdevs = [], ealArgs = [], args = [], mbufs = 2048 } = options;
  const words = [
    ...['--lcores', '0@0,1@1', '--log-level', 'pmd.net.virtio.*:info', ...ealArgs],
    ...devices.flatMap((device) => ['-a', device]),
    ...(vdevs.length > 0 ? ['--no-pci'] : []),
    ...vdevs.flatMap((vdev) => ['--vdev', vdev]),
    ...['--', '-i', `--total-num-mbufs=${mbufs}`, ...args],
  ];
  return `testpmd ${words.map(quote).join(' ')}`;
}

/** At its prompt. */
export async function startTestpmd(scope: Scope, guest: Guest, options: TestpmdOptions): Promise<GuestProcess> {
  const testpmd = await guest.start(scope, 'testpmd in the guest', testpmdCommand(options));
  await testpmd.waitFor(/testpmd> /, 90_000);
  return testpmd;
}

/** `quit`, after which the process has ended well. */
export async function quit(t: ExecutionContext, testpmd: GuestProcess): Promise<void> {
  await testpmd.send('quit');
  t.is(await testpmd.end(), 0, testpmd.output.slice(-1000));
  t.regex(testpmd.output, /Bye\.\.\.\s*$/);
}

export async function start(testpmd: GuestProcess): Promise<void> {
  await testpmd.ask('start', /packet forwarding - ports=[^]*testpmd> /);
}

export async function stop(testpmd: GuestProcess): Promise<string> {
  return (await testpmd.ask('stop', /Telling cores to stop[^]*Done\./))[0];
}

/** A counter of `show port xstats`. */
export async function xstat(testpmd: GuestProcess, name: string, port = 0): Promise<number> {
  const [, value] = await testpmd.ask(`show port xstats ${port}`, new RegExp(`^${name}: (\\d+)$`, 'm'));
  return Number(value);
}

/** All counters of `show port xstats`. */
export async function xstats(testpmd: GuestProcess, port = 0): Promise<ReadonlyMap<string, number>> {
  const [text] = await testpmd.ask(`show port xstats ${port}`, /NIC extended statistics[^]*testpmd> /);
  return new Map([...text.matchAll(/^(\w+): (\d+)$/gm)].map(([, name, value]) => [name!, Number(value)]));
}

/** Starts with a burst that goes round for ever, and waits until each of `ports` has received many times as much. */
export async function goRound(testpmd: GuestProcess, ports: readonly number[]): Promise<void> {
  await testpmd.ask('start tx_first', /packet forwarding - ports=[^]*testpmd> /);
  for (const port of ports) {
    await eventually(
      `packets on port ${port}`,
      () => xstat(testpmd, 'rx_good_packets', port),
      (count) => count > 1000,
      60_000,
    );
  }
  await stop(testpmd);
}

/** Pulls a NIC out while its port forwards: the port says so, and once it is closed (by itself with --hot-plug) the kernel lets the NIC go. */
export async function checkPulled(t: ExecutionContext, guest: Guest, nic: string, hotPlug: boolean): Promise<void> {
  const args = ['--port-topology=loop', ...(hotPlug ? ['--hot-plug'] : [])];
  const testpmd = await startTestpmd(t, guest, { devices: [guest.bdf(nic)], args });
  await start(testpmd);
  await guest.wire(nic).pingPong([64], 32);
  await guest.qmp.execute('device_del', { id: nic });
  await testpmd.waitFor(/Port 0: device removal event/);
  if (hotPlug) {
    await testpmd.waitFor(/Waiting for lcores to finish[^]*Port 0 is closed/);
  } else {
    await testpmd.ask('show port info 0', /Link status: down/);
    await stop(testpmd);
    await testpmd.ask('port stop 0', /Done/);
    await testpmd.ask('port close 0', /Port 0 is closed/);
  }
  await guest.qmp.waitEvent('DEVICE_DELETED', 60_000);
  t.not((await guest.run(`ls /sys/bus/pci/devices/${guest.bdf(nic)}`)).code, 0);
  await quit(t, testpmd);
}

/** Hands NICs to a driver of the guest's kernel. */
export async function bind(guest: Guest, driver: string, ...nics: readonly string[]): Promise<void> {
  await guest.ok(`devbind -b ${driver} ${nics.map((name) => guest.bdf(name)).join(' ')}`);
}

/** The driver that a NIC is bound to, or ''. */
export async function driverOf(guest: Guest, nic: string): Promise<string> {
  const link = await guest.ok(`readlink /sys/bus/pci/devices/${guest.bdf(nic)}/driver || true`);
  return link.trim().split('/').at(-1)!;
}
