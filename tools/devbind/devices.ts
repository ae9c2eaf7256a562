/** The PCI devices of a machine, from sysfs. */
import type { Identity } from './groups.js';
import type { Machine } from './machine.js';

export const DEVICES = '/sys/bus/pci/devices';
export const DRIVERS = '/sys/bus/pci/drivers';

/** Drivers that give a program access to a device, for DPDK: they accept any device with a matching driver_override. */
export const dpdkDrivers: readonly string[] = ['igb_uio', 'vfio-pci', 'uio_pci_generic'];

export interface Interface {
  readonly name: string;
  readonly up: boolean;
}

export interface PciDevice extends Identity {
  /** domain:bus:slot.function, in the format of sysfs. */
  readonly address: string;
  readonly modalias: string;
  readonly driver: string | undefined;
  /** Content of driver_override, '' when it is not set. */
  readonly override: string;
  readonly hasIommuGroup: boolean;
  readonly interfaces: readonly Interface[];
}

export function readDevices(machine: Machine): PciDevice[] {
  return machine.list(DEVICES).map((address) => readDevice(machine, address));
}

export function readDevice(machine: Machine, address: string): PciDevice {
  const folder = `${DEVICES}/${address}`;
  const text = (name: string) => (machine.read(`${folder}/${name}`) ?? '').trim();
  /** An id in hexadecimal, without 0x. */
  const id = (name: string) => text(name).replace(/^0x/, '').toLowerCase();
  const override = text('driver_override');
  return {
    address,
    classCode: id('class'),
    vendor: id('vendor'),
    device: id('device'),
    modalias: text('modalias'),
    driver: machine.linkName(`${folder}/driver`),
    override: override === '(null)' ? '' : override,
    hasIommuGroup: machine.linkName(`${folder}/iommu_group`) !== undefined,
    interfaces: readInterfaces(machine, folder),
  };
}

const IFF_UP = 1;

/**
 * Interfaces in the device's own `net` folder or, for buses on top of PCI such as virtio, in that of a child. Links are not
 * followed: some lead to other devices, such as the virtual functions of this one.
 */
function readInterfaces(machine: Machine, folder: string): Interface[] {
  const parents = [folder, ...machine.folders(folder).map((name) => `${folder}/${name}`)];
  return parents.flatMap((parent) =>
    machine.list(`${parent}/net`).map((name) => {
      const flags = Number(machine.read(`${parent}/net/${name}/flags`) ?? 0);
      const state = machine.read(`${parent}/net/${name}/operstate`)?.trim();
      return { name, up: (flags & IFF_UP) !== 0 || state === 'up' };
    }),
  );
}
