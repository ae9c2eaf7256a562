/**
 * Adding and removing devices while a program runs, by bus and name (rte_eal_hotplug_add and rte_eal_hotplug_remove). Other
 * ports continue to forward.
 */
import { aString, checkArguments, madeBy } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import type { Eal } from '../eal/eal.js';
import { attach, type AttachOptions } from './attach.js';
import { busOf, driverOf, drivers, vdevNames } from '../drivers.js';
import { listNames } from '../devargs/device-names.js';
import { portsOf, type Port } from './port.js';

/** `vdev`: a driver's name and a number, such as net_virtio_user0. `pci`: an address such as 0000:00:03.0. */
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
    nameOnBus(bus, devargs);
  } else if (driverOf(devargs).bus !== bus) {
    throw new VirtioPmdError(
      'EDEVARGS',
      `"${name}" is not on the bus vdev: expected ${listNames(vdevNames())}, or the bus pci`,
    );
  }
  return attach(eal, devargs, options);
}

/**
 * Removes a device: stops and closes its port.
 * @throws VirtioPmdError ECONFIG when there is no device of this name; ELCORE when a job does not call `running()`
 */
export function hotplugRemove(eal: Eal, bus: Bus, name: string): void {
  checkArguments('hotplugRemove', { eal: [eal, anEal], bus: [bus, aString], name: [name, aString] });
  checkBus(bus);
  const onBus = portsOf(eal).filter(({ devargs }) => busOf(devargs) === bus);
  const port = onBus.find((candidate) => candidate.name === name || candidate.name === fullName(bus, name));
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

/** The name of a device on a bus. @throws VirtioPmdError EDEVARGS when it is not a device of this bus */
function nameOnBus(bus: Bus, devargs: string): string {
  return (drivers.find((driver) => driver.bus === bus) ?? driverOf(devargs)).nameOf(devargs);
}

/** The full name of a device whose name may be abbreviated, such as 00:03.0. */
function fullName(bus: Bus, name: string): string | undefined {
  try {
    return bus === 'pci' ? nameOnBus(bus, name) : undefined;
  } catch {
    return undefined;
  }
}

/** For callers without types. */
function checkBus(bus: string): void {
  if (bus === 'vdev' || bus === 'pci') return;
  throw new VirtioPmdError('EDEVARGS', `"${bus}" is no bus: expected vdev or pci`);
}
