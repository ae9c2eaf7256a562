/** The system calls of the vhost-vdpa back-end, as one object that tests replace by a mock kernel. */
import { existsSync, fstatSync } from 'node:fs';
import { ioctl, openDeviceFile, writeNow } from '../../../../native/device-file.js';
import { createEventFd, drainFd, signalFd } from '../../../../native/event.js';
import { closeFd } from '../../../../native/region.js';
import * as linux from '../../../wire/linux/vhost.js';

/** The ioctls of linux/vhost.h that are used, by name. */
export type VdpaRequest =
  | 'VHOST_SET_OWNER'
  | 'VHOST_GET_FEATURES'
  | 'VHOST_SET_FEATURES'
  | 'VHOST_GET_BACKEND_FEATURES'
  | 'VHOST_SET_BACKEND_FEATURES'
  | 'VHOST_SET_VRING_NUM'
  | 'VHOST_SET_VRING_BASE'
  | 'VHOST_SET_VRING_ADDR'
  | 'VHOST_SET_VRING_KICK'
  | 'VHOST_SET_VRING_CALL'
  | 'VHOST_VDPA_GET_DEVICE_ID'
  | 'VHOST_VDPA_GET_STATUS'
  | 'VHOST_VDPA_SET_STATUS'
  | 'VHOST_VDPA_GET_CONFIG'
  | 'VHOST_VDPA_SET_CONFIG'
  | 'VHOST_VDPA_GET_CONFIG_SIZE'
  | 'VHOST_VDPA_SET_CONFIG_CALL'
  | 'VHOST_VDPA_GET_VQS_COUNT'
  | 'VHOST_VDPA_GET_VRING_NUM'
  | 'VHOST_VDPA_SET_VRING_ENABLE'
  | 'VHOST_VDPA_GET_IOVA_RANGE';

/** Calls throw a SystemError when they fail, unless their comment says otherwise. */
export interface VdpaSystem {
  open(path: string): number;
  /** Never fails. */
  close(fd: number): void;
  ioctl(fd: number, request: VdpaRequest, argument: number | Uint8Array): number;
  write(fd: number, bytes: Uint8Array): void;
  /** Path in sysfs of the device behind a file; `exists` says whether it is still there. Never fails. */
  entryOf(fd: number): string;
  exists(entry: string): boolean;
  createEventFd(): number;
  /** Never fails. */
  signal(fd: number): void;
  /** Resets an eventfd to 0. @returns whether it had been signalled */
  drain(fd: number): boolean;
}

/** The real system calls. */
export const vdpaSystem: VdpaSystem = {
  open: openDeviceFile,
  close: closeFd,
  ioctl: (fd, request, argument) => ioctl(fd, linux[request], argument, request),
  write: writeNow,
  entryOf: (fd) => {
    const { rdev } = fstatSync(fd);
    // as gnu_dev_major and gnu_dev_minor, for 32-bit device numbers
    return `/sys/dev/char/${(rdev >>> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`;
  },
  exists: existsSync,
  createEventFd,
  signal: (fd) => void signalFd(fd),
  drain: drainFd,
};
