/** From a PCI address to a function that can be driven: by the kernel driver it is bound to, or a sentence why not. */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Log } from '../../eal/types.js';
import { checkAddress } from './address.js';
import type { PciFunction } from './function.js';
import { EXPECTED_IDS, formatIds, isVirtioNet } from './ids.js';
import { busOf, readPciDevice, type PciDevice } from './sysfs.js';
import { systemAt } from './system.js';
import { openUio } from './uio.js';
import { openVfio } from './vfio/vfio.js';
import { Vfio } from './vfio/group.js';

/** One container for the whole process. */
const processVfio = new Vfio(systemAt());

/**
 * @param text an address, with its domain or without.
 * @param vfio another system than this machine's, in tests.
 * @throws VirtioPmdError EDEVARGS, ECONFIG, ESYSTEM which says what is in the way and what to do
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
