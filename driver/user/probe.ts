/** From the arguments of a virtio_user vdev to a device whose back-end has answered. */
import { setTimeout as sleep } from 'node:timers/promises';
import { VirtioPmdError } from '../../native/errors.js';
import type { VirtioUserDevargs } from '../devargs.js';
import type { Eal } from '../eal.js';
import { macBytes, type LogLevel } from '../transport.js';
import { backendTypeOf, checkBackend } from './backend-type.js';
import { connectFirst, listenConnector, retryConnector } from './reconnect.js';
import { DEFAULT_REPLY_TIMEOUT_MS } from './vhost-user-client.js';
import { VirtioUser, type VirtioUserOptions } from './virtio-user.js';

const ACCEPT_POLL_MS = 20;

export interface ProbeOptions {
  readonly signal?: AbortSignal | undefined;
  readonly replyTimeoutMs?: number | undefined;
  readonly log: (level: LogLevel, line: string) => void;
}

/**
 * Connects (client mode) or listens and waits for the first client (server mode).
 * @throws VirtioPmdError EDEVARGS, ECONFIG, ESOCKET, EPEER, ETIMEOUT; ESTATE when `signal` ends the wait
 */
export async function probeVirtioUser(eal: Eal, args: VirtioUserDevargs, options: ProbeOptions): Promise<VirtioUser> {
  const { path, server } = args;
  const { log } = options;
  const type = backendTypeOf(path);
  checkBackend(type, args);
  log('debug', `Backend type detected: ${type}`);
  const deviceOptions: VirtioUserOptions = {
    path,
    queues: args.queues,
    queueSize: args.queueSize,
    cq: args.cq,
    mac: args.mac === undefined ? undefined : macBytes(args.mac),
    speed: args.speed,
    replyTimeoutMs: options.replyTimeoutMs ?? DEFAULT_REPLY_TIMEOUT_MS,
    log,
  };
  const connector = server ? listenConnector(path) : retryConnector(path, args.reconnect);
  const device = new VirtioUser(eal, deviceOptions, connector);
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
