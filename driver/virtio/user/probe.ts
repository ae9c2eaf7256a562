/** From the arguments of a virtio_user vdev to a device whose back-end has answered. */
import { setTimeout as sleep } from 'node:timers/promises';
import { VirtioPmdError } from '../../../native/errors.js';
import { checkPeerSignals } from '../../../native/peer-event.js';
import type { VirtioUserDevargs } from '../../devargs/devargs.js';
import type { Eal } from '../../eal/eal.js';
import { macBytes } from '../../wire/mac.js';
import type { Log } from '../../eal/types.js';
import type { Transport } from '../transport.js';
import { backendTypeOf, checkBackend } from './backend-type.js';
import { DEFAULT_HANDSHAKE_TIMEOUT } from './vhost-user/conversation.js';
import { connectFirst, listenConnector, retryConnector } from './vhost-user/reconnect.js';
import { openVhostKernel } from './vhost-kernel/vhost-kernel.js';
import { openVhostVdpa } from './vdpa/vhost-vdpa.js';
import { VirtioUser } from './vhost-user/virtio-user.js';

/** Milliseconds between two looks at a socket while a port is attached. */
const POLL_MS = 20;

/** How long to wait, and where to log. */
export interface ProbeOptions {
  /** Ends the wait for a back-end. */
  readonly signal?: AbortSignal | undefined;
  /** For the whole handshake. The devarg handshake_timeout takes precedence. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** For one reply. Default: what is left of the handshake's time. */
  readonly replyTimeoutMs?: number | undefined;
  readonly log: Log;
}

/**
 * Opens the device behind `path`. With vhost-user it connects to the back-end (client mode), or waits for its first connection
 * (server mode), and then for its features.
 * @throws VirtioPmdError EDEVARGS, ECONFIG, ESOCKET, ESYSTEM, EPEER, ETIMEOUT; ESTATE when `signal` ends the wait
 */
export async function probeVirtioUser(eal: Eal, args: VirtioUserDevargs, options: ProbeOptions): Promise<Transport> {
  const { log } = options;
  const type = backendTypeOf(args.path);
  checkBackend(type, args);
  log('debug', `Backend type detected: ${type}`);
  const { path, iface, up, queues, queueSize, cq, speed } = args;
  const mac = args.mac === undefined ? undefined : macBytes(args.mac);
  switch (type) {
    case 'VHOST_NET':
      return openVhostKernel(eal, { path, iface, up, queues, queueSize, cq, mac, speed, log });
    case 'VHOST_VDPA':
      return openVhostVdpa(eal, { path, queues, queueSize, cq, mac, log });
    case 'VHOST_USER':
      return connectVhostUser(eal, args, mac, options);
  }
}

async function connectVhostUser(
  eal: Eal,
  { path, server, queues, queueSize, cq, speed, reconnect, handshakeTimeout }: VirtioUserDevargs,
  mac: Uint8Array | undefined,
  options: ProbeOptions,
): Promise<VirtioUser> {
  const { log, replyTimeoutMs } = options;
  const fallback = options.handshakeTimeoutMs ?? DEFAULT_HANDSHAKE_TIMEOUT * 1000;
  const handshakeTimeoutMs = handshakeTimeout === undefined ? fallback : handshakeTimeout * 1000;
  const limits = { handshakeTimeoutMs, replyTimeoutMs };
  checkPeerSignals();
  const connector = server ? listenConnector(path) : retryConnector(path, reconnect);
  const device = new VirtioUser(eal, { path, queues, queueSize, cq, mac, speed, limits, log }, connector);
  try {
    if (server) {
      log('notice', `(${path}) waiting for client connection...`);
      // a back-end that fails is logged, and the next one is waited for
      while (device.poll() !== 'back') await pause(`(${path}) stopped waiting for a client connection`, options);
    } else {
      device.adopt(connectFirst(path));
      while (!device.greet()) await pause(`(${path}) stopped waiting for the back-end to answer`, options);
    }
    return device;
  } catch (error) {
    device.close();
    throw error;
  }
}

async function pause(aborted: string, { signal }: ProbeOptions): Promise<void> {
  if (signal?.aborted) throw new VirtioPmdError('ESTATE', aborted);
  await sleep(POLL_MS);
}
