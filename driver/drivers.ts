/** The drivers of ports. `attach` asks them in this order whether they support a device string. */
import { unknownDevice } from './devargs/device-names.js';
import { splitDevargs } from './devargs/kvargs.js';
import type { PortDriver } from './port/device.js';
import { afPacket } from './vdevs/af-packet/driver.js';
import { netNull } from './vdevs/null.js';
import { netPcap } from './vdevs/pcap/driver.js';
import { tap } from './vdevs/tap/driver.js';
import { netVhost } from './vhost/port.js';
import { virtioPci } from './virtio/pci/driver.js';
import { virtioUser } from './virtio/user/driver.js';

export const drivers: readonly PortDriver[] = [virtioPci, virtioUser, netVhost, afPacket, tap, netPcap, netNull];

const claiming = (devargs: string) => drivers.find((driver) => driver.claims(devargs));

/** The names of vdevs, without their numbers. */
export const vdevNames = (): readonly string[] => drivers.flatMap(({ names }) => names);

/** The driver of a device string. @throws VirtioPmdError EDEVARGS when there is none: the error lists the names of vdevs */
export function driverOf(devargs: string): PortDriver {
  const driver = claiming(devargs);
  if (driver !== undefined) return driver;
  throw unknownDevice(splitDevargs(devargs).name, vdevNames());
}

/** The bus of an attached device. */
export function busOf(devargs: string): PortDriver['bus'] {
  return claiming(devargs)?.bus ?? 'vdev';
}
