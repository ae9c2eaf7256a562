/**
 * The vfio groups and containers of one process. All groups with an IOMMU share a container, so that packet memory is mapped
 * once for all devices; groups without an IOMMU have another one. The kernel opens a group only once, so the devices of one
 * group share it too.
 */
import { VirtioPmdError } from '../../../../native/errors.js';
import * as V from '../../../wire/linux/vfio.js';
import { groupMembers, isNoIommuGroup, type PciDevice } from '../sysfs.js';
import { errnoOf, words, type PciSystem } from '../system.js';
import { VfioContainer } from './container.js';
import { askGroup } from './info.js';

interface Group {
  readonly number: string;
  readonly fd: number;
  readonly noIommu: boolean;
  readonly container: VfioContainer;
  /** Addresses of the open devices. */
  readonly devices: Set<string>;
}

/** An open device. */
export interface VfioHandle {
  readonly fd: number;
  readonly noIommu: boolean;
  readonly container: VfioContainer;
  /**
   * Releases the device, and what no other device uses. The descriptor stays open, but has no device any more.
   * @throws SystemError
   */
  release(): void;
  /** Releases the device and closes the descriptor. Never throws. */
  close(): void;
}

/** All of vfio that one process uses. */
export class Vfio {
  private readonly groups = new Map<string, Group>();
  private readonly containers = new Map<boolean, VfioContainer>();

  constructor(readonly system: PciSystem) {}

  /** Opens a device. @throws VirtioPmdError with the reason and what to do */
  open(device: PciDevice): VfioHandle {
    const { address } = device;
    const group = this.join(device);
    try {
      if (group.devices.has(address)) {
        throw new VirtioPmdError('ESTATE', `${address} is attached already: detach it first`);
      }
      const fd = this.openDevice(group, address);
      group.devices.add(address);
      const { noIommu, container } = group;
      const letGo = () => {
        if (group.devices.delete(address)) this.leave(group);
      };
      const release = () => {
        this.system.hollowOut(fd);
        letGo();
      };
      const close = () => {
        this.system.close(fd);
        letGo();
      };
      return { fd, noIommu, container, release, close };
    } catch (error) {
      this.leave(group);
      throw error;
    }
  }

  private openDevice(group: Group, address: string): number {
    try {
      const name = new TextEncoder().encode(`${address}\0`);
      return this.system.ioctl(group.fd, 'VFIO_GROUP_GET_DEVICE_FD', name);
    } catch (error) {
      throw new VirtioPmdError('ESYSTEM', `vfio does not open ${address} (${words(error)}): see dmesg`);
    }
  }

  // ---- groups ----------------------------------------------------------------------------------------------------------

  private join(device: PciDevice): Group {
    const { address, iommuGroup: number } = device;
    if (number === undefined) {
      throw new VirtioPmdError(
        'ECONFIG',
        `${address} has no IOMMU group: enable the IOMMU (intel_iommu=on), or vfio's no-IOMMU mode, or use uio_pci_generic`,
      );
    }
    const known = this.groups.get(number);
    if (known !== undefined) return known;
    const { fd, noIommu } = openGroup(this.system, number, address);
    try {
      this.checkViable(fd, number);
      const group = { number, fd, noIommu, container: this.enter(fd, noIommu), devices: new Set<string>() };
      this.groups.set(number, group);
      return group;
    } catch (error) {
      this.system.close(fd);
      throw error;
    }
  }

  /** Closes a group that has no open device any more. */
  private leave(group: Group): void {
    if (group.devices.size > 0) return;
    this.groups.delete(group.number);
    if (group.container.remove(group.fd)) this.containers.delete(group.noIommu);
    this.system.close(group.fd);
  }

  private checkViable(fd: number, number: string): void {
    const flags = askGroup((bytes) => this.system.ioctl(fd, 'VFIO_GROUP_GET_STATUS', bytes));
    if ((flags & V.VFIO_GROUP_FLAGS_VIABLE) !== 0) return;
    const others = groupMembers(number, this.system.root).filter(({ driver }) => !isHarmless(driver));
    const list = others.map(({ address, driver }) => `${address} (${driver})`).join(', ');
    const command = others.map(({ address }) => address).join(' ');
    throw new VirtioPmdError(
      'ECONFIG',
      others.length === 0
        ? `IOMMU group ${number} is not viable: bind all its devices to vfio-pci`
        : `IOMMU group ${number} is not viable, as other drivers have part of it: ${list}; bind all of it: devbind -b vfio-pci ${command}`,
    );
  }

  /** Adds a group to the container of its kind, which is made if there is none. */
  private enter(groupFd: number, noIommu: boolean): VfioContainer {
    const container = this.containers.get(noIommu) ?? VfioContainer.open(this.system, noIommu);
    try {
      container.add(groupFd);
    } catch (error) {
      if (container.empty) container.close();
      if (error instanceof VirtioPmdError && error.code !== 'ESYSTEM') throw error;
      throw new VirtioPmdError('ESYSTEM', `vfio does not take the IOMMU group (${words(error)}): see dmesg`);
    }
    this.containers.set(noIommu, container);
    return container;
  }
}

/** Kernel drivers that do no DMA: vfio allows other devices of the group to be bound to them. */
function isHarmless(driver: string | undefined): boolean {
  return driver === undefined || driver === 'pci-stub' || driver === 'pcieport' || /^vfio/.test(driver);
}

function openGroup(system: PciSystem, number: string, address: string): { fd: number; noIommu: boolean } {
  for (const noIommu of [false, true]) {
    const path = `/dev/vfio/${noIommu ? 'noiommu-' : ''}${number}`;
    try {
      return { fd: system.open(path), noIommu };
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw whyNotOpen(error, path, noIommu);
    }
  }
  const name = isNoIommuGroup(number, system.root) ? `noiommu-${number}` : number;
  throw new VirtioPmdError(
    'ECONFIG',
    `there is no /dev/vfio/${name} for ${address}: load the module (modprobe vfio-pci), or give this container /dev/vfio`,
  );
}

function whyNotOpen(error: unknown, path: string, noIommu: boolean): VirtioPmdError {
  const remedy: Record<string, string> = {
    EBUSY: 'another process has it, perhaps a virtual machine or another DPDK program: end that',
    EACCES: `run as root, or give this user ${path}`,
    EPERM: noIommu
      ? 'the no-IOMMU mode needs CAP_SYS_RAWIO: run as root with it (a container: --cap-add SYS_RAWIO)'
      : 'run as root, or give this container the device',
  };
  return new VirtioPmdError('ESYSTEM', `${words(error)}: ${remedy[errnoOf(error)] ?? 'see dmesg'}`);
}
