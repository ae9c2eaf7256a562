/**
 * A vhost-user socket and the devices behind it (rte_vhost_driver_register and _start). It listens on the socket file (server),
 * or connects to a front-end that listens, and retries (client).
 */
import { lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  aBigint,
  aBoolean,
  aFunction,
  aNumber,
  aString,
  checkArgument,
  checkOptions,
  optional,
  type OptionKinds,
} from '../../native/arguments.js';
import { MAX_UNCLOSED, unclosed } from '../../native/closer.js';
import { SystemError, VirtioPmdError } from '../../native/errors.js';
import { pollFd, POLLIN } from '../../native/event.js';
import { LogLimit } from '../../native/log-limit.js';
import { checkPeerSignals } from '../../native/peer-event.js';
import { releaseGranules } from '../../native/peer-memory.js';
import { acceptUnix, closeConnection, connectUnix, openListener, type Listener } from '../../native/socket.js';
import { MAX_QUEUE_PAIRS } from '../wire/vhost-user.js';
import { VHOST_USER_F_PROTOCOL_FEATURES } from '../wire/virtio-features.js';
import type { Log, LogLevel } from '../eal/types.js';
import { GuestDevice, type SharedDevice } from './device.js';
import { SUPPORTED_FEATURES, SUPPORTED_PROTOCOL_FEATURES } from './features.js';
import { VhostSession } from './session.js';
import type { VhostCallbacks, VhostDevice } from './types.js';

/** Options of a socket and its devices. */
export interface VhostOptions {
  /** Connect to a front-end that listens, instead of listening. Default false. */
  readonly client?: boolean;
  /** Client: try again each second, at the start and after every loss. Default true. */
  readonly reconnect?: boolean;
  /** Queue pairs that a device may have, 1 to 128. Default 1. */
  readonly queues?: number;
  /** Feature bits of SUPPORTED_FEATURES that are not offered. Default 0n. */
  readonly disabledFeatures?: bigint;
  /** The same for SUPPORTED_PROTOCOL_FEATURES. */
  readonly disabledProtocolFeatures?: bigint;
  /**
   * Server: connections at a time, each with a device of its own. A further one is closed at once, unless it can take the place
   * of a connection without a handshake, or of one without memory that was silent for `handshakeTimeoutMs`. Default 64.
   */
  readonly maxDevices?: number;
  /**
   * Accept guest memory in files of any file system, and not only memfds, tmpfs and hugetlbfs (QEMU's memory-backend-file
   * on a disk). The file system may then block this thread at any time: a front-end with a file system of its own (FUSE) may
   * block it for ever. Default false.
   */
  readonly anyMemoryFile?: boolean;
  /**
   * Server, in milliseconds: how long a new connection may take to send SET_OWNER and GET_FEATURES, with which every front-end
   * begins at once, and any connection to complete a message that it has begun. One that takes longer is closed. This does not
   * limit a guest that starts its driver late: its front-end has sent both by then. Default 30000.
   */
  readonly handshakeTimeoutMs?: number;
  /**
   * Receives log lines. Default: none. A peer can cause some hundred at a time and some ten each second; further ones are
   * counted.
   */
  readonly log?: Log;
}

/** The types of the options, for their checks. */
export const vhostOptions: OptionKinds<VhostOptions> = {
  client: optional(aBoolean),
  reconnect: optional(aBoolean),
  queues: optional(aNumber),
  disabledFeatures: optional(aBigint),
  disabledProtocolFeatures: optional(aBigint),
  maxDevices: optional(aNumber),
  handshakeTimeoutMs: optional(aNumber),
  log: optional(aFunction),
  anyMemoryFile: optional(aBoolean),
};

const vhostCallbacks: OptionKinds<VhostCallbacks> = {
  newDevice: optional(aFunction),
  destroyDevice: optional(aFunction),
  vringStateChanged: optional(aFunction),
  featuresChanged: optional(aFunction),
  newConnection: optional(aFunction),
  destroyConnection: optional(aFunction),
};

const HANDSHAKE_TIMEOUT_MS = 30_000;
const LISTEN_BACKLOG = 128;
/** Connections accepted in one poll: a flood of them must not keep the rings from being served. */
const ACCEPTS_PER_POLL = 8;
/** Time for messages and connections of all guests together in one poll, for the same reason. */
const MS_PER_POLL = 0.3;
const RECONNECT_MS = 1000;
/** Many descriptors may wait to be closed for a moment; after this time it is logged. */
const UNCLOSED_MS = 1000;

let nextDeviceId = 0;

/** One socket and its devices. Use all of it on one thread (docs/decisions/0005); `net_vhost` ports poll on lcores. */
export class VhostDriver {
  private readonly sessions: VhostSession[] = [];
  private listener: Listener | undefined;
  private started = false;
  private retryAt = 0;
  private announced = false;
  private unclosedSince: number | undefined;
  /** The session that is polled next. */
  private turn = 0;

  private readonly offered: bigint;
  private readonly offeredProtocol: bigint;
  private readonly queues: number;
  private readonly maxDevices: number;
  private readonly handshakeTimeoutMs: number;
  private readonly logLimit: LogLimit<LogLevel>;

  /**
   * @param path of the socket.
   * @param shared for net_vhost: what lcores that poll the rings share with this thread. Then `maxDevices` is 1.
   * @throws VirtioPmdError ECONFIG for an option that is wrong or out of range.
   */
  constructor(
    readonly path: string,
    private readonly options: VhostOptions,
    private readonly callbacks: VhostCallbacks,
    private readonly shared?: SharedDevice,
  ) {
    checkArgument('VhostDriver', 'path', path, aString);
    checkOptions('VhostDriver', options, vhostOptions);
    checkOptions('VhostDriver, callbacks', callbacks, vhostCallbacks);
    this.queues = options.queues ?? 1;
    if (!Number.isInteger(this.queues) || this.queues < 1 || this.queues > MAX_QUEUE_PAIRS) {
      throw new VirtioPmdError('ECONFIG', `queues=${this.queues}: 1 to ${MAX_QUEUE_PAIRS} queue pairs are possible`);
    }
    this.offered = SUPPORTED_FEATURES & ~(options.disabledFeatures ?? 0n);
    const protocol = SUPPORTED_PROTOCOL_FEATURES & ~(options.disabledProtocolFeatures ?? 0n);
    this.offeredProtocol = this.offered & VHOST_USER_F_PROTOCOL_FEATURES ? protocol : 0n;
    this.maxDevices = options.client || shared !== undefined ? 1 : (options.maxDevices ?? 64);
    this.handshakeTimeoutMs = options.client ? Infinity : (options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS);
    if (!(this.handshakeTimeoutMs > 0)) {
      throw new VirtioPmdError('ECONFIG', `handshakeTimeoutMs=${this.handshakeTimeoutMs}: more than 0 is expected`);
    }
    this.logLimit = new LogLimit<LogLevel>(options.log ?? (() => undefined), 'warning');
  }

  private log(level: LogLevel, sentence: string): void {
    this.logLimit.log(level, `VHOST_CONFIG: (${this.path}) ${sentence}`);
  }

  /**
   * Server: binds the socket file, which must not exist, and listens. Client: makes the first attempt to connect.
   * @throws VirtioPmdError ESOCKET when the socket cannot be bound, or (client) when nobody can ever listen there, or nobody does
   *   and `reconnect` is false; ESTATE when it was started already; ECONFIG: see checkPeerSignals.
   */
  start(): void {
    if (this.started) throw new VirtioPmdError('ESTATE', `the vhost driver of ${this.path} has been started already`);
    checkPeerSignals();
    if (this.options.client) {
      this.started = true;
      const error = this.connect();
      const why = error === undefined || this.retries ? hopeless(this.path, error) : error.message;
      if (why === undefined) return;
      this.started = false;
      throw new VirtioPmdError('ESOCKET', `cannot connect to ${this.path}: ${why}`, { cause: error });
    }
    try {
      this.listener = openListener(this.path, LISTEN_BACKLOG);
    } catch (error) {
      throw bindError(this.path, error);
    }
    this.started = true;
    this.log('info', 'binding succeeded');
  }

  /** When the last message of any connection came, by performance.now; -Infinity without a connection. */
  get heard(): number {
    return this.sessions.reduce((last, { heard }) => Math.max(last, heard), -Infinity);
  }

  /** The devices of the connections that exist now. */
  get devices(): readonly VhostDevice[] {
    return this.sessions.map((session) => session.device);
  }

  /**
   * Serves the socket, the connections and their messages without waiting. The thread that polls the rings calls it regularly:
   * once a millisecond is enough. It takes about 2 µs when nothing happens. Peers cannot make it throw.
   */
  poll(): void {
    if (!this.started) return;
    const until = performance.now() + MS_PER_POLL;
    this.pollSessions(until);
    if (this.options.client) {
      if (this.sessions.length === 0 && this.retries && performance.now() >= this.retryAt) this.connect();
    } else if (pollFd(this.listener!.fd, POLLIN, 0) !== 0) this.acceptAll(until);
    this.logLimit.flush();
  }

  /** Polls the sessions in turn, as many as there is time for, at least one. */
  private pollSessions(until: number): void {
    const { sessions } = this;
    for (let left = sessions.length; left > 0; left--) {
      if (this.turn >= sessions.length) this.turn = 0;
      if (sessions[this.turn]!.poll()) this.turn++;
      else {
        sessions.splice(this.turn, 1);
        this.retryAt = performance.now() + RECONNECT_MS;
        if (this.options.client && this.retries) this.log('info', 'reconnecting...');
      }
      if (performance.now() > until) return;
    }
  }

  private get retries(): boolean {
    return this.options.reconnect ?? true;
  }

  /**
   * True while too many descriptors are not closed: new connections wait in the backlog, and the others keep the remaining
   * ones.
   */
  private get outOfReach(): boolean {
    const count = unclosed();
    if (count < MAX_UNCLOSED) this.unclosedSince = undefined;
    else this.unclosedSince ??= performance.now();
    if (this.unclosedSince === undefined) return false;
    if (!this.announced && performance.now() - this.unclosedSince > UNCLOSED_MS) {
      this.log(
        'error',
        `${count} descriptors that came from peers do not close (their file systems or sockets do not answer): no connection is taken until they do`,
      );
      this.announced = true;
    }
    return true;
  }

  private acceptAll(until: number): void {
    if (this.outOfReach) return;
    for (let i = 0; i < ACCEPTS_PER_POLL; i++) {
      if (i > 0 && performance.now() > until) return;
      let fd;
      try {
        fd = acceptUnix(this.listener!.fd);
      } catch (error) {
        // out of descriptors, for example: the connection waits in the backlog
        if (!this.announced) this.log('error', error instanceof Error ? error.message : String(error));
        this.announced = true;
        return;
      }
      if (fd < 0) return;
      this.announced = false;
      if (this.sessions.length >= this.maxDevices && !this.displace()) {
        this.log('error', `connection refused: all ${this.maxDevices} devices of this socket are in use`);
        closeConnection(fd);
      } else this.open(fd);
    }
  }

  /**
   * Makes room for a new connection. It closes the oldest that has not begun its handshake, else the oldest that shares no memory
   * and was silent for the time that a handshake may take.
   * @returns whether there was one
   */
  private displace(): boolean {
    const { sessions } = this;
    const stranger = sessions.findIndex((session) => !session.introduced);
    const at = stranger >= 0 ? stranger : sessions.findIndex((session) => session.isParked);
    if (at < 0) return false;
    const which =
      stranger >= 0 ? 'without a handshake' : `without memory that was silent for ${this.handshakeTimeoutMs} ms`;
    const [session] = sessions.splice(at, 1);
    session!.close(
      'error',
      `all ${this.maxDevices} devices of this socket are in use: the oldest connection ${which} is closed for a new one`,
    );
    return true;
  }

  /** @returns the error when it failed. */
  private connect(): Error | undefined {
    let fd;
    try {
      fd = connectUnix(this.path);
    } catch (error) {
      if (!this.announced) {
        this.log('warning', `failed to connect: ${error instanceof Error ? error.message : String(error)}`);
        if (this.retries) this.log('info', 'reconnecting...');
      }
      this.announced = true;
      this.retryAt = performance.now() + RECONNECT_MS;
      return error instanceof Error ? error : new Error(String(error));
    }
    this.announced = false;
    this.log('info', 'connected');
    this.open(fd);
    return undefined;
  }

  private open(fd: number): void {
    const { callbacks, offered, offeredProtocol, queues: maxQueuePairs } = this;
    const { log } = this.logLimit;
    const id = nextDeviceId++;
    const device = new GuestDevice(id, this.path, {
      offered,
      offeredProtocol,
      maxQueuePairs,
      callbacks,
      log,
      anyMemoryFile: this.options.anyMemoryFile ?? false,
      shared: this.shared,
    });
    this.log('info', `new vhost user connection is ${fd}`);
    this.sessions.push(new VhostSession(fd, device, this.handshakeTimeoutMs));
    callbacks.newConnection?.(device);
  }

  /** Ends every connection, and removes the socket file that `start` made. Idempotent. */
  close(): void {
    if (!this.started) return;
    this.started = false;
    for (const session of this.sessions.splice(0)) session.close('info', 'driver closed');
    releaseGranules();
    this.listener?.close();
    this.listener = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Errors of connect(2) that remain when one waits; others mean that nobody listens yet. */
const permanent: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'ENOTDIR', 'ELOOP', 'EPROTOTYPE']);

/** Why further attempts would fail too, or undefined. */
function hopeless(path: string, error: Error | undefined): string | undefined {
  if (error === undefined) return undefined;
  if (!(error instanceof SystemError) || permanent.has(error.errno)) return error.message;
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat !== undefined && !stat.isSocket() && !stat.isSymbolicLink()) {
    return 'it is no socket; name the file on which the front-end listens (QEMU: server=on)';
  }
  const directory = dirname(path);
  if (stat === undefined && lstatSync(directory, { throwIfNoEntry: false }) === undefined) {
    return `there is no directory ${directory}: make it first, or name another`;
  }
  return undefined;
}

function bindError(path: string, error: unknown): Error {
  if (!(error instanceof SystemError)) return error instanceof Error ? error : new Error(String(error));
  const remedy = error.errno === 'EADDRINUSE' ? '; remove it and try again' : '';
  return new VirtioPmdError('ESOCKET', `failed to bind to ${path}: ${error.message}${remedy}`, { cause: error });
}
