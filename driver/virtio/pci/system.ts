/** The system calls under the bus drivers, as one object: tests put a kernel of their own in its place. */
import * as file from '../../../native/device-file.js';
import { SystemError } from '../../../native/errors.js';
import { createEventFd, drainFd } from '../../../native/event.js';
import { closeFd, mapFd, newHolders, unmap, type Mapping } from '../../../native/region.js';
import * as linux from '../../wire/linux/vfio.js';

export type VfioRequest =
  | 'VFIO_GET_API_VERSION'
  | 'VFIO_CHECK_EXTENSION'
  | 'VFIO_SET_IOMMU'
  | 'VFIO_GROUP_GET_STATUS'
  | 'VFIO_GROUP_SET_CONTAINER'
  | 'VFIO_GROUP_UNSET_CONTAINER'
  | 'VFIO_GROUP_GET_DEVICE_FD'
  | 'VFIO_DEVICE_GET_INFO'
  | 'VFIO_DEVICE_GET_REGION_INFO'
  | 'VFIO_DEVICE_GET_IRQ_INFO'
  | 'VFIO_DEVICE_SET_IRQS'
  | 'VFIO_DEVICE_RESET'
  | 'VFIO_IOMMU_GET_INFO'
  | 'VFIO_IOMMU_MAP_DMA'
  | 'VFIO_IOMMU_UNMAP_DMA';

/** Every call throws a SystemError when it fails, but those of which something else is said. */
export interface PciSystem {
  /** Where / is: '' but in tests. */
  readonly root: string;
  /** For reading and writing, without waiting. `path` is absolute, below `root`. */
  open(path: string): number;
  /** Never fails. */
  close(fd: number): void;
  /** @returns how many bytes there were */
  readAt(fd: number, bytes: Uint8Array, position: number): number;
  writeAt(fd: number, bytes: Uint8Array, position: number): number;
  /** @returns how many bytes there were, 0 when there are none yet */
  read(fd: number, bytes: Uint8Array): number;
  write(fd: number, bytes: Uint8Array): void;
  ioctl(fd: number, request: VfioRequest, argument: number | Uint8Array): number;
  map(fd: number, byteLength: number, position: number): Mapping;
  unmap(mapping: Mapping): void;
  /** Gives up a file, or a mapping, that other threads may still use. See native/device-file.ts. */
  hollowOut(fd: number): void;
  hollowOutMapping(mapping: Mapping): void;
  createEventFd(): number;
  /** Reads an eventfd empty. @returns whether it had been signalled */
  drain(fd: number): boolean;
  /** Milliseconds from some moment on. */
  now(): number;
}

/** The system as it is, or with / elsewhere. */
export function systemAt(root = ''): PciSystem {
  return {
    root,
    open: (path) => file.openDeviceFile(root + path),
    close: closeFd,
    readAt: file.readAt,
    writeAt: file.writeAt,
    read: file.readNow,
    write: file.writeNow,
    ioctl: (fd, request, argument) => file.ioctl(fd, linux[request], argument, request),
    map: (fd, byteLength, position) => ({
      byteLength,
      address: mapFd(fd, byteLength, position),
      holders: newHolders(),
    }),
    unmap,
    hollowOut: file.hollowOut,
    hollowOutMapping: file.hollowOutMapping,
    createEventFd,
    drain: drainFd,
    now: () => performance.now(),
  };
}

/** Name of the errno behind an error; '' when it is no system call's. */
export function errnoOf(error: unknown): string {
  return error instanceof SystemError ? error.errno : '';
}

/** What an error says, to go into another's sentence. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs the steps of a clean-up, each of them even if one before it fails. */
export function attempt(...steps: (() => void)[]): void {
  for (const step of steps) {
    try {
      step();
    } catch {
      // the device may be gone, and with it what there was to give back
    }
  }
}
