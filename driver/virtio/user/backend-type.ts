/**
 * Which kind of back-end the devarg `path` of a virtio_user device names (virtio_user_backend_type), and which devargs it
 * takes.
 */
import { readFileSync, statSync, type Stats } from 'node:fs';
import { VirtioPmdError } from '../../../native/errors.js';
import { MAX_SOCKET_PATH } from '../../../native/socket.js';

/** DPDK's virtio_user_backend_type. */
export type BackendType = 'VHOST_USER' | 'VHOST_NET' | 'VHOST_VDPA';

/** Major number of misc devices, /dev/vhost-net among them. */
const MISC_MAJOR = 10;

const majorOf = (stats: Stats) => (stats.rdev >> 8) & 0xfff;

/**
 * Looks at the file. A path where nothing exists yet is a socket that will be made, except for the paths of the kernel's devices.
 * @throws VirtioPmdError ESOCKET when the path is too long, cannot be accessed, or is neither a socket nor a vhost device
 */
export function backendTypeOf(path: string): BackendType {
  const length = Buffer.byteLength(path);
  if (length > MAX_SOCKET_PATH) {
    throw new VirtioPmdError(
      'ESOCKET',
      `path of ${length} bytes is too long for a socket, which holds at most ${MAX_SOCKET_PATH}: use a shorter directory (${path})`,
    );
  }
  let stats: Stats;
  try {
    stats = statSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return ofNothing(path);
    throw new VirtioPmdError('ESOCKET', `${path} cannot be accessed: ${code}; check its directories and permissions`);
  }
  if (stats.isSocket()) return 'VHOST_USER';
  if (stats.isCharacterDevice()) {
    if (majorOf(stats) === MISC_MAJOR) return 'VHOST_NET';
    if (majorOf(stats) === vdpaMajor()) return 'VHOST_VDPA';
  }
  const what = stats.isDirectory() ? 'a directory' : stats.isFile() ? 'a regular file' : 'a file of another kind';
  throw new VirtioPmdError(
    'ESOCKET',
    `unable to determine backend type for path ${path}: it is ${what}, neither a socket nor a vhost device; name the back-end's socket`,
  );
}

/** Paths of the kernel's devices: no socket will be made there, and a module is missing. */
const DEVICE_FILES: readonly (readonly [pattern: RegExp, remedy: string])[] = [
  [/^\/dev\/vhost-net$/, 'load the module with "modprobe vhost_net"'],
  [/^\/dev\/vhost-vdpa/, 'load the module with "modprobe vhost_vdpa", and bind a vDPA device to it'],
];

function ofNothing(path: string): BackendType {
  const [, remedy] = DEVICE_FILES.find(([pattern]) => pattern.test(path)) ?? [];
  if (remedy === undefined) return 'VHOST_USER';
  throw new VirtioPmdError('ESOCKET', `there is no ${path}: ${remedy}`);
}

function vdpaMajor(): number | undefined {
  try {
    const match = /^\s*(\d+) vhost-vdpa$/m.exec(readFileSync('/proc/devices', 'utf8'));
    return match ? Number(match[1]) : undefined;
  } catch {
    return undefined;
  }
}

/** Refuses devargs that this kind of back-end does not take. @throws VirtioPmdError EDEVARGS */
export function checkBackend(
  type: BackendType,
  args: { readonly server: boolean; readonly iface: string | undefined; readonly up: boolean },
): void {
  if (args.iface !== undefined && type !== 'VHOST_NET') {
    throw new VirtioPmdError(
      'EDEVARGS',
      `arg iface applies only to vhost-kernel backend: leave iface=${args.iface} out`,
    );
  }
  if (args.up && type !== 'VHOST_NET') {
    throw new VirtioPmdError('EDEVARGS', 'arg up applies only to vhost-kernel backend: leave up=1 out');
  }
  if (args.server && type !== 'VHOST_USER') {
    throw new VirtioPmdError('EDEVARGS', `Server mode only supports vhost-user! Leave server=1 out, or name a socket`);
  }
}
