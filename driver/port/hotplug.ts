/**
 * Devices that come and go while a program runs, by bus and name (rte_eal_hotplug_add and rte_eal_hotplug_remove). Other
 * ports forward meanwhile.
 */
import { aString, checkArguments, madeBy } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import type { Eal } from '../eal/eal.js';
import { canonicalAddress } from '../virtio/pci/address.js';
import { isPci, parsePci } from '../virtio/pci/probe.js';
import { attach, portsOf, type AttachOptions, type Port } from './port.js';

/** `vdev`: net_virtio_user<N> or virtio_user<N>. `pci`: an address such as 0000:00:03.0. */
export type Bus = 'vdev' | 'pci';

/**
 * Adds a device: `hotplugAdd(eal, 'vdev', 'virtio_user0', 'path=/dev/vhost-net')`. The port is neither configured nor started.
 * @throws VirtioPmdError as `attach`; EDEVARGS for a name that is not one of this bus
 */
export async function hotplugAdd(
  eal: Eal,
  bus: Bus,
  name: string,
  args: string,
  options: AttachOptions = {},
): Promise<Port> {
  checkArguments('hotplugAdd', {
    eal: [eal, anEal],
    bus: [bus, aString],
    name: [name, aString],
    args: [args, aString],
  });
  checkBus(bus);
  const devargs = args === '' ? name : `${name},${args}`;
  if (bus === 'pci') {
    parsePci(devargs);
  } else if (isPci(devargs)) {
    throw new VirtioPmdError(
      'EDEVARGS',
      `"${name}" is not on the bus vdev: expected net_virtio_user<N> or virtio_user<N>, or the bus pci`,
    );
  }
  return attach(eal, devargs, options);
}

/**
 * Removes a device: stops and closes its port.
 * @throws VirtioPmdError ECONFIG when there is none of this name; ELCORE when a job does not ask `running()`
 */
export function hotplugRemove(eal: Eal, bus: Bus, name: string): void {
  checkArguments('hotplugRemove', { eal: [eal, anEal], bus: [bus, aString], name: [name, aString] });
  checkBus(bus);
  const onBus = portsOf(eal).filter(({ devargs }) => isPci(devargs) === (bus === 'pci'));
  const wanted = bus === 'pci' ? (canonicalAddress(name.replace(/^pci:/, '')) ?? name) : name;
  const port = onBus.find((candidate) => candidate.name === wanted);
  if (port === undefined) {
    const names = onBus.map((candidate) => candidate.name).join(', ');
    throw new VirtioPmdError(
      'ECONFIG',
      `there is no device ${name} on the bus ${bus} to remove: ${names === '' ? 'none is attached' : `attached: ${names}`}`,
    );
  }
  port.close();
}

const anEal = madeBy('createEal', 'lcores', 'createMempool');

/** For callers without types. */
function checkBus(bus: string): void {
  if (bus === 'vdev' || bus === 'pci') return;
  throw new VirtioPmdError('EDEVARGS', `"${bus}" is no bus: expected vdev or pci`);
}
