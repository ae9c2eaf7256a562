/**
 * Unix stream sockets that can pass file descriptors (SCM_RIGHTS), which Node's own cannot. This file moves bytes and
 * descriptors; the caller does the framing.
 */
import { lstatSync, readFileSync, unlinkSync } from 'node:fs';
import { closeApart } from './closer.js';
import { VirtioPmdError, SystemError } from './errors.js';
import { pollFd, POLLIN, POLLOUT } from './event.js';
import { addressOf, c, check, lastErrno } from './libc.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_PEEK = 0x2;
const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** sun_path holds 108 bytes with its terminating zero. */
export const MAX_SOCKET_PATH = 107;
/** SCM_MAX_FD: the most that one message carries. Without room for all, the kernel would close the rest within our call. */
const MAX_FDS = 253;

const MSGHDR_SIZE = 56; // name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48
const CMSGHDR_SIZE = 16; // len 0, level 8, type 12

function socketAddress(path: string): Uint8Array {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length > MAX_SOCKET_PATH) {
    throw new VirtioPmdError(
      'ESOCKET',
      `socket path of ${bytes.length} bytes is too long: a Unix socket path holds at most ${MAX_SOCKET_PATH} bytes; use a shorter directory (${path})`,
    );
  }
  const address = new Uint8Array(2 + bytes.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(bytes, 2);
  return address;
}

function newSocket(): number {
  return check(c.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
}

/** An unconnected socket for ioctls on network interfaces, such as SIOCGIFFLAGS. @throws SystemError */
export function openInterfaceSocket(): number {
  return check(c.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
}

/** Connects to a listening socket; the descriptor returned is non-blocking. @throws SystemError ENOENT, ECONNREFUSED, EACCES, ... */
export function connectUnix(path: string): number {
  const address = socketAddress(path);
  const fd = newSocket();
  if (c.connect(fd, address, address.length) < 0) {
    const errno = lastErrno();
    c.close(fd);
    throw new SystemError('connect', errno, path);
  }
  return fd;
}

/** Whether a process listens on the socket at `path`. Its file exists a moment earlier. */
export function isListening(path: string): boolean {
  const ACCEPTS_CONNECTIONS = '00010000';
  const lines = readFileSync('/proc/net/unix', 'utf8').split('\n');
  return lines.some((line) => line.endsWith(` ${path}`) && line.split(' ')[3] === ACCEPTS_CONNECTIONS);
}

/** Binds and listens; the file must not exist. The descriptor is non-blocking. @throws SystemError EADDRINUSE, EACCES, ENOENT, ... */
export function listenUnix(path: string, backlog = 1): number {
  const address = socketAddress(path);
  const fd = newSocket();
  if (c.bind(fd, address, address.length) < 0 || c.listen(fd, backlog) < 0) {
    const errno = lastErrno();
    c.close(fd);
    throw new SystemError('bind', errno, path);
  }
  return fd;
}

/** A listening socket and its file. */
export interface Listener {
  readonly fd: number;
  /** Stops listening and removes the file, unless another program has put its own there. Idempotent. */
  close(): void;
}

/** As `listenUnix`, with a `close` that also removes the file. @throws SystemError EADDRINUSE, EACCES, ENOENT, ... */
export function openListener(path: string, backlog = 1): Listener {
  const fd = listenUnix(path, backlog);
  const made = fileAt(path);
  let open = true;
  return {
    fd,
    close: () => {
      if (!open) return;
      open = false;
      if (pollFd(fd, POLLIN, 0) === 0) c.close(fd);
      else closeApart(fd); // also closes connections that were never accepted, with the descriptors that they sent
      try {
        if (made !== undefined && fileAt(path) === made) unlinkSync(path);
      } catch {
        // another process has removed it
      }
    },
  };
}

/** Identifies the file that a path names now. */
function fileAt(path: string): string | undefined {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.dev}:${stat.ino}`;
}

/** Accepts one waiting connection. @returns its descriptor, or -1 when there is none. */
export function acceptUnix(fd: number): number {
  const connection = c.accept4(fd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (connection >= 0) return connection;
  const errno = lastErrno();
  if (errno === 'EAGAIN' || errno === 'ECONNABORTED' || errno === 'EINTR') return -1;
  throw new SystemError('accept', errno);
}

/** A connected pair, for tests. */
export function socketPair(): [number, number] {
  const fds = new Int32Array(2);
  check(c.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 'socketpair');
  return [fds[0]!, fds[1]!];
}

function messageHeader(bytes: Uint8Array, control: Uint8Array): { header: DataView; keep: unknown[] } {
  const iov = new DataView(new ArrayBuffer(16));
  iov.setBigUint64(0, addressOf(bytes), true);
  iov.setBigUint64(8, BigInt(bytes.length), true);
  const iovBytes = new Uint8Array(iov.buffer);
  const header = new DataView(new ArrayBuffer(MSGHDR_SIZE));
  header.setBigUint64(16, addressOf(iovBytes), true);
  header.setBigUint64(24, 1n, true);
  if (control.length > 0) {
    header.setBigUint64(32, addressOf(control), true);
    header.setBigUint64(40, BigInt(control.length), true);
  }
  return { header, keep: [iovBytes, bytes, control] };
}

/**
 * Sends as much of `bytes` as the peer's buffer takes, with `fds` attached to the first byte. Never waits.
 * @returns bytes sent, with all descriptors if any; 0 when there is no room now.
 * @throws SystemError EPIPE when the peer has closed
 */
export function trySendWithFds(fd: number, bytes: Uint8Array, fds: readonly number[] = []): number {
  let control = new Uint8Array(0);
  if (fds.length > 0) {
    control = new Uint8Array(CMSGHDR_SIZE + ((fds.length * 4 + 7) & ~7));
    const view = new DataView(control.buffer);
    view.setBigUint64(0, BigInt(CMSGHDR_SIZE + fds.length * 4), true);
    view.setInt32(8, SOL_SOCKET, true);
    view.setInt32(12, SCM_RIGHTS, true);
    fds.forEach((value, i) => view.setInt32(CMSGHDR_SIZE + i * 4, value, true));
  }
  for (;;) {
    // a copy, because the address of a sub-view of a small Buffer must not move under the call
    const { header, keep } = messageHeader(bytes.slice(), control);
    const n = c.sendmsg(fd, new Uint8Array(header.buffer), MSG_NOSIGNAL | MSG_DONTWAIT);
    keep.length = 0;
    if (n >= 0) return n;
    const errno = lastErrno();
    if (errno === 'EAGAIN') return 0;
    if (errno !== 'EINTR') throw new SystemError('sendmsg', errno);
  }
}

/**
 * Sends all of `bytes`, with `fds` attached to the first byte. Waits (blocking the thread) while the peer's buffer is full,
 * at most `timeoutMs`.
 * @throws SystemError EPIPE when the peer has closed; VirtioPmdError ETIMEOUT.
 */
export function sendWithFds(fd: number, bytes: Uint8Array, fds: readonly number[] = [], timeoutMs = 1000): void {
  for (let sent = 0; sent < bytes.length;) {
    const n = trySendWithFds(fd, bytes.subarray(sent), sent === 0 ? fds : []);
    sent += n;
    if (n === 0 && pollFd(fd, POLLOUT, timeoutMs) === 0) {
      throw new VirtioPmdError('ETIMEOUT', `the peer has not read its socket for ${timeoutMs} ms; connection given up`);
    }
  }
}

export interface Received {
  /** Bytes read into the buffer; 0 when the peer has closed; -1 when nothing is there yet. */
  readonly length: number;
  /** Descriptors received, now ours to close. */
  readonly fds: number[];
  /** The kernel closed some descriptors, because this process has no free ones. */
  readonly truncated: boolean;
}

/** Receives what has arrived, without waiting. @throws SystemError */
export function receiveWithFds(fd: number, into: Uint8Array): Received {
  const control = new Uint8Array(CMSGHDR_SIZE + MAX_FDS * 4);
  const bytes = new Uint8Array(into.length);
  const { header, keep } = messageHeader(bytes, control);
  const headerBytes = new Uint8Array(header.buffer);
  const length = c.recvmsg(fd, headerBytes, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  keep.length = 0;
  if (length < 0) {
    const errno = lastErrno();
    if (errno === 'EAGAIN' || errno === 'EINTR') return { length: -1, fds: [], truncated: false };
    if (errno === 'ECONNRESET') return { length: 0, fds: [], truncated: false };
    throw new SystemError('recvmsg', errno);
  }
  into.set(bytes.subarray(0, length));
  const fds: number[] = [];
  const controlLength = Number(header.getBigUint64(40, true));
  const view = new DataView(control.buffer);
  for (let at = 0; at + CMSGHDR_SIZE <= controlLength;) {
    const len = Number(view.getBigUint64(at, true));
    if (len < CMSGHDR_SIZE) break;
    if (view.getInt32(at + 8, true) === SOL_SOCKET && view.getInt32(at + 12, true) === SCM_RIGHTS) {
      for (let i = at + CMSGHDR_SIZE; i + 4 <= at + len; i += 4) fds.push(view.getInt32(i, true));
    }
    at += (len + 7) & ~7;
  }
  return { length, fds, truncated: (header.getInt32(48, true) & MSG_CTRUNC) !== 0 };
}

const peeked = new Uint8Array(1);

/** True when the peer has closed its end: an orderly close, or a reset. Reads nothing. */
export function peerHasClosed(fd: number): boolean {
  const n = c.recv(fd, peeked, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n > 0) return false;
  return n === 0 || lastErrno() !== 'EAGAIN';
}

const SHUT_WR = 1;
const SHUT_RDWR = 2;
const FIONREAD = 0x541b;

/**
 * Ends a connection without waiting. Closing a socket also closes the descriptors in unread messages, and their close may
 * wait: see closer.ts. After the shutdown no more can come.
 */
export function closeConnection(fd: number): void {
  c.shutdown(fd, SHUT_RDWR);
  const unread = new Int32Array(1);
  if (c.ioctlWith(fd, FIONREAD, unread) === 0 && unread[0] === 0) c.close(fd);
  else closeApart(fd);
}

/** Shuts down the sending side; what the peer still sends can be read. No effect on a dead socket. */
export function finishSending(fd: number): void {
  c.shutdown(fd, SHUT_WR);
}
