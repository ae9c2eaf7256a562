/** The system calls of the vhost-kernel back-end, as one object that tests replace by a mock kernel. */
import { readFileSync } from 'node:fs';
import * as file from '../../../../native/device-file.js';
import { netSystem, netRequests, type NetSystem } from '../../../netdev/system.js';
import * as vhost from '../../../wire/linux/vhost.js';

const requests = {
  ...netRequests,
  VHOST_SET_OWNER: vhost.VHOST_SET_OWNER,
  VHOST_GET_FEATURES: vhost.VHOST_GET_FEATURES,
  VHOST_SET_FEATURES: vhost.VHOST_SET_FEATURES,
  VHOST_SET_MEM_TABLE: vhost.VHOST_SET_MEM_TABLE,
  VHOST_SET_VRING_NUM: vhost.VHOST_SET_VRING_NUM,
  VHOST_SET_VRING_BASE: vhost.VHOST_SET_VRING_BASE,
  VHOST_SET_VRING_ADDR: vhost.VHOST_SET_VRING_ADDR,
  VHOST_SET_VRING_KICK: vhost.VHOST_SET_VRING_KICK,
  VHOST_SET_VRING_CALL: vhost.VHOST_SET_VRING_CALL,
  VHOST_NET_SET_BACKEND: vhost.VHOST_NET_SET_BACKEND,
} as const;

/** The ioctls that are used, by name. */
export type KernelRequest = keyof typeof requests;

/** Calls throw a SystemError when they fail, unless their comment says otherwise. */
export interface KernelSystem extends NetSystem {
  ioctl(fd: number, request: KernelRequest, argument: number | Uint8Array): number;
  readText(path: string): string;
}

/** The real system calls. */
export const kernelSystem: KernelSystem = {
  ...netSystem,
  ioctl: (fd, request, argument) => file.ioctl(fd, requests[request], argument, request),
  readText: (path) => readFileSync(path, 'utf8'),
};

/** A 64-bit argument that an ioctl takes by address. */
export function longArgument(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}
