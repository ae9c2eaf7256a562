/** A device that exists only in the test: it keeps a trace of what the driver asked, and misbehaves on demand. */
import { VirtioPmdError } from '../../native/errors.js';
import type { Doorbell } from '../../paths/guest/queue.js';
import type { ControlCommand } from '../../driver/virtio/control/commands.js';
import { ControlEmulator } from '../../driver/virtio/control/emulator.js';
import type { FeatureOffer } from '../../driver/virtio/features.js';
import type { QueueSetup, Transport, TransportEvent } from '../../driver/virtio/transport.js';
import * as F from '../../driver/wire/virtio-features.js';

export interface FakeOptions {
  readonly offered?: bigint;
  readonly maxQueuePairs?: number;
  readonly queueSize?: number;
  /** Receive queues that have an interrupt. Default: none. */
  readonly interrupts?: number;
  /** Status bits that the device drops when they are written. */
  readonly drops?: number;
  /** Status bits that the device shows by itself from FEATURES_OK on. */
  readonly shows?: number;
  /** Reads of the status that still show the old one after a reset; Infinity: it never completes. */
  readonly resetTakes?: number;
  /** The n-th call (from 0) throws, as if the device went away. */
  readonly failAt?: number;
}

export const FAKE_OFFER =
  F.VIRTIO_F_VERSION_1 |
  F.VIRTIO_NET_F_MRG_RXBUF |
  F.VIRTIO_F_IN_ORDER |
  F.VIRTIO_F_RING_PACKED |
  F.VIRTIO_NET_F_STATUS |
  F.VIRTIO_NET_F_CTRL_VQ |
  F.VIRTIO_NET_F_CTRL_RX |
  F.VIRTIO_NET_F_MQ |
  F.VIRTIO_F_INDIRECT_DESC;

export class FakeTransport implements Transport {
  readonly driverName = 'fake';
  readonly supported = (1n << 64n) - 1n;
  readonly finalLoss: string | undefined = undefined;
  readonly trace: string[] = [];
  readonly queues = new Map<number, QueueSetup>();
  connected = true;
  offered: bigint;
  /** What the next polls report. */
  readonly events: TransportEvent[] = [];
  enabledPairs = 0;

  private status = 0;
  private resetReads = 0;
  private calls = 0;

  constructor(private readonly options: FakeOptions = {}) {
    this.offered = options.offered ?? FAKE_OFFER;
  }

  get maxQueuePairs(): number {
    return this.options.maxQueuePairs ?? 1;
  }

  private call(what: string): void {
    if (this.calls++ === this.options.failAt) throw new VirtioPmdError('EPEER', `the fake device failed at: ${what}`);
    this.trace.push(what);
  }

  poll(): TransportEvent | undefined {
    const event = this.events.shift();
    if (event === 'lost' || event === 'back') this.connected = event === 'back';
    if (event === 'lost') this.status = 0;
    return event;
  }

  disconnect(): void {
    this.connected = false;
    this.trace.push('disconnect');
  }

  readStatus(): number {
    if (this.resetReads > 0) {
      this.resetReads--;
      return this.status | F.STATUS_DRIVER_OK;
    }
    return this.status;
  }

  writeStatus(status: number): void {
    this.call(`status 0x${status.toString(16)}`);
    if (status === 0) this.resetReads = this.options.resetTakes ?? 0;
    this.status = status & ~(this.options.drops ?? 0);
    if (status & F.STATUS_FEATURES_OK) this.status |= this.options.shows ?? 0;
  }

  readFeatures(): FeatureOffer {
    return { bits: this.offered, withheld: new Map() };
  }

  writeFeatures(acknowledged: bigint): void {
    this.call(`features 0x${acknowledged.toString(16)}`);
  }

  readConfig(_offset: number, length: number): Uint8Array {
    return new Uint8Array(length).fill(0xff);
  }

  writeConfig(): void {
    this.call('config');
  }

  maxQueueSize(): number {
    return this.options.queueSize ?? 256;
  }

  /** Numbers that are no descriptors. */
  rxInterruptFd(queue: number): number | undefined {
    return queue < (this.options.interrupts ?? 0) ? 1_000_000 + queue : undefined;
  }

  setupQueue(queue: QueueSetup): void {
    this.call(`queue ${queue.index}`);
    this.queues.set(queue.index, queue);
  }

  deleteQueue(index: number): void {
    this.queues.delete(index);
  }

  doorbell(): Doorbell {
    return { kind: 'none' };
  }

  notify(index: number): void {
    this.call(`notify ${index}`);
  }

  control(command: ControlCommand): number {
    this.call(`control ${command.class}/${command.command}`);
    return new ControlEmulator({
      mac: undefined,
      maxQueuePairs: this.maxQueuePairs,
      enablePairs: (n) => (this.enabledPairs = n),
      refused: () => undefined,
    }).run(command);
  }

  close(): void {
    this.trace.push('close');
  }
}
