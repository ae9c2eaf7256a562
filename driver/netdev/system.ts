/** The system calls about interfaces of the kernel, as one object that tests replace by a mock kernel. */
import * as file from '../../native/device-file.js';
import { errnoOf, VirtioPmdError, words } from '../../native/errors.js';
import { pollFd } from '../../native/event.js';
import { closeFd } from '../../native/region.js';
import { openInterfaceSocket } from '../../native/socket.js';
import * as tun from '../wire/linux/if-tun.js';
import * as sockios from '../wire/linux/sockios.js';

export const netRequests = {
  TUNGETFEATURES: tun.TUNGETFEATURES,
  TUNSETIFF: tun.TUNSETIFF,
  TUNGETIFF: tun.TUNGETIFF,
  TUNSETPERSIST: tun.TUNSETPERSIST,
  TUNSETQUEUE: tun.TUNSETQUEUE,
  TUNSETVNETHDRSZ: tun.TUNSETVNETHDRSZ,
  TUNSETSNDBUF: tun.TUNSETSNDBUF,
  TUNSETOFFLOAD: tun.TUNSETOFFLOAD,
  TUNSETTXFILTER: tun.TUNSETTXFILTER,
  SIOCGIFNAME: sockios.SIOCGIFNAME,
  SIOCGIFINDEX: sockios.SIOCGIFINDEX,
  SIOCGIFFLAGS: sockios.SIOCGIFFLAGS,
  SIOCSIFFLAGS: sockios.SIOCSIFFLAGS,
  SIOCGIFMTU: sockios.SIOCGIFMTU,
  SIOCSIFMTU: sockios.SIOCSIFMTU,
  SIOCGIFHWADDR: sockios.SIOCGIFHWADDR,
  SIOCSIFHWADDR: sockios.SIOCSIFHWADDR,
} as const;

/** The ioctls that are used, by name. */
export type NetRequest = keyof typeof netRequests;

/** Calls throw a SystemError when they fail, unless their comment says otherwise. */
export interface NetSystem {
  /** Opens a file for reading and writing (O_RDWR, O_NONBLOCK). @returns a descriptor */
  open(path: string): number;
  /** A socket for the ioctls of interfaces (netdevice(7)). */
  openInterfaceSocket(): number;
  /** Never fails. */
  close(fd: number): void;
  ioctl(fd: number, request: NetRequest, argument: number | Uint8Array): number;
  /** poll(2) without requested events. @returns POLLERR, POLLHUP or 0 */
  pollErrors(fd: number): number;
}

/** The real system calls. */
export const netSystem: NetSystem = {
  open: file.openDeviceFile,
  openInterfaceSocket,
  close: closeFd,
  ioctl: (fd, request, argument) => file.ioctl(fd, netRequests[request], argument, request),
  pollErrors: (fd) => pollFd(fd, 0, 0),
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
