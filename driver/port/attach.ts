/** Makes a port from a device string. */
import {
  aFunction,
  anInstance,
  aNumber,
  aString,
  checkArguments,
  checkOptions,
  madeBy,
  optional,
  type OptionKinds,
} from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { LogLimit } from '../../native/log-limit.js';
import { nextName } from '../devargs/device-names.js';
import { driverOf } from '../drivers.js';
import type { Eal } from '../eal/eal.js';
import type { LogLevel } from '../eal/types.js';
import type { PortDriver } from './device.js';
import { freeId, Port, portsOf } from './port.js';
import { loadQueueModule } from './queue.js';
import type { PortEvents } from './types.js';

export interface AttachOptions {
  /** Ends the wait for a server-mode port's first client. */
  readonly signal?: AbortSignal;
  /** Limit of the whole handshake with a vhost-user back-end. Default 60000 ms; the devarg handshake_timeout has priority. */
  readonly handshakeTimeoutMs?: number;
  /** Limit for one reply of the back-end, in ms. Default: that of the handshake. */
  readonly replyTimeoutMs?: number;
  /**
   * Gets all log lines (`port.on('log')` misses those of attach). Default: eal's log, without debug lines. When a device
   * causes too many lines, they are counted instead.
   */
  readonly log?: PortEvents['log'];
}

const attachOptions: OptionKinds<AttachOptions> = {
  signal: optional(anInstance('an AbortSignal', AbortSignal)),
  handshakeTimeoutMs: optional(aNumber),
  replyTimeoutMs: optional(aNumber),
  log: optional(aFunction),
};

const anEal = madeBy('createEal', 'lcores', 'createMempool');

/**
 * Attaches the device of a vdev string such as 'net_virtio_user0,path=/tmp/s.sock,queues=2', or of a PCI address such as
 * '0000:00:03.0,vectorized=1'. In server mode this waits for the first client, without blocking the thread.
 * The port's queues can be used on this thread as soon as it is configured.
 * @throws VirtioPmdError EDEVARGS, ECONFIG, ESOCKET, EPEER, ETIMEOUT; ESTATE when `signal` ends the wait
 */
export async function attach(eal: Eal, devargs: string, options: AttachOptions = {}): Promise<Port> {
  checkArguments('attach', { eal: [eal, anEal], devargs: [devargs, aString] });
  checkOptions('attach', options, attachOptions);
  const sink = options.log ?? ((level: LogLevel, line: string) => level !== 'debug' && eal.log(line));
  // a back-end can cause any number of lines: by its replies, and by disconnecting and connecting again
  const { log } = new LogLimit<LogLevel>(sink, 'warning');
  const { handshakeTimeoutMs, replyTimeoutMs } = options;
  const driver = driverOf(devargs);
  const name = driver.nameOf(devargs);
  checkName(eal, driver, name);
  await loadQueueModule(driver.queueModule);
  // in server mode there may never be a client
  const closed = new AbortController();
  const forget = eal.beforeClose(() => closed.abort());
  const signal = options.signal === undefined ? closed.signal : AbortSignal.any([options.signal, closed.signal]);
  let probed;
  try {
    probed = await driver.probe(eal, devargs, { signal, handshakeTimeoutMs, replyTimeoutMs, log });
  } finally {
    forget();
  }
  try {
    checkName(eal, driver, name);
  } catch (error) {
    probed.close();
    throw error;
  }
  return new Port({ eal, id: freeId(eal), name, devargs, open: (host) => probed.open(host), log });
}

function checkName(eal: Eal, { bus }: PortDriver, name: string): void {
  if (!portsOf(eal).some((port) => port.name === name)) return;
  const advice = bus === 'pci' ? 'name another device' : `give it another number, such as ${nextName(name)}`;
  throw new VirtioPmdError('ECONFIG', `${name} is attached already: ${advice}`);
}
