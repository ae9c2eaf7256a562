/** Decides what is allowed for a device, and what to write for it. No I/O. */
import { DEVICES, DRIVERS, dpdkDrivers, type PciDevice } from './devices.js';

export interface Write {
  readonly path: string;
  readonly text: string;
}

export const NOIOMMU_PARAMETER = '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode';

/** Why a device must not be changed without --force, or undefined. */
export function refusal(device: PciDevice, routed: ReadonlySet<string>): string | undefined {
  const active = device.interfaces.find(({ name }) => routed.has(name));
  if (active) {
    return (
      `${device.address}: routing table indicates that interface ${active.name} is active; ` +
      `take it down (ip link set dev ${active.name} down) or, if its connections may be lost, use --force`
    );
  }
  const up = device.interfaces.find((candidate) => candidate.up);
  if (up) {
    return `${device.address}: interface ${up.name} is up; take it down (ip link set dev ${up.name} down) or use --force`;
  }
  return undefined;
}

/** Whether vfio-pci needs its no-IOMMU mode for a device, or why that is not possible. */
export type Noiommu = { readonly enable: boolean } | { readonly reason: string };

/** @param parameter text of the module parameter; undefined when the kernel does not have it */
export function noiommu(device: PciDevice, driver: string, parameter: string | undefined, asked: boolean): Noiommu {
  if (driver !== 'vfio-pci' || device.hasIommuGroup || /^[Y1]/.test(parameter ?? '')) return { enable: false };
  if (parameter === undefined) {
    return {
      reason:
        `${device.address} is behind no IOMMU, which vfio-pci needs, and this kernel has no no-IOMMU mode (VFIO_NOIOMMU): ` +
        'turn the IOMMU on, in the firmware and with intel_iommu=on for Intel, or bind to uio_pci_generic',
    };
  }
  if (asked) return { enable: true };
  return { reason: `${device.address}: IOMMU support is disabled, use --noiommu-mode for binding in noiommu mode` };
}

const overrideWrite = (address: string, driver: string): Write => ({
  path: `${DEVICES}/${address}/driver_override`,
  text: driver === '' ? '\n' : driver, // an empty write would not reach the kernel
});

export const unbindWrite = (address: string, driver: string): Write => ({
  path: `${DRIVERS}/${driver}/unbind`,
  text: address,
});

/**
 * The writes that move a device from its current driver to another. The override is written first: if that is not allowed,
 * nothing has changed. It is cleared at the end, so that any driver can take the device later. A driver with a table of its
 * devices gets no override, which would make it accept an unknown device.
 */
export function bindWrites(device: PciDevice, driver: string): Write[] {
  const { address } = device;
  const overridden = dpdkDrivers.includes(driver);
  const writes: Write[] = [];
  if (overridden || device.override !== '') writes.push(overrideWrite(address, overridden ? driver : ''));
  if (device.driver !== undefined) writes.push(unbindWrite(address, device.driver));
  writes.push({ path: `${DRIVERS}/${driver}/bind`, text: address });
  if (overridden) writes.push(overrideWrite(address, ''));
  return writes;
}

/** The writes that restore a device's previous state after a failed bind. */
export function restoreWrites(now: PciDevice, before: PciDevice): Write[] {
  const writes: Write[] = [];
  let override = now.override;
  if (now.driver !== before.driver) {
    if (before.driver === undefined) writes.push(unbindWrite(now.address, now.driver!));
    else {
      writes.push(...bindWrites(now, before.driver));
      override = '';
    }
  }
  if (override !== before.override) writes.push(overrideWrite(now.address, before.override));
  return writes;
}
