/** Makes a tap device, or opens an existing one, and explains every failure (the kernel's Documentation/networking/tuntap.rst). */
import { attempt, errnoOf, VirtioPmdError } from '../../native/errors.js';
import * as T from '../wire/linux/if-tun.js';
import { failedCall, type NetSystem } from './system.js';
import { checkInterfaceName, flagsOf, flagsRequest, nameOf } from './ifreq.js';
import { Tap } from './tap.js';

const TUN_FILE = '/dev/net/tun';
const DEFAULT_NAME = 'tap%d';

/** Which tap to open. */
export interface TapRequest {
  /** The name; undefined: the next that is free, by the pattern. */
  readonly iface: string | undefined;
  /** A pattern for names that are not given. Default: tap%d, where the kernel replaces %d by the lowest free number. */
  readonly pattern?: string;
  readonly queues: number;
}

/** IFF_* bits that the kernel supports for taps. @throws VirtioPmdError ESYSTEM; ECONFIG without IFF_VNET_HDR */
export function tapFeatures(system: NetSystem): number {
  const fd = openTunFile(system);
  try {
    const answer = new Uint8Array(4);
    system.ioctl(fd, 'TUNGETFEATURES', answer);
    const features = new DataView(answer.buffer).getUint32(0, true);
    if ((features & T.IFF_VNET_HDR) !== 0) return features;
  } catch (error) {
    throw failedCall(`${TUN_FILE} does not tell its features`, error, {}, 'is it the file of the tun driver?');
  } finally {
    system.close(fd);
  }
  throw new VirtioPmdError('ECONFIG', 'TAP does not support IFF_VNET_HDR: use a kernel that does, 2.6.27 or later');
}

function openTunFile(system: NetSystem): number {
  const load = 'load the module with "modprobe tun"';
  const permission = `run as root, or have root allow it with "chmod 666 ${TUN_FILE}"`;
  try {
    return system.open(TUN_FILE);
  } catch (error) {
    const remedies = { ENOENT: load, ENODEV: load, ENXIO: load, EACCES: permission, EPERM: permission };
    throw failedCall('tap devices are not available', error, remedies);
  }
}

/**
 * Opens a tap with `queues` queues. The kernel deletes a tap that was made here with its last descriptor; a persistent one
 * remains.
 * @param features as `tapFeatures` returned them
 * @throws VirtioPmdError EDEVARGS, ECONFIG, ESYSTEM; nothing stays open then
 */
export function openTap(system: NetSystem, { iface, pattern, queues }: TapRequest, features: number): Tap {
  if (iface !== undefined) checkInterfaceName(iface);
  const existed = iface !== undefined && interfaceExists(system, iface);
  const wanted = T.IFF_TAP | T.IFF_NO_PI | T.IFF_VNET_HDR | (features & (T.IFF_NAPI | T.IFF_MULTI_QUEUE));
  const fds: number[] = [];
  const open = (name: string, flags: number) => {
    const { fd, ...answer } = openQueue(system, name, flags);
    fds.push(fd);
    return answer;
  };
  let name = iface ?? pattern ?? DEFAULT_NAME;
  try {
    const first = openFirst(name, wanted, open);
    name = first.name;
    checkTap(first.flags, name, queues, existed);
    while (fds.length < queues) open(name, first.flags & wanted);
    return new Tap(system, { name, multiQueue: (first.flags & T.IFF_MULTI_QUEUE) !== 0, fds });
  } catch (error) {
    attempt(...fds.map((fd) => () => system.close(fd)));
    throw errnoOf(error) === '' ? error : whyNoTap(error, name, existed);
  }
}

/** Opens one more queue of a tap that has several. @throws VirtioPmdError ECONFIG, ESYSTEM; nothing stays open then */
export function addTapQueue(system: NetSystem, tap: Tap): void {
  const { name, flags } = tap.current();
  try {
    tap.adopt(openQueue(system, name, flags & ~T.IFF_PERSIST).fd);
  } catch (error) {
    throw errnoOf(error) === '' ? error : whyNoTap(error, name, true);
  }
}

/** @throws VirtioPmdError, SystemError; nothing stays open then */
function openQueue(system: NetSystem, name: string, flags: number): { fd: number; name: string; flags: number } {
  const fd = openTunFile(system);
  try {
    system.ioctl(fd, 'TUNSETIFF', flagsRequest(name, flags));
    const answer = flagsRequest(name);
    system.ioctl(fd, 'TUNGETIFF', answer);
    return { fd, name: nameOf(answer), flags: flagsOf(answer) };
  } catch (error) {
    system.close(fd);
    throw error;
  }
}

/** Opens the first queue. A kernel, or a tap, that does not support several queues refuses them; then it is opened with one. */
function openFirst<T>(name: string, wanted: number, open: (name: string, flags: number) => T): T {
  if ((wanted & T.IFF_MULTI_QUEUE) === 0) return open(name, wanted);
  try {
    return open(name, wanted);
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
    return open(name, wanted & ~T.IFF_MULTI_QUEUE);
  }
}

function checkTap(flags: number, name: string, queues: number, existed: boolean): void {
  if ((flags & T.IFF_VNET_HDR) === 0) {
    throw new VirtioPmdError(
      'ECONFIG',
      `tap ${name} does not support IFF_VNET_HDR: delete it, or choose another iface=`,
    );
  }
  // a tap that is not persistent exists only while a program has it open
  if (existed && (flags & T.IFF_PERSIST) === 0) throw taken(name);
  if (queues > 1 && (flags & T.IFF_MULTI_QUEUE) === 0) {
    throw new VirtioPmdError(
      'ECONFIG',
      `tap ${name} does not support multi queue: use queues=1, or make it anew with "ip tuntap add dev ${name} mode tap multi_queue vnet_hdr"`,
    );
  }
}

function taken(name: string): VirtioPmdError {
  return new VirtioPmdError('ECONFIG', `tap ${name} is in use by another port or program: choose another iface=`);
}

function whyNoTap(error: unknown, name: string, existed: boolean): VirtioPmdError {
  const errno = errnoOf(error);
  if (errno === 'EBUSY') return taken(name);
  if (errno === 'EINVAL' && existed) {
    return new VirtioPmdError('ECONFIG', `${name} is an interface already, and not a tap: choose another iface=`, {
      cause: error,
    });
  }
  const unnamed = name.includes('%');
  const known = unnamed ? 'NAME' : name;
  return failedCall(unnamed ? 'a tap cannot be made' : `tap ${name} cannot be opened`, error, {
    EPERM: `that takes CAP_NET_ADMIN: run as root, or have root run "ip tuntap add dev ${known} mode tap user $USER multi_queue vnet_hdr" and give iface=${known}`,
    E2BIG: 'it has no more queues: use fewer with queues=',
    ENFILE: 'there is no number left for its name: choose another iface=',
  });
}

/** Whether there is an interface of that name; false also for a pattern, and when the kernel does not answer. */
function interfaceExists(system: NetSystem, name: string): boolean {
  const socket = system.openInterfaceSocket();
  try {
    system.ioctl(socket, 'SIOCGIFFLAGS', flagsRequest(name));
    return true;
  } catch {
    return false;
  } finally {
    system.close(socket);
  }
}
