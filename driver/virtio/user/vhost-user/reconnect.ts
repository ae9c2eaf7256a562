/**
 * Gets connections of a vhost-user socket, by listening (server mode) or by connecting (client mode), the first time and after
 * each loss. virtio-user.ts uses the connections.
 */
import { SystemError, VirtioPmdError } from '../../../../native/errors.js';
import { acceptUnix, closeConnection, connectUnix, openListener, type Listener } from '../../../../native/socket.js';

/** Client mode: milliseconds between two attempts to connect, as in rte_vhost. Also the longest pause after a failed handshake. */
const RECONNECT_MS = 1000;
/** Milliseconds of the first pause after a failed handshake; each further failure doubles it. */
const FIRST_PAUSE_MS = 50;

/** A source of connections. */
export interface Connector {
  /** A new connection, which the caller closes, or -1 when there is none. Never waits, never throws. */
  poll(): number;
  /** It will go on looking for connections. */
  readonly retries: boolean;
  /** A connection has ended. After one that failed, the next one is delayed. @param wasOfUse it was up for a while */
  ended(wasOfUse: boolean): void;
  /** Server mode: stops listening and removes the socket file. Idempotent. */
  close(): void;
}

/** The pause before the next connection, which grows while connections fail. */
class Backoff {
  private pause = 0;
  private until = 0;

  constructor(private readonly now: () => number) {}

  get over(): boolean {
    return this.now() >= this.until;
  }

  ended(wasOfUse: boolean): void {
    this.pause = wasOfUse ? 0 : Math.min(Math.max(FIRST_PAUSE_MS, 2 * this.pause), RECONNECT_MS);
    this.until = this.now() + this.pause;
  }
}

const clock = () => performance.now();

/** Server mode: binds the socket file and listens at once. @throws VirtioPmdError ESOCKET with what to do */
export function listenConnector(path: string, now: () => number = clock): Connector {
  const listener = listenAt(path);
  const backoff = new Backoff(now);
  let open = true;
  return {
    retries: true,
    ended: (wasOfUse) => backoff.ended(wasOfUse),
    poll: () => {
      if (!open || !backoff.over) return -1;
      try {
        return acceptUnix(listener.fd);
      } catch {
        return -1; // out of descriptors, for example: the next poll may do better
      }
    },
    close: () => {
      open = false;
      listener.close();
    },
  };
}

function listenAt(path: string): Listener {
  try {
    return openListener(path);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new VirtioPmdError('ESOCKET', bindProblem(path, error.errno), { cause: error });
  }
}

function bindProblem(path: string, errno: string): string {
  switch (errno) {
    case 'EADDRINUSE':
      return `failed to bind to ${path}: address already in use; remove it and try again (server mode makes the file itself; ${whoListens(path)})`;
    case 'ENOENT':
      return `failed to bind to ${path}: no such directory; make the directory that the socket is to be in`;
    case 'EACCES':
    case 'EPERM':
      return `failed to bind to ${path}: permission denied; choose a directory in which this user may make files`;
    default:
      return `failed to bind to ${path}: ${errno}; choose another path for the socket`;
  }
}

function whoListens(path: string): string {
  try {
    closeConnection(connectUnix(path));
    return 'some process is listening there now: stop it, choose another path, or connect to it with server=0';
  } catch {
    return 'nobody listens there: it was left behind';
  }
}

/** Client mode: the first connection. @throws VirtioPmdError ESOCKET with what to do */
export function connectFirst(path: string): number {
  try {
    return connectUnix(path);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new VirtioPmdError('ESOCKET', connectProblem(path, error.errno), { cause: error });
  }
}

function connectProblem(path: string, errno: string): string {
  const failed = `client mode: failed to connect to ${path}`;
  switch (errno) {
    case 'ENOENT':
      return `${failed}: no such file; start the back-end first, or let this side listen with server=1`;
    case 'ECONNREFUSED':
      return `${failed}: connection refused, nobody listens on it; start the back-end (the file may have been left behind by one that died)`;
    case 'EACCES':
    case 'EPERM':
      return `${failed}: permission denied; run as a user who may write to the socket, or change its mode or owner`;
    case 'EAGAIN':
      return `${failed}: the back-end takes no more connections; does it serve another front-end already?`;
    default:
      return `${failed}: ${errno}; check the path`;
  }
}

/** Client mode after a loss: one attempt to connect per second, or none with reconnect=0. */
export function retryConnector(path: string, enabled: boolean, now: () => number = clock): Connector {
  let next = 0;
  const backoff = new Backoff(now);
  return {
    retries: enabled,
    ended: (wasOfUse) => backoff.ended(wasOfUse),
    poll: () => {
      if (!enabled || now() < next || !backoff.over) return -1;
      next = now() + RECONNECT_MS;
      try {
        return connectUnix(path);
      } catch {
        return -1; // not there yet
      }
    },
    close: () => undefined,
  };
}
