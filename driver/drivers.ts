/** The drivers of ports. `attach` asks them in this order whether they support a device string. */
import type { PortDriver } from './port/device.js';
import { virtioPci } from './virtio/pci/driver.js';
import { virtioUser } from './virtio/user/driver.js';

export const drivers: readonly [PortDriver, ...PortDriver[]] = [virtioPci, virtioUser];

/** The driver of a device string. If none claims it, the last one: its error lists the valid names. */
export function driverOf(devargs: string): PortDriver {
  return drivers.find((driver) => driver.claims(devargs)) ?? virtioUser;
}
