/** From the arguments of a virtio_user vdev to a device whose back-end has answered. */
import { setTimeout as sleep } from 'node:timers/promises';
import { VirtioPmdError } from '../../native/errors.js';
import type { VirtioUserDevargs } from '../devargs.js';
import type { Eal } from '../eal.js';
import { macBytes, type LogLevel, type Transport } from '../transport.js';
import { backendTypeOf, checkBackend } from './backend-type.js';
import { connectFirst, listenConnector, retryConnector } from './reconnect.js';
import { openVhostKernel } from './vhost-kernel.js';
import { DEFAULT_REPLY_TIMEOUT_MS } from './vhost-user-client.js';
import { openVhostVdpa } from './vhost-vdpa.js';
import { VirtioUser } from './virtio-user.js';

const ACCEPT_POLL_MS = 20;

export interface ProbeOptions {
  readonly signal?: AbortSignal | undefined;
  readonly replyTimeoutMs?: number | undefined;
  readonly log: (level: LogLevel, line: string) => void;
}

/**
 * Opens the device behind `path`. A vhost-user back-end is connected to (client mode), or its first connection waited for
 * (server mode).
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
  { path, server, queues, queueSize, cq, speed, reconnect }: VirtioUserDevargs,
  mac: Uint8Array | undefined,
  options: ProbeOptions,
): Promise<VirtioUser> {
  const { log, replyTimeoutMs = DEFAULT_REPLY_TIMEOUT_MS } = options;
  const connector = server ? listenConnector(path) : retryConnector(path, reconnect);
  const device = new VirtioUser(eal, { path, queues, queueSize, cq, mac, speed, replyTimeoutMs, log }, connector);
  try {
    device.adopt(server ? await firstClient(connector.poll, path, options) : connectFirst(path));
    return device;
  } catch (error) {
    device.close();
    throw error;
  }
}

async function firstClient(poll: () => number, path: string, { log, signal }: ProbeOptions): Promise<number> {
  log('notice', `(${path}) waiting for client connection...`);
  for (;;) {
    if (signal?.aborted) throw new VirtioPmdError('ESTATE', `(${path}) stopped waiting for a client connection`);
    const fd = poll();
    if (fd >= 0) return fd;
    await sleep(ACCEPT_POLL_MS);
  }
}
