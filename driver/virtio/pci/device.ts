/**
 * A virtio-net device on PCI: the Transport over either register layout, on any bus.
 *
 * Queues and vectors are only recorded until DRIVER_OK is written; then the device is told of memory, vectors and queues at once.
 * A device that is gone reads all ones: after every access to the registers the status is read too, and tells whether the
 * answer is valid.
 */
import { VirtioPmdError } from '../../../native/errors.js';
import { createEventFd, drainFd } from '../../../native/event.js';
import { closeFd } from '../../../native/region.js';
import type { Doorbell } from '../../../paths/guest/queue.js';
import { MAX_QUEUE_SIZE } from '../../../paths/layout.js';
import { ControlQueue } from '../control/queue.js';
import type { ControlCommand } from '../control/commands.js';
import type { Eal } from '../../eal/eal.js';
import { bitsOf, has, MQ_OR_RSS, type FeatureOffer } from '../features.js';
import { resetDevice } from '../init.js';
import { CONFIG_MAX_PAIRS, type QueueSetup, type Transport, type TransportEvent } from '../transport.js';
import { PCI_COMMAND_MASTER } from '../../wire/linux/pci-regs.js';
import { VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX } from '../../wire/linux/virtio-net.js';
import { VIRTIO_MSI_NO_VECTOR, VIRTIO_PCI_ISR_CONFIG } from '../../wire/linux/virtio-pci.js';
import * as F from '../../wire/virtio-features.js';
import { changeCommand } from './config-space.js';
import type { PciFunction } from './function.js';
import { driverPosition } from './notification-data.js';
import type { VirtioRegisters } from './registers.js';

/** A status that no device has: the device is gone. */
const ALL_ONES = 0xff;
/** VIRTIO_MAX_RX_QUEUES */
const MOST_PAIRS = 128;
/** Reads of the status, 1 ms apart, that the last reset may take. */
const CLOSE_RESET_ATTEMPTS = 100;

/** The transport of a PCI device. */
export class VirtioPci implements Transport {
  readonly driverName = 'net_virtio';
  readonly finalLoss = 'was removed: detach the port, and attach the device again once it is back';
  readonly supported: bigint;

  private gone = false;
  private closed = false;
  /** max_virtqueue_pairs: the control queue comes after that many, even if fewer can be used (virtio 1.2 section 5.1.2). */
  private devicePairs = 1;
  /** Sizes of the data virtqueues in descriptors, as `survey` found them. */
  private readonly sizes: number[] = [];
  private readonly withheld = new Map<bigint, string>();

  private acknowledged = 0n;
  private writtenStatus = 0;
  private resetWanted = false;
  private dmaMapped = false;
  private readonly queues = new Map<number, QueueSetup>();
  private controlQueue: { readonly queue: ControlQueue; readonly setup: QueueSetup } | undefined;

  /** By vector. Kept as long as the device, because other threads may wait for them. */
  private readonly eventFds: number[] = [];
  /** Number of vectors in use: 0, or one for configuration changes and one for each of the first Rx queues. */
  private vectors = 0;

  constructor(
    private readonly eal: Eal,
    private readonly fn: PciFunction,
    private readonly registers: VirtioRegisters,
  ) {
    this.supported = registers.supported;
  }

  /**
   * Finds out, once, which virtqueues there are, and leaves the device reset. QEMU arranges its virtqueues by the features that
   * were written last, perhaps by the driver of a firmware, without MQ; so all features are written first.
   * @param resetAttempts reads of the status, 1 ms apart, before a reset counts as failed
   * @throws VirtioPmdError EPEER, ETIMEOUT: the device cannot be used
   */
  survey(resetAttempts?: number): void {
    resetDevice(this, resetAttempts);
    this.writeStatus(F.STATUS_ACKNOWLEDGE);
    this.writeStatus(F.STATUS_ACKNOWLEDGE | F.STATUS_DRIVER);
    const offered = this.ask(() => this.registers.readFeatures());
    this.writeFeatures(offered & this.supported);
    const several = offered & MQ_OR_RSS;
    if (several !== 0n) {
      const [low, high] = this.readConfig(CONFIG_MAX_PAIRS, 2);
      const pairs = low! | (high! << 8);
      const why = this.whyOnePair(pairs, offered);
      if (why === undefined) this.devicePairs = pairs;
      else this.withhold(several, why);
    }
    const data = offered & this.supported & F.VIRTIO_F_NOTIFICATION_DATA;
    // not on every bus a data path can store 4 bytes to a register
    const whyNoData = data === 0n ? undefined : reasonOf(() => this.doorbell(0, data));
    if (whyNoData !== undefined) this.withhold(data, whyNoData);
    const most = 2 * Math.min(this.devicePairs, MOST_PAIRS);
    for (let index = 0; index < most; index++) {
      const size = this.ask(() => this.queueSize(index));
      if (size === 0) break;
      this.sizes.push(size);
    }
    if (this.maxQueuePairs === 0) throw this.broken('virtqueue does not exist: there are not even two');
    resetDevice(this, resetAttempts);
  }

  private withhold(features: bigint, why: string): void {
    for (const feature of bitsOf(features)) this.withheld.set(feature, why);
  }

  /** Why only one queue pair can be used although the device offers several; undefined when several can. */
  private whyOnePair(pairs: number, offered: bigint): string | undefined {
    if (pairs < 1 || pairs > VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX) return `the device says max_virtqueue_pairs is ${pairs}`;
    if (!has(offered, F.VIRTIO_NET_F_CTRL_VQ) || this.ask(() => this.queueSize(2 * pairs)) > 0) return undefined;
    return `the device has fewer virtqueues than max_virtqueue_pairs, ${pairs}, calls for`;
  }

  // ---- a device that may have gone -----------------------------------------------------------------------------------

  get connected(): boolean {
    return !this.gone;
  }

  poll(): TransportEvent | undefined {
    if (this.gone) return undefined;
    const status = this.statusNow();
    if (status === ALL_ONES) {
      this.gone = true;
      return 'lost';
    }
    if (!this.resetWanted && (status & F.STATUS_NEEDS_RESET) !== 0) {
      this.resetWanted = true;
      return 'needs-reset';
    }
    return this.configChanged() ? 'config' : undefined;
  }

  private statusNow(): number {
    return this.gone || !this.fn.present ? ALL_ONES : this.registers.readStatus();
  }

  private configChanged(): boolean {
    if (this.vectors > 0) return drainFd(this.eventFds[0]!);
    if (this.fn.singleVector) return this.fn.lineInterrupt(); // with MSI-X a device need not set its ISR
    const isr = this.registers.readIsr();
    return isr !== ALL_ONES && (isr & VIRTIO_PCI_ISR_CONFIG) !== 0;
  }

  /** Accesses the registers. When the device is gone afterwards, that is the error, whatever the result was. */
  private ask<T>(question: () => T): T {
    if (this.gone) throw this.removed();
    try {
      const answer = question();
      if (this.statusNow() !== ALL_ONES) return answer;
    } catch (error) {
      if (this.statusNow() !== ALL_ONES) throw error;
    }
    throw this.removed();
  }

  /**
   * Gives the device up for good. One that does not take its reset must not access the packet memory any more: no bus
   * mastering.
   */
  disconnect(): void {
    if (this.gone) return;
    this.gone = true;
    quietly(() => this.registers.writeStatus(0));
    quietly(() => changeCommand(this.fn, 0, PCI_COMMAND_MASTER));
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    if (!this.gone) quietly(() => resetDevice(this, CLOSE_RESET_ATTEMPTS));
    this.gone = true;
    quietly(() => this.fn.setVectors([]));
    this.fn.close();
    this.controlQueue?.queue.close();
    this.controlQueue = undefined;
    for (const fd of this.eventFds) closeFd(fd);
  }

  private removed(): VirtioPmdError {
    return this.broken('the device does not answer (all ones): it was removed, or switched off; detach it');
  }

  private broken(what: string): VirtioPmdError {
    return new VirtioPmdError('EPEER', `${this.fn.name}: ${what}`);
  }

  // ---- status, features, configuration -------------------------------------------------------------------------------

  readStatus(): number {
    const status = this.statusNow();
    if (status === ALL_ONES) throw this.removed();
    return status;
  }

  writeStatus(status: number): void {
    if (this.gone) throw this.removed();
    if (status & ~this.writtenStatus & F.STATUS_DRIVER_OK) this.ask(() => this.handOver());
    if (status === 0) this.resetWanted = false;
    this.registers.writeStatus(status);
    this.writtenStatus = status;
  }

  readFeatures(): FeatureOffer {
    let bits = this.ask(() => this.registers.readFeatures());
    for (const feature of this.withheld.keys()) bits &= ~feature;
    return { bits, withheld: this.withheld };
  }

  writeFeatures(acknowledged: bigint): void {
    this.ask(() => this.registers.writeFeatures(acknowledged));
    this.acknowledged = acknowledged;
  }

  readConfig(offset: number, length: number): Uint8Array {
    return this.ask(() => this.registers.readConfig(offset, length));
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.ask(() => this.registers.writeConfig(offset, bytes));
  }

  // ---- interrupts ----------------------------------------------------------------------------------------------------

  setInterrupts(rxQueues: number): void {
    const { name, vectors } = this.fn;
    const wanted = rxQueues + 1;
    if (wanted === this.vectors || (rxQueues === 0 && vectors === 0)) return; // without vectors, `poll` asks for changes
    if (vectors === 0) {
      throw new VirtioPmdError(
        'ECONFIG',
        `${name} ${whyNoVectors(this.fn, rxQueues)}: bind it to vfio-pci (devbind -b vfio-pci ${name}), and give it vectors (QEMU: vectors=${2 * rxQueues + 2})`,
      );
    }
    if (wanted > vectors) {
      throw new VirtioPmdError(
        'ECONFIG',
        `${name} has ${vectors} MSI-X vectors, ${wanted} are needed (one for configuration changes, one for each of ${rxQueues} Rx queues): use fewer queues, or give the device more vectors (QEMU: vectors=${2 * rxQueues + 2})`,
      );
    }
    while (this.eventFds.length < wanted) this.eventFds.push(createEventFd());
    this.vectors = 0; // after a failure the function has none
    this.fn.setVectors(this.eventFds.slice(0, wanted));
    this.vectors = wanted;
  }

  /** Whether the device has registers for vectors: MSI-X is enabled. */
  private get hasVectors(): boolean {
    return this.vectors > 0 || this.fn.singleVector === true;
  }

  rxInterruptFd(queue: number): number | undefined {
    return queue + 1 < this.vectors ? this.eventFds[queue + 1] : undefined;
  }

  // ---- queues --------------------------------------------------------------------------------------------------------

  get maxQueuePairs(): number {
    return this.sizes.length >> 1;
  }

  maxQueueSize(index: number): number {
    return this.sizes[index] ?? 0;
  }

  setupQueue(queue: QueueSetup): void {
    this.queues.set(queue.index, queue);
  }

  deleteQueue(index: number): void {
    this.queues.delete(index);
  }

  doorbell(index: number, acknowledged: bigint): Doorbell {
    return this.ask(() => this.registers.doorbell(index, has(acknowledged, F.VIRTIO_F_NOTIFICATION_DATA)));
  }

  notify(index: number): void {
    const { memory } = this.eal;
    const queue = this.queues.get(index);
    if (this.gone || memory === undefined || queue === undefined) return;
    const withData = has(this.acknowledged, F.VIRTIO_F_NOTIFICATION_DATA);
    const packed = has(this.acknowledged, F.VIRTIO_F_RING_PACKED);
    this.registers.notify(index, withData ? driverPosition(memory, queue, packed) : undefined);
  }

  control(command: ControlCommand): number {
    const control = this.controlQueue;
    if (control === undefined) {
      throw new VirtioPmdError(
        'ECONFIG',
        `Control queue is not supported. ${this.fn.name} has none (VIRTIO_NET_F_CTRL_VQ was not negotiated)`,
      );
    }
    return this.ask(() => control.queue.send(command));
  }

  /** Descriptors of a virtqueue; 0: there is none. @throws VirtioPmdError EPEER for an invalid size */
  private queueSize(index: number): number {
    const size = this.registers.queueSize(index);
    if (size <= MAX_QUEUE_SIZE) return size;
    throw this.broken(
      `virtqueue ${index} has ${size} descriptors, more than the ${MAX_QUEUE_SIZE} that a ring may have`,
    );
  }

  /** Tells the device all that it has to know before DRIVER_OK. */
  private handOver(): void {
    const { eal, fn } = this;
    if (has(this.acknowledged, F.VIRTIO_NET_F_CTRL_VQ)) this.makeControlQueue();
    if (eal.memory === undefined) {
      throw new VirtioPmdError('ESTATE', 'there is no packet memory to share: make a mempool first');
    }
    if (!this.dmaMapped) {
      for (const run of eal.dmaRuns) fn.mapDma(eal.userAddress(run.offset), run.byteLength, run.deviceAddress);
    }
    this.dmaMapped = true;

    if (this.hasVectors && !this.registers.setConfigVector(0)) {
      throw this.broken('failed to set config vector: the device has no room for it');
    }
    for (const queue of this.queues.values()) {
      const receives = queue.index % 2 === 0;
      const vector = (queue.index >> 1) + 1;
      this.handOverQueue(queue, receives && vector < this.vectors ? vector : VIRTIO_MSI_NO_VECTOR);
    }
    if (this.controlQueue !== undefined) this.handOverQueue(this.controlQueue.setup, VIRTIO_MSI_NO_VECTOR);
  }

  private handOverQueue(queue: QueueSetup, vector: number): void {
    const { eal, registers } = this;
    const { index, size } = queue;
    const sizeNow = this.splitOrPackedSize(index);
    if (sizeNow !== size) {
      throw this.broken(
        `virtqueue ${index} has ${sizeNow} descriptors now, its ring ${size}: detach and attach the port`,
      );
    }
    if (this.hasVectors && !registers.setQueueVector(index, vector)) {
      throw this.broken(
        `failed to set queue vector: the device has no room for vector ${vector} of virtqueue ${index}`,
      );
    }
    registers.setupQueue({
      index,
      size,
      desc: eal.deviceAddress(queue.desc),
      driver: eal.deviceAddress(queue.driver),
      device: eal.deviceAddress(queue.device),
    });
  }

  /** @throws VirtioPmdError EPEER when no ring of the negotiated format can be made */
  private splitOrPackedSize(index: number): number {
    const size = this.queueSize(index);
    if (size === 0) throw this.broken(`virtqueue does not exist: the device has no virtqueue ${index}`);
    if (has(this.acknowledged, F.VIRTIO_F_RING_PACKED) || (size & (size - 1)) === 0) return size;
    throw this.broken(
      `split virtqueue size is not power of 2: virtqueue ${index} has ${size} descriptors; give the device another size, or packed rings`,
    );
  }

  /** Made again at each initialisation, as size, index and format depend on the features (virtio 1.2 section 5.1.2). */
  private makeControlQueue(): void {
    const { eal, acknowledged } = this;
    this.controlQueue?.queue.close();
    this.controlQueue = undefined;
    const index = 2 * (has(acknowledged, MQ_OR_RSS) ? this.devicePairs : 1);
    const withData = has(acknowledged, F.VIRTIO_F_NOTIFICATION_DATA);
    const queue = new ControlQueue({
      eal,
      name: `${this.fn.name}_cvq`,
      packed: has(acknowledged, F.VIRTIO_F_RING_PACKED),
      size: this.splitOrPackedSize(index),
      eventIdx: has(acknowledged, F.VIRTIO_F_EVENT_IDX),
      // read first, as the queue would wait for its whole time-out when the device is gone
      notify: (position) => this.ask(() => this.registers.notify(index, withData ? position : undefined)),
    });
    this.controlQueue = { queue, setup: queue.queueSetup(index) };
  }
}

/** Why a function without vectors has no Rx interrupts, for a sentence. */
function whyNoVectors({ bus, singleVector }: PciFunction, rxQueues: number): string {
  if (bus === 'ports') return 'has no interrupts for its Rx queues, as it is bound to no driver';
  const have = singleVector
    ? 'has one MSI-X vector here, which igb_uio uses, and it'
    : 'has no MSI-X vectors here, and its one line interrupt';
  return `${have} cannot tell ${rxQueues} Rx queues from configuration changes (Multiple intr vector not supported)`;
}

/** The message of the error that `action` throws; undefined when it throws none. */
function reasonOf(action: () => void): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Carries out a step of giving a device up, and ignores its errors. */
function quietly(action: () => void): void {
  reasonOf(action);
}
