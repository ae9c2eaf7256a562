/**
 * A vdpa device behind the kernel's vhost-vdpa: a complete virtio-net device with its own configuration and control queue. It is
 * controlled by ioctls, and accesses the packet memory by the addresses of its IOTLB.
 *
 * As with PCI, queues are only recorded until DRIVER_OK is written; then the device is told of memory and queues at once. The
 * kernel does not report that a device is being removed: its entry in sysfs disappears, and the removal waits until we close
 * the file.
 */
import { basename } from 'node:path';
import { VirtioPmdError } from '../../../../native/errors.js';
import { ControlQueue } from '../../control/queue.js';
import type { ControlCommand } from '../../control/commands.js';
import type { Eal } from '../../../eal/eal.js';
import { has, MQ_OR_RSS, type FeatureOffer } from '../../features.js';
import { PCI_FEATURES } from '../../pci/registers.js';
import { attempt } from '../../pci/system.js';
import { CONFIG_MAC, type QueueSetup, type Transport, type TransportEvent } from '../../transport.js';
import * as F from '../../../wire/virtio-features.js';
import { KickedQueues } from '../rings.js';
import { VdpaFile } from './file.js';
import { VdpaIotlb } from './iotlb.js';
import { surveyVdpa, type VdpaDevice, type VdpaWishes } from './survey.js';
import { vdpaSystem, type VdpaSystem } from './system.js';

/** Those of a PCI device, except for NOTIFICATION_DATA: an eventfd carries no data. */
const SUPPORTED = PCI_FEATURES & ~F.VIRTIO_F_NOTIFICATION_DATA;
/** A status that no device has: hardware that was removed reads all ones. */
const ALL_ONES = 0xff;

/** Options of `openVhostVdpa`. */
export interface VhostVdpaOptions extends VdpaWishes {
  /** The device's control queue is used. */
  readonly cq: boolean;
}

/**
 * Opens /dev/vhost-vdpa-N; no other process can open it then.
 * @throws VirtioPmdError ESYSTEM, ECONFIG, EPEER; EMEMORY when the device does not reach the packet memory
 */
export function openVhostVdpa(eal: Eal, options: VhostVdpaOptions, system: VdpaSystem = vdpaSystem): VhostVdpa {
  const file = VdpaFile.open(system, options.path);
  try {
    const device = surveyVdpa(file, options);
    eal.useAddressing({ kind: 'iova', ranges: device.ranges });
    return new VhostVdpa(eal, options, system, file, device);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** The transport of a vdpa device. */
export class VhostVdpa extends KickedQueues implements Transport {
  readonly driverName = 'net_virtio_user';
  readonly supported = SUPPORTED;
  readonly finalLoss = 'was removed: detach the port, and attach the device again once it is back';

  private gone = false;
  private closed = false;
  private acknowledged = 0n;
  private writtenStatus = 0;
  private resetWanted = false;
  private readonly iotlb: VdpaIotlb;
  private controlQueue: { readonly queue: ControlQueue; readonly setup: QueueSetup } | undefined;

  private readonly eventFds: number[] = [];
  protected readonly kickFds: readonly number[];
  protected readonly kick = 'eventfd';
  protected readonly queueSize: number;
  private readonly controlKickFd: number;
  private readonly configFd: number;
  /** By Rx queue; other threads may wait for them. */
  private readonly callFds: number[] = [];

  constructor(
    private readonly eal: Eal,
    private readonly options: VhostVdpaOptions,
    private readonly system: VdpaSystem,
    private readonly file: VdpaFile,
    private readonly device: VdpaDevice,
  ) {
    super();
    this.queueSize = device.ringSize;
    this.iotlb = new VdpaIotlb(file.path, (message) => file.write(message), device.batch);
    try {
      this.kickFds = Array.from({ length: 2 * options.queues }, () => this.newEventFd());
      this.controlKickFd = this.newEventFd();
      this.configFd = this.newEventFd();
    } catch (error) {
      this.closeEventFds();
      throw error;
    }
  }

  private newEventFd(): number {
    const fd = this.system.createEventFd();
    this.eventFds.push(fd);
    return fd;
  }

  private closeEventFds(): void {
    for (const fd of this.eventFds.splice(0)) this.system.close(fd);
  }

  // ---- a device that may be removed ------------------------------------------------------------------------------------

  get connected(): boolean {
    return !this.gone;
  }

  poll(): TransportEvent | undefined {
    if (this.gone) return undefined;
    const status = this.statusNow();
    if (status === ALL_ONES) {
      this.disconnect();
      return 'lost';
    }
    if (!this.resetWanted && (status & F.STATUS_NEEDS_RESET) !== 0) {
      this.resetWanted = true;
      return 'needs-reset';
    }
    return this.system.drain(this.configFd) ? 'config' : undefined;
  }

  private statusNow(): number {
    if (this.gone || !this.file.present) return ALL_ONES;
    try {
      return this.file.status();
    } catch {
      return ALL_ONES; // as a removed device reads
    }
  }

  /**
   * Gives the device up for good: it must not access the packet memory any more, and its removal waits until the file is
   * closed.
   */
  disconnect(): void {
    if (this.gone) return;
    this.gone = true;
    attempt(
      () => this.file.setStatus(0),
      () => this.iotlb.unmap(),
      () => this.file.close(),
    );
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.disconnect();
    this.controlQueue?.queue.close();
    this.controlQueue = undefined;
    this.closeEventFds();
  }

  private checkThere(): void {
    if (this.gone || !this.file.present) throw this.file.removed();
  }

  // ---- status, features, configuration ---------------------------------------------------------------------------------

  readStatus(): number {
    this.checkThere();
    const status = this.file.status();
    if (status === ALL_ONES) throw this.file.removed();
    return status;
  }

  writeStatus(status: number): void {
    this.checkThere();
    if (status & ~this.writtenStatus & F.STATUS_DRIVER_OK) this.handOver();
    this.file.setStatus(status);
    this.writtenStatus = status;
    if (status !== 0) return;
    this.resetWanted = false;
    this.iotlb.unmap();
  }

  readFeatures(): FeatureOffer {
    this.checkThere();
    const { features, mac } = this.device;
    const withheld = new Map<bigint, string>();
    let bits = mac === undefined ? features & ~F.VIRTIO_NET_F_MAC : features | F.VIRTIO_NET_F_MAC;
    if (mac === undefined) {
      withheld.set(F.VIRTIO_NET_F_MAC, 'no mac=, and the device names none: a random address is used');
    }
    if (!this.options.cq && has(features, F.VIRTIO_NET_F_CTRL_VQ)) {
      bits &= ~F.VIRTIO_NET_F_CTRL_VQ;
      withheld.set(F.VIRTIO_NET_F_CTRL_VQ, 'there is no control queue: add cq=1');
    }
    return { bits, withheld };
  }

  /** The device uses addresses of its IOTLB, whether it offers IOMMU_PLATFORM or not. */
  writeFeatures(acknowledged: bigint): void {
    this.checkThere();
    this.file.setFeatures((acknowledged & this.device.features) | F.VIRTIO_F_IOMMU_PLATFORM);
    this.acknowledged = acknowledged;
  }

  readConfig(offset: number, length: number): Uint8Array {
    this.checkThere();
    const bytes = this.file.readConfig(offset, length);
    const { features, mac } = this.device;
    if (mac !== undefined && !has(features, F.VIRTIO_NET_F_MAC)) overlay(bytes, offset, mac);
    return bytes;
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.checkThere();
    this.file.writeConfig(offset, bytes);
  }

  // ---- interrupts ------------------------------------------------------------------------------------------------------

  setInterrupts(rxQueues: number): void {
    while (this.callFds.length < rxQueues) this.callFds.push(this.newEventFd());
  }

  rxInterruptFd(queue: number): number | undefined {
    return this.callFds[queue];
  }

  // ---- queues ----------------------------------------------------------------------------------------------------------

  get maxQueuePairs(): number {
    return this.options.queues;
  }

  notify(index: number): void {
    if (!this.closed) this.system.signal(this.kickFds[index]!);
  }

  control(command: ControlCommand): number {
    this.checkThere();
    if (this.controlQueue !== undefined) return this.controlQueue.queue.send(command);
    throw new VirtioPmdError(
      'ECONFIG',
      `Control queue is not supported. ${this.file.path} has none (VIRTIO_NET_F_CTRL_VQ was not negotiated)`,
    );
  }

  /** Tells the device all that it has to know before DRIVER_OK. */
  private handOver(): void {
    const { eal } = this;
    if (has(this.acknowledged, F.VIRTIO_NET_F_CTRL_VQ)) this.makeControlQueue();
    if (eal.memory === undefined) {
      throw new VirtioPmdError('ESTATE', 'there is no packet memory to share: make a mempool first');
    }
    this.file.setConfigCall(this.configFd);
    this.iotlb.map(
      eal.dmaRuns.map(({ offset, byteLength, deviceAddress }) => ({
        iova: deviceAddress,
        userAddress: eal.userAddress(offset),
        byteLength: BigInt(byteLength),
      })),
    );
    for (const queue of this.queues.values()) {
      const interrupt = queue.index % 2 === 0 ? this.callFds[queue.index >> 1] : undefined;
      this.handOverQueue(queue, this.kickFds[queue.index]!, interrupt);
    }
    if (this.controlQueue !== undefined) this.handOverQueue(this.controlQueue.setup, this.controlKickFd, undefined);
  }

  private handOverQueue(queue: QueueSetup, kickFd: number, callFd: number | undefined): void {
    const { eal, file } = this;
    const { index } = queue;
    file.setVringNum(index, queue.size);
    file.setVringBase(index, queue.base);
    file.setVringAddresses(index, {
      desc: eal.deviceAddress(queue.desc),
      driver: eal.deviceAddress(queue.driver),
      device: eal.deviceAddress(queue.device),
    });
    if (callFd !== undefined) file.setVringCall(index, callFd);
    file.setVringKick(index, kickFd);
    file.enableVring(index);
  }

  /** Made again at each initialisation, as index and format depend on the features (virtio 1.2 section 5.1.2). */
  private makeControlQueue(): void {
    const { eal, acknowledged, device } = this;
    this.controlQueue?.queue.close();
    this.controlQueue = undefined;
    const index = 2 * (has(acknowledged, MQ_OR_RSS) ? device.devicePairs : 1);
    const queue = new ControlQueue({
      eal,
      name: `${basename(this.file.path)}_cvq`,
      packed: has(acknowledged, F.VIRTIO_F_RING_PACKED),
      size: device.ringSize,
      eventIdx: has(acknowledged, F.VIRTIO_F_EVENT_IDX),
      notify: () => {
        this.checkThere();
        this.system.signal(this.controlKickFd);
      },
    });
    this.controlQueue = { queue, setup: queue.queueSetup(index) };
  }
}

/** Puts `mac` into bytes of the configuration, as far as they include it. */
function overlay(bytes: Uint8Array, offset: number, mac: Uint8Array): void {
  mac.forEach((byte, i) => {
    const at = CONFIG_MAC + i - offset;
    if (at >= 0 && at < bytes.length) bytes[at] = byte;
  });
}
