/** The drivers of ports. `attach` asks them in this order which one a device string is for. */
import type { PortDriver } from './port/device.js';
import { virtioPci } from './virtio/pci/driver.js';
import { virtioUser } from './virtio/user/driver.js';

export const drivers: readonly [PortDriver, ...PortDriver[]] = [virtioPci, virtioUser];

/** The driver of a device string. One that nobody claims goes to the last, which says what names there are. */
export function driverOf(devargs: string): PortDriver {
  return drivers.find((driver) => driver.claims(devargs)) ?? virtioUser;
}
