/** From the arguments of a PCI device to a device that is ready for its initialisation. */
import { aString, checkArgument } from '../../../native/arguments.js';
import { VirtioPmdError } from '../../../native/errors.js';
import { parseDevargs, pciArgs, pciSchema, splitDevargs, type PciDevargs } from '../../devargs/devargs.js';
import type { Eal } from '../../eal/eal.js';
import { has } from '../features.js';
import type { Log } from '../../eal/types.js';
import type { Transport } from '../transport.js';
import { VIRTIO_F_IOMMU_PLATFORM } from '../../wire/virtio-features.js';
import { canonicalAddress, checkAddress } from './address.js';
import type { Addressing, PciFunction } from './function.js';
import { openPciFunction } from './open.js';
import { isQtest, parseQtest } from './qtest/devargs.js';
import { openQtest } from './qtest/qtest.js';
import { busOf, listVirtioNet } from './sysfs.js';
import { probeVirtioPci } from './virtio-pci.js';

/** DPDK accepts the name of the bus before an address. */
const addressOf = (name: string) => name.replace(/^pci:/, '');

/** True for `0000:00:03.0,...` and `qtest:SOCKET,...`. */
export function isPci(devargs: string): boolean {
  checkArgument('isPci', 'devargs', devargs, aString);
  const { name } = splitDevargs(devargs);
  return isQtest(name) || name.startsWith('pci:') || canonicalAddress(name) !== undefined;
}

/** The arguments of a PCI device, on any bus. @throws VirtioPmdError EDEVARGS */
export function parsePci(devargs: string): PciDevargs {
  checkArgument('parsePci', 'devargs', devargs, aString);
  if (isQtest(devargs)) return parseQtest(devargs);
  const { name, args } = splitDevargs(devargs);
  const address = checkAddress(addressOf(name));
  return pciArgs(address, parseDevargs(args, pciSchema, address));
}

/** True when `devargs` reserve the device for a vDPA driver (vdpa=1), as in DPDK. */
export function leftToVdpa(devargs: string): boolean {
  return isPci(devargs) && parsePci(devargs).vdpa;
}

/** Addresses of the virtio-net functions that are bound to vfio-pci or uio, except for those of `blocked`. */
export function boundPciDevices(blocked: readonly string[]): string[] {
  const leaveOut = blocked.map((text) => checkAddress(addressOf(splitDevargs(text).name)));
  return listVirtioNet()
    .filter((device) => busOf(device) !== undefined && !leaveOut.includes(device.address))
    .map((device) => device.address);
}

/**
 * Opens the device and finds out what it has; it is reset then.
 * @throws VirtioPmdError EDEVARGS, ECONFIG, EMEMORY, EPEER, ESOCKET, ESTATE, ESYSTEM, ETIMEOUT
 */
export async function probePci(eal: Eal, devargs: string, log: Log): Promise<Transport> {
  if (leftToVdpa(devargs)) {
    throw new VirtioPmdError(
      'EDEVARGS',
      `${devargs}: vdpa=1 leaves the device to a vDPA driver: leave it out to use it here`,
    );
  }
  const fn = await openFunction(devargs, log);
  const transport = probeVirtioPci(eal, fn, { log });
  try {
    eal.useAddressing(addressingOf(fn, transport.readFeatures().bits));
    transport.setInterrupts?.(0); // for changes of the link
    return transport;
  } catch (error) {
    transport.close();
    throw error;
  }
}

/**
 * A device that does not offer IOMMU_PLATFORM (every legacy one) may bypass the IOMMU, and QEMU's does (virtio 1.2 section 6.1).
 * Physical addresses work in both cases, as vfio maps them to themselves.
 */
export function addressingOf({ addressing }: Pick<PciFunction, 'addressing'>, offered: bigint): Addressing {
  return addressing.kind === 'iova' && !has(offered, VIRTIO_F_IOMMU_PLATFORM) ? { kind: 'physical' } : addressing;
}

async function openFunction(devargs: string, log: Log): Promise<PciFunction> {
  if (isQtest(devargs)) return openQtest(parseQtest(devargs), { log: (line) => log('notice', line) });
  return openPciFunction(parsePci(devargs).name, log);
}
