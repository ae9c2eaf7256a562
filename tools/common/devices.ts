/** The devices that the EAL options select. */
import { boundPciDevices, leftToVdpa } from '../../driver/virtio/pci/probe.js';
import type { PortEvents } from '../../driver/port/types.js';
import type { EalArguments } from './eal-options.js';

/** The devices to attach, in this order: PCI devices first, as in DPDK. */
export function devicesOf({ allowed, blocked, noPci, vdevs }: EalArguments, log: PortEvents['log']): string[] {
  const wanted = noPci ? [] : allowed.length > 0 ? allowed : boundPciDevices(blocked);
  const pci = wanted.filter((device) => {
    const skipped = leftToVdpa(device);
    if (skipped) log('info', `EAL: ${device} is left to a vDPA driver (vdpa=1)`);
    return !skipped;
  });
  return [...pci, ...vdevs];
}
