/**
 * A vfio container: the address space of an IOMMU, or none in no-IOMMU mode, for the groups in it (the kernel's
 * Documentation/driver-api/vfio.rst).
 */
import { SystemError, VirtioPmdError } from '../../../../native/errors.js';
import { formatMiB } from '../../../../native/sizes.js';
import type { AddressRange } from '../../../eal/addressing.js';
import * as V from '../../../wire/linux/vfio.js';
import { attempt, errnoOf, words, type PciSystem } from '../system.js';
import { hex } from '../../../../native/hex.js';
import { askRanges, dmaMap, dmaUnmap } from './info.js';

const CONTAINER = '/dev/vfio/vfio';
const NOIOMMU_PARAMETER = '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode';

interface DmaMapping {
  readonly byteLength: number;
  readonly userAddress: bigint;
  readonly deviceAddress: bigint;
  /** The number of devices that use the mapping. */
  users: number;
}

const int32 = (value: number) => new Uint8Array(Int32Array.of(value).buffer);

/** An open container. */
export class VfioContainer {
  private groups = 0;
  private readonly mappings: DmaMapping[] = [];

  private constructor(
    private readonly system: PciSystem,
    private readonly fd: number,
    private readonly noIommu: boolean,
  ) {}

  /** @throws VirtioPmdError when there is no vfio, or none of a supported version */
  static open(system: PciSystem, noIommu: boolean): VfioContainer {
    const fd = openContainer(system);
    try {
      const version = system.ioctl(fd, 'VFIO_GET_API_VERSION', 0);
      if (version === V.VFIO_API_VERSION) return new VfioContainer(system, fd, noIommu);
      throw new VirtioPmdError(
        'ECONFIG',
        `vfio has API version ${version}, ${V.VFIO_API_VERSION} is expected: use a kernel that has it`,
      );
    } catch (error) {
      system.close(fd);
      throw error;
    }
  }

  /** Adds a group. The first one determines the kind of IOMMU. @throws SystemError, VirtioPmdError ECONFIG */
  add(groupFd: number): void {
    const { system } = this;
    system.ioctl(groupFd, 'VFIO_GROUP_SET_CONTAINER', int32(this.fd));
    try {
      if (this.groups === 0) system.ioctl(this.fd, 'VFIO_SET_IOMMU', this.chooseIommu());
    } catch (error) {
      attempt(() => system.ioctl(groupFd, 'VFIO_GROUP_UNSET_CONTAINER', 0));
      throw error;
    }
    this.groups++;
  }

  /** Removes a group, whose devices must be closed. @returns true when it was the last; the container is closed then */
  remove(groupFd: number): boolean {
    attempt(() => this.system.ioctl(groupFd, 'VFIO_GROUP_UNSET_CONTAINER', 0));
    this.groups--;
    if (this.groups > 0) return false;
    this.close();
    return true;
  }

  /** True when no group is in it. */
  get empty(): boolean {
    return this.groups === 0;
  }

  close(): void {
    this.system.close(this.fd);
  }

  private chooseIommu(): number {
    const kinds = this.noIommu ? [V.VFIO_NOIOMMU_IOMMU] : [V.VFIO_TYPE1v2_IOMMU, V.VFIO_TYPE1_IOMMU];
    const kind = kinds.find((extension) => this.system.ioctl(this.fd, 'VFIO_CHECK_EXTENSION', extension) > 0);
    if (kind !== undefined) return kind;
    throw new VirtioPmdError(
      'ECONFIG',
      this.noIommu
        ? `vfio's no-IOMMU mode is switched off: switch it on (echo 1 >${NOIOMMU_PARAMETER})`
        : 'vfio has no driver for the IOMMU of this machine: load one (modprobe vfio_iommu_type1)',
    );
  }

  /** Addresses that all groups in it can use. They are asked for each time, as a further group may reserve some. */
  ranges(): readonly AddressRange[] {
    return askRanges((bytes) => this.system.ioctl(this.fd, 'VFIO_IOMMU_GET_INFO', bytes));
  }

  /**
   * Maps memory for the devices, once for all of them.
   * @returns a function that undoes it and never throws
   * @throws VirtioPmdError EMEMORY
   */
  map(userAddress: bigint, byteLength: number, deviceAddress: bigint): () => void {
    const mapping = this.mappingOf(userAddress, byteLength, deviceAddress);
    mapping.users++;
    return () => this.release(mapping);
  }

  private mappingOf(userAddress: bigint, byteLength: number, deviceAddress: bigint): DmaMapping {
    const same = (other: DmaMapping) =>
      other.userAddress === userAddress && other.byteLength === byteLength && other.deviceAddress === deviceAddress;
    const known = this.mappings.find(same);
    if (known !== undefined) return known;
    try {
      this.system.ioctl(this.fd, 'VFIO_IOMMU_MAP_DMA', dmaMap(userAddress, byteLength, deviceAddress));
    } catch (error) {
      throw whyNotMapped(error, byteLength, deviceAddress);
    }
    const mapping = { userAddress, byteLength, deviceAddress, users: 0 };
    this.mappings.push(mapping);
    return mapping;
  }

  private release(mapping: DmaMapping): void {
    if (--mapping.users > 0) return;
    this.mappings.splice(this.mappings.indexOf(mapping), 1);
    const { byteLength, deviceAddress } = mapping;
    attempt(() => this.system.ioctl(this.fd, 'VFIO_IOMMU_UNMAP_DMA', dmaUnmap(byteLength, deviceAddress)));
  }
}

function openContainer(system: PciSystem): number {
  try {
    return system.open(CONTAINER);
  } catch (error) {
    const remedy: Record<string, string> = {
      ENOENT: 'load the module (modprobe vfio-pci)',
      ENODEV: 'load the module (modprobe vfio-pci)',
      EACCES: `run as root, or give this user ${CONTAINER}`,
      EPERM: `run as root, or give this user ${CONTAINER}`,
    };
    throw new VirtioPmdError(
      'ESYSTEM',
      `vfio is not there (${words(error)}): ${remedy[errnoOf(error)] ?? 'see dmesg'}`,
    );
  }
}

function whyNotMapped(error: unknown, byteLength: number, deviceAddress: bigint): unknown {
  if (!(error instanceof SystemError)) return error;
  const what = `${formatMiB(byteLength)} of packet memory at ${hex(deviceAddress)} cannot be mapped for DMA`;
  const why: Record<string, string> = {
    ENOMEM: 'more memory would be locked than this user may: raise the limit (ulimit -l unlimited), or run as root',
    EEXIST: 'these addresses are mapped already',
    EINVAL: 'the IOMMU does not translate these addresses',
    ENOSPC: 'too many mappings: raise the parameter dma_entry_limit of the module vfio_iommu_type1',
  };
  return new VirtioPmdError('EMEMORY', `${what} (${error.message}): ${why[error.errno] ?? 'see dmesg'}`);
}
