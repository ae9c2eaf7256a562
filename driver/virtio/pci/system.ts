/** The system calls of the bus drivers, as one object that tests replace by a mock kernel. */
import * as file from '../../../native/device-file.js';
import { createEventFd, drainFd } from '../../../native/event.js';
import { closeFd, mapFd, newHolders, unmap, type Mapping } from '../../../native/region.js';
import * as linux from '../../wire/linux/vfio.js';

export { attempt, errnoOf, words } from '../../../native/errors.js';

/** The ioctls of vfio, by name. */
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

/** Calls throw a SystemError when they fail, unless their comment says otherwise. */
export interface PciSystem {
  /** Path of the root folder: '' except in tests. */
  readonly root: string;
  /** Opens a file for reading and writing (O_RDWR, O_NONBLOCK). @param path absolute, within `root`. */
  open(path: string): number;
  /** Never fails. */
  close(fd: number): void;
  /** @returns the number of bytes read */
  readAt(fd: number, bytes: Uint8Array, position: number): number;
  writeAt(fd: number, bytes: Uint8Array, position: number): number;
  /** @returns the number of bytes read, 0 when there are none yet */
  read(fd: number, bytes: Uint8Array): number;
  write(fd: number, bytes: Uint8Array): void;
  ioctl(fd: number, request: VfioRequest, argument: number | Uint8Array): number;
  map(fd: number, byteLength: number, position: number): Mapping;
  unmap(mapping: Mapping): void;
  /** Releases a file, or a mapping, that other threads may still use. See native/device-file.ts. */
  hollowOut(fd: number): void;
  hollowOutMapping(mapping: Mapping): void;
  createEventFd(): number;
  /** Resets an eventfd to 0. @returns whether it had been signalled */
  drain(fd: number): boolean;
  /** A clock in milliseconds. */
  now(): number;
}

/** The real system, with another root folder if one is given. */
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
