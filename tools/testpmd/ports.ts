/** `port start|stop|close|reset|attach|detach`, with dpdk-testpmd's life-cycle texts. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isVirtioPmdError } from '../../native/errors.js';
import { attach } from '../../driver/port/attach.js';
import type { Port } from '../../driver/port/port.js';
import type { PortConfig } from '../../driver/port/types.js';
import type { Forwarding } from './forwarding.js';
import { offloadNames } from './names/offloads.js';
import { newEntry, type PortEntry, type Session } from './session.js';
import { formatLink } from '../common/link.js';
import { mtuFor } from '../common/mtu.js';

type Which = number | 'all';

/** How long `port attach` blocks the prompt, in milliseconds; then it continues in the background. */
const ATTACH_PATIENCE_MS = 5000;

export class Ports {
  /** True while a port is started or stopped: link changes are not reported then. */
  private operating = false;
  /** Ends a wait of `port attach`. */
  private readonly leaving = new AbortController();

  constructor(
    private readonly session: Session,
    private readonly forwarding: Forwarding,
  ) {}

  adopt(port: Port): void {
    const { session } = this;
    session.ports.set(port.id, newEntry(port, this.firstRxOffloads(port), session.app.txOffloads));
    port.on('link', () => {
      if (!this.operating) session.print(`\nPort ${port.id}: link state change event`);
    });
    port.on('queueState', () => session.print(`\nPort ${port.id}: queue state event`));
    port.on('removed', () => {
      session.print(`\nPort ${port.id}: device removal event`);
      // later: the port is in the middle of emitting the event
      if (session.app.hotPlug) setImmediate(() => this.remove(port));
    });
    port.on('reconnect', () => setImmediate(() => this.startAgain(port)));
  }

  /** Starts a port with its new back-end when the start with the previous one failed. */
  private startAgain(port: Port): void {
    const { session } = this;
    const entry = session.ports.get(port.id);
    if (session.quitting || entry?.port !== port || !entry.startFailed || port.started) return;
    session.print(`\nPort ${port.id}: its back-end is back, it is started again`);
    if (!this.start(port.id)) session.complain('Start ports failed');
  }

  /** The Rx offloads of the options. --enable-rx-cksum and --enable-hw-vlan stand for those of several that the port has. */
  private firstRxOffloads(port: Port): number {
    const { rxOffloads, rxOffloadWishes } = this.session.app;
    const { rxOffloadCapa } = port.info();
    const missing = rxOffloadWishes & ~rxOffloadCapa;
    if (missing !== 0) this.session.complain(`Port ${port.id} offers no Rx${offloadNames('rx', missing)}: left out`);
    return rxOffloads | (rxOffloadWishes & rxOffloadCapa);
  }

  /** --hot-plug: removes a port; the others continue to forward. */
  private remove(port: Port): void {
    const { session, forwarding } = this;
    if (session.quitting || session.ports.get(port.id)?.port !== port) return;
    const forwarded = forwarding.isForwarding(port.id);
    if (forwarded) forwarding.stop();
    this.stop(port.id);
    this.close(port.id);
    if (forwarded && session.ports.size > 0) forwarding.start(0);
  }

  /** @returns false when a port could not be started. */
  start(which: Which): boolean {
    const { session } = this;
    const entries = session.select(which);
    let failed = false;
    let started = 0;
    this.operating = true;
    for (const entry of entries) {
      const { port } = entry;
      if (port.started) {
        session.complain(`Port ${port.id} is now not stopped`);
      } else if (this.bringUp(entry)) {
        session.print(`Port ${port.id}: ${port.mac.toUpperCase()}`);
        started++;
      } else failed = true;
      entry.startFailed = !port.started;
    }
    this.operating = false;
    if (entries.length === 0) return true;
    if (failed) return false;
    if (started === 0) session.complain('Please stop the ports first');
    else this.checkLinks();
    session.print('Done');
    return true;
  }

  private bringUp(entry: PortEntry): boolean {
    const { session } = this;
    const { port } = entry;
    if (entry.reconfigure || !port.configured) {
      session.print(`Configuring Port ${port.id} (socket 0)`);
      if (!session.attempt(() => port.configure(this.configOf(entry)))) return false;
      entry.reconfigure = false;
      this.spread(port);
    }
    return session.attempt(() => port.start());
  }

  /** Sets testpmd's packet types for RSS, where the device supports them; after a refusal the driver's stay. */
  private spread(port: Port): void {
    if (port.lacks('rss') !== undefined || !port.rss.usesRss) return;
    const hf = this.session.app.rssHf & port.rss.rssInfo.flowTypes;
    if (hf !== 0n) this.session.attempt(() => port.rss.rssUpdate({ hf }));
  }

  private configOf({ port, mtu, rxOffloads, txOffloads }: PortEntry): PortConfig {
    const { app, settings, mempool, maxSimdBitwidth } = this.session;
    const { maxPacketLength } = app;
    const asked = mtu ?? (maxPacketLength === undefined ? undefined : mtuFor(maxPacketLength, port.info()));
    return {
      mempool,
      rxQueues: settings.rxQueues,
      txQueues: settings.txQueues,
      rxDesc: settings.rxDesc,
      txDesc: settings.txDesc,
      rxFreeThresh: app.rxFreeThresh ?? 0,
      txFreeThresh: app.txFreeThresh ?? 0,
      rxOffloads,
      txOffloads,
      maxSimdBitwidth,
      rss: settings.rxQueues > 1 && app.rssHf !== 0n && port.lacks('rss') === undefined,
      ...(asked === undefined ? {} : { mtu: asked }),
    };
  }

  /** Prints the links, as dpdk-testpmd does with --no-lsc-interrupt or --tx-first. */
  private checkLinks(): void {
    const { session } = this;
    const { app } = session;
    if (!app.linkCheck) return;
    session.print('Checking link statuses...');
    if (app.linkInterrupt && !app.txFirst) return;
    for (const { port } of session.select('all')) session.print(`Port ${port.id} Link ${formatLink(port.link)}`);
  }

  stop(which: Which): void {
    const { session } = this;
    const entries = session.select(which);
    if (entries.length === 0 && which !== 'all') return;
    session.print('Stopping ports...');
    let stopped = 0;
    this.operating = true;
    for (const entry of entries) {
      const { port } = entry;
      if (this.isInUse(port.id)) continue;
      entry.startFailed = false;
      if (!port.started) continue;
      if (session.attempt(() => port.stop())) stopped++;
    }
    this.operating = false;
    if (stopped > 0 && session.app.linkCheck && !session.quitting) session.print('Checking link statuses...');
    session.print('Done');
  }

  close(which: Which): void {
    const { session } = this;
    const entries = session.select(which);
    if (entries.length === 0 && which !== 'all') return;
    session.print('Closing ports...');
    for (const { port } of entries) {
      if (this.isInUse(port.id)) continue;
      if (port.started) session.complain(`Cannot close started device (port ${port.id})`);
      else this.closeOne(port);
    }
    session.print('Done');
  }

  private closeOne(port: Port): void {
    const { session } = this;
    session.attempt(() => port.close());
    session.ports.delete(port.id);
    session.print(`Port ${port.id} is closed`);
  }

  /** True, with a message, for a port in use by forwarding: it must not be changed. */
  private isInUse(portId: number): boolean {
    if (!this.forwarding.isForwarding(portId)) return false;
    this.session.complain(`Please remove port ${portId} from forwarding configuration.`);
    return true;
  }

  reset(which: Which): void {
    const { session } = this;
    const entries = session.select(which);
    if (entries.length === 0 && which !== 'all') return;
    if (entries.some(({ port }) => port.started)) {
      session.complain('Can not reset port(s), please stop port(s) first.');
      return;
    }
    session.print('Resetting ports...');
    for (const { port } of entries) session.attempt(() => port.reset());
    session.print('Done');
  }

  /**
   * Attaches a port. Resolves when that is done or has failed; when it takes long, earlier, and it continues.
   * @param signal cancels it
   */
  async attach(devargs: string, signal: AbortSignal): Promise<void> {
    const { session } = this;
    session.print('Attaching a new port...');
    const given = AbortSignal.any([signal, this.leaving.signal]);
    const attached = this.attachNow(devargs, given).then(() => true);
    const patience = new AbortController();
    const slow = sleep(ATTACH_PATIENCE_MS, false, { signal: patience.signal }).catch(() => false);
    const done = await Promise.race([attached, slow]);
    patience.abort();
    if (done || given.aborted) return;
    attached.catch((error: unknown) => setImmediate(() => this.fail(error)));
    session.print(
      `No back-end has answered for ${ATTACH_PATIENCE_MS / 1000} s: it is waited for while the prompt goes on`,
    );
  }

  /** Throws an internal error from work in the background. */
  private fail(error: unknown): never {
    throw error;
  }

  private async attachNow(devargs: string, signal: AbortSignal): Promise<void> {
    const { session } = this;
    try {
      const port = await attach(session.eal, devargs, { signal, log: session.log });
      this.adopt(port);
      session.print(`Port ${port.id} is attached. Now total ports is ${session.ports.size}\nDone`);
    } catch (error) {
      if (!isVirtioPmdError(error)) throw error;
      if (session.quitting) return;
      session.complain(`EAL: ${error.message}\ntestpmd: Failed to attach port ${devargs}`);
    }
  }

  detach(portId: number): void {
    const { session } = this;
    const [entry] = session.select(portId);
    if (!entry) return;
    if (entry.port.started) {
      session.complain('Port not stopped');
      return;
    }
    session.complain('Port was not closed');
    session.print('Removing a device...');
    this.closeOne(entry.port);
    session.print(`Device is detached\nNow total ports is ${session.ports.size}\nDone`);
  }

  /** Stops forwarding and everything else, with the texts of `quit`. */
  shutdown(): void {
    const { session, forwarding } = this;
    session.quitting = true;
    this.leaving.abort();
    if (forwarding.running) forwarding.stop();
    for (const id of session.portIds) {
      session.print(`\nStopping port ${id}...`);
      this.stop(id);
    }
    for (const id of session.portIds) {
      session.print(`\nShutting down port ${id}...`);
      this.close(id);
    }
    session.print('\nBye...');
  }
}
