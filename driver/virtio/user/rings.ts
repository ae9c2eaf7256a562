/** The rings of a virtio_user device whose back-end gets a message for each, and their eventfds. */
import { VirtioPmdError } from '../../../native/errors.js';
import { createEventFd } from '../../../native/event.js';
import { closeFd } from '../../../native/region.js';
import { openDoorbell } from '../../../paths/guest/doorbell.js';
import type { Doorbell } from '../../../paths/guest/queue.js';
import type { QueueSetup } from '../transport.js';

/** Queues that are recorded until the back-end is told of them, and that are kicked by eventfds. */
export abstract class KickedQueues {
  /** By virtqueue. */
  protected readonly queues = new Map<number, QueueSetup>();
  /** By virtqueue. Made once and kept as long as the device, because started queues on other threads use them. */
  protected abstract readonly kickFds: readonly number[];
  protected abstract readonly kick: 'eventfd' | 'peer-eventfd';
  /** The most descriptors of a ring. */
  protected abstract readonly queueSize: number;

  // ---- of Transport --------------------------------------------------------------------------------------------------

  maxQueueSize(index: number): number {
    return index < this.kickFds.length ? this.queueSize : 0;
  }

  setupQueue(queue: QueueSetup): void {
    this.queues.set(queue.index, queue);
  }

  deleteQueue(index: number): void {
    this.queues.delete(index);
  }

  doorbell(index: number): Doorbell {
    return { kind: this.kick, fd: this.kickFds[index]! };
  }
}

/** The queue part of Transport, for virtio_user over vhost-user and vhost-net. */
export abstract class UserRings extends KickedQueues {
  protected readonly kickFds: readonly number[];
  protected readonly callFds: readonly number[];
  protected readonly kick: 'eventfd' | 'peer-eventfd';

  /**
   * @param backendIsProcess the back-end is another process: it holds the eventfds too, and may do anything to them
   *   (docs/decisions/0012).
   */
  constructor(
    pairs: number,
    protected readonly queueSize: number,
    backendIsProcess: boolean,
  ) {
    super();
    this.kick = backendIsProcess ? 'peer-eventfd' : 'eventfd';
    const rings = Array.from({ length: pairs * 2 });
    this.kickFds = rings.map(() => createEventFd());
    this.callFds = rings.map(() => createEventFd());
  }

  protected closeEventFds(): void {
    for (const fd of [...this.kickFds, ...this.callFds]) closeFd(fd);
  }

  /** A queue that was set up. @throws VirtioPmdError ESTATE when it was not */
  protected ring(index: number): QueueSetup {
    const queue = this.queues.get(index);
    if (queue !== undefined) return queue;
    throw new VirtioPmdError('ESTATE', `virtqueue ${index} was not set up`);
  }

  // ---- of Transport --------------------------------------------------------------------------------------------------

  writeConfig(): void {
    throw new VirtioPmdError('ECONFIG', 'the configuration of a virtio_user device cannot be written: use its devargs');
  }

  /** Every ring has its call eventfd from the start. */
  rxInterruptFd(queue: number): number | undefined {
    return this.callFds[2 * queue];
  }

  notify(index: number): void {
    openDoorbell(this.doorbell(index))(0);
  }
}
