/** Opens the function at a PCI address, by the kernel driver that it is bound to. */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Log } from '../../eal/types.js';
import { checkAddress } from './address.js';
import type { PciFunction } from './function.js';
import { EXPECTED_IDS, formatIds, isVirtioNet } from './ids.js';
import { isPortDevice, openPorts } from './ports.js';
import { busOf, readPciDevice, type PciDevice } from './sysfs.js';
import { systemAt } from './system.js';
import { openUio } from './uio.js';
import { openVfio } from './vfio/vfio.js';
import { Vfio } from './vfio/group.js';

/** One container for the whole process. */
const processVfio = new Vfio(systemAt());

/**
 * Opens a function.
 * @param text an address, with its domain or without.
 * @param vfio tests pass one with a mock kernel.
 * @throws VirtioPmdError EDEVARGS, ECONFIG, ESYSTEM with the reason and what to do
 */
export function openPciFunction(text: string, log: Log, vfio = processVfio): PciFunction {
  const address = checkAddress(text);
  const { system } = vfio;
  const device = readPciDevice(address, system.root);
  if (device === undefined) {
    throw new VirtioPmdError(
      'ECONFIG',
      `there is no PCI device ${address}: devbind --status lists those that are there`,
    );
  }
  if (!isVirtioNet(device)) {
    throw new VirtioPmdError(
      'ECONFIG',
      `${address} is no virtio network device: it is ${formatIds(device)}, ${EXPECTED_IDS} is expected`,
    );
  }
  switch (busOf(device)) {
    case 'vfio':
      return openVfio(device, vfio, log);
    case 'uio':
      return openUio(device, system, log);
    default:
      if (isPortDevice(device, system.root)) return openPorts(device, system, log);
      if (device.driver !== undefined) log('info', 'skip kernel managed virtio device.');
      throw new VirtioPmdError('ECONFIG', whyNotOurs(device));
  }
}

function whyNotOurs({ address, driver, iommuGroup }: PciDevice): string {
  const what = driver === undefined ? 'is bound to no driver' : `belongs to the kernel (driver ${driver})`;
  const bind = `bind it to vfio-pci (devbind -b vfio-pci ${address})`;
  if (iommuGroup !== undefined) return `${address} ${what}: ${bind}`;
  return `${address} ${what}: ${bind}; as it has no IOMMU group, enable the IOMMU first (intel_iommu=on) or vfio's no-IOMMU mode, or use uio_pci_generic`;
}
