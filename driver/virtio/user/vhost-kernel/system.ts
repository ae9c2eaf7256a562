/** The system calls of the vhost-kernel back-end, as one object that tests replace by a mock kernel. */
import { readFileSync } from 'node:fs';
import * as file from '../../../../native/device-file.js';
import { VirtioPmdError } from '../../../../native/errors.js';
import { pollFd } from '../../../../native/event.js';
import { closeFd } from '../../../../native/region.js';
import { openInterfaceSocket } from '../../../../native/socket.js';
import { errnoOf, words } from '../../pci/system.js';
import * as tun from '../../../wire/linux/if-tun.js';
import * as sockios from '../../../wire/linux/sockios.js';
import * as vhost from '../../../wire/linux/vhost.js';

const requests = {
  TUNGETFEATURES: tun.TUNGETFEATURES,
  TUNSETIFF: tun.TUNSETIFF,
  TUNGETIFF: tun.TUNGETIFF,
  TUNSETQUEUE: tun.TUNSETQUEUE,
  TUNSETVNETHDRSZ: tun.TUNSETVNETHDRSZ,
  TUNSETSNDBUF: tun.TUNSETSNDBUF,
  TUNSETOFFLOAD: tun.TUNSETOFFLOAD,
  TUNSETTXFILTER: tun.TUNSETTXFILTER,
  SIOCGIFFLAGS: sockios.SIOCGIFFLAGS,
  SIOCSIFFLAGS: sockios.SIOCSIFFLAGS,
  SIOCGIFHWADDR: sockios.SIOCGIFHWADDR,
  SIOCSIFHWADDR: sockios.SIOCSIFHWADDR,
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
export interface KernelSystem {
  /** Opens a file for reading and writing (O_RDWR, O_NONBLOCK). @returns a descriptor */
  open(path: string): number;
  /** A socket for the ioctls of interfaces (netdevice(7)). */
  openInterfaceSocket(): number;
  /** Never fails. */
  close(fd: number): void;
  ioctl(fd: number, request: KernelRequest, argument: number | Uint8Array): number;
  /** poll(2) without requested events. @returns POLLERR, POLLHUP or 0 */
  pollErrors(fd: number): number;
  readText(path: string): string;
}

/** The real system calls. */
export const kernelSystem: KernelSystem = {
  open: file.openDeviceFile,
  openInterfaceSocket,
  close: closeFd,
  ioctl: (fd, request, argument) => file.ioctl(fd, requests[request], argument, request),
  pollErrors: (fd) => pollFd(fd, 0, 0),
  readText: (path) => readFileSync(path, 'utf8'),
};

/**
 * A failed system call as an ESYSTEM of one sentence with what to do.
 * @param remedies by errno
 * @param otherwise for every other errno
 */
export function failedCall(
  what: string,
  error: unknown,
  remedies: Readonly<Record<string, string>>,
  otherwise = 'see dmesg',
): VirtioPmdError {
  const remedy = remedies[errnoOf(error)] ?? otherwise;
  return new VirtioPmdError('ESYSTEM', `${what} (${words(error)}): ${remedy}`, { cause: error });
}

/** A 32-bit argument that an ioctl takes by address. */
export function intArgument(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}

/** A 64-bit argument that an ioctl takes by address. */
export function longArgument(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}
