/**
 * The control virtqueue of a real device (virtio 1.2 section 5.1.6.5). Commands are sent one at a time, and the caller sleeps
 * until the device has answered. DPDK waits for ever. Here there is a time limit, after which the queue is not used until the
 * device has been reset: a late answer may still be written to its memory.
 */
import { VirtioPmdError } from '../../../native/errors.js';
import { viewsOf } from '../../../native/region.js';
import { MAX_QUEUE_SIZE, packedLayout, splitLayout } from '../../../paths/layout.js';
import { PackedControlRing, SplitControlRing, type ControlPiece, type ControlRing } from './ring.js';
import { virtio_net_ctrl_hdr } from '../../wire/linux/virtio-net.js';
import { CTRL_ERR, type ControlCommand } from './commands.js';
import type { Eal, Reservation } from '../../eal/eal.js';
import type { QueueSetup } from '../transport.js';

/** VIRTIO_MAX_CTRL_DATA: most bytes of all arguments of one command. */
export const MAX_CONTROL_DATA = 2048;
/** Descriptors that a MAC table needs: header, two arguments, answer. */
const MIN_SIZE = 4;
const DEFAULT_TIMEOUT_MS = 5000;
const FIRST_SLEEP_MS = 0.05;
const LONGEST_SLEEP_MS = 1;

/** Bytes of the page to which commands are written. */
const PAGE_SIZE = 4096;
const HEADER = 0;
const ACK = 8;
const DATA = 64;

export interface ControlQueueOptions {
  readonly eal: Pick<Eal, 'reserve' | 'release' | 'deviceAddress'>;
  /** Name of the memory reservation, such as port0_cvq. */
  readonly name: string;
  readonly packed: boolean;
  /** Descriptors in the device's ring. */
  readonly size: number;
  /** EVENT_IDX was negotiated. */
  readonly eventIdx?: boolean;
  /** Rings the queue's doorbell; `position` is the driver's position, for NOTIFICATION_DATA. */
  readonly notify: (position: number) => void;
  /** Time limit of one command. Default 5000. */
  readonly timeoutMs?: number;
}

const sleepWord = new Int32Array(new SharedArrayBuffer(4));

export class ControlQueue {
  private readonly reservations: Reservation[] = [];
  private readonly ring: ControlRing;
  /** Byte offset of the page in the packet memory. */
  private readonly page: number;
  private readonly u8: Uint8Array;
  /** Why the queue cannot be used any more; undefined while it can. */
  private outOfUse: string | undefined;
  private closed = false;

  /** @throws VirtioPmdError EPEER for an invalid ring size, EMEMORY */
  constructor(private readonly options: ControlQueueOptions) {
    const { name, packed, size, eventIdx = false } = options;
    checkSize(packed, size);
    const layout = packed ? packedLayout(size) : splitLayout(size);
    try {
      const { mapping, offset: ringOff } = this.reserve(name, layout.byteLength);
      this.page = this.reserve(`${name}_hdr`, PAGE_SIZE).offset;
      const ring = { mapping, ringOff, size, eventIdx };
      this.ring = packed ? new PackedControlRing(ring) : new SplitControlRing(ring);
      this.u8 = viewsOf(mapping).u8;
    } catch (error) {
      this.close();
      throw error;
    }
    this.ring.reset();
  }

  private reserve(name: string, byteLength: number): Reservation {
    const reservation = this.options.eal.reserve(name, byteLength, PAGE_SIZE);
    this.reservations.push(reservation);
    return reservation;
  }

  /** The set-up of the ring for the device, as virtqueue `index`. */
  queueSetup(index: number): QueueSetup {
    const { packed, size } = this.options;
    const layout = packed ? packedLayout(size) : splitLayout(size);
    const { offset } = this.reservations[0]!;
    return {
      index,
      size,
      desc: offset + layout.desc,
      driver: offset + layout.driver,
      device: offset + layout.device,
      base: this.ring.base,
    };
  }

  /**
   * Lets the device run a command. @returns its answer: 0 for success
   * @throws VirtioPmdError ECONFIG for a command that is too long; ETIMEOUT without an answer, EPEER for an invalid one:
   * after these two only `reset` makes the queue usable again
   */
  send(command: ControlCommand): number {
    if (this.outOfUse !== undefined) {
      throw new VirtioPmdError('EPEER', `the control queue is out of use until the device is reset: ${this.outOfUse}`);
    }
    const chain = this.write(command);
    try {
      this.ring.publish(chain);
      this.options.notify(this.ring.position);
      this.wait(command);
    } catch (error) {
      this.outOfUse = (error as Error).message;
      throw error;
    }
    return this.u8[this.page + ACK]!;
  }

  /** Initializes the ring. Only after a reset of the device. */
  reset(): void {
    if (this.closed) return;
    this.ring.reset();
    this.outOfUse = undefined;
  }

  /** Frees the memory. The device must have been reset, or be gone. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.outOfUse = 'it was closed';
    for (const reservation of this.reservations) this.options.eal.release(reservation);
  }

  /** Writes a command to the page. @returns its descriptors */
  private write(command: ControlCommand): ControlPiece[] {
    const { page, u8 } = this;
    const { args } = command;
    const total = args.reduce((sum, arg) => sum + arg.length, 0);
    const fits = total <= MAX_CONTROL_DATA && args.length + 2 <= this.options.size;
    if (!fits || args.some((arg) => arg.length === 0)) {
      throw new VirtioPmdError(
        'ECONFIG',
        `control command ${command.class}/${command.command} has ${args.length} arguments of ${total} bytes: expected at most ${this.options.size - 2} of ${MAX_CONTROL_DATA} bytes together, none of them empty`,
      );
    }
    const base = this.options.eal.deviceAddress(page);
    const piece = (at: number, length: number, writable = false): ControlPiece => {
      return { address: base + BigInt(at), length, writable };
    };
    u8[page + HEADER + virtio_net_ctrl_hdr.class.offset] = command.class;
    u8[page + HEADER + virtio_net_ctrl_hdr.cmd.offset] = command.command;
    u8[page + ACK] = CTRL_ERR; // the answer of a device that uses the command without writing one
    const pieces = [piece(HEADER, virtio_net_ctrl_hdr.sizeof)];
    let at = DATA;
    for (const arg of args) {
      u8.set(arg, page + at);
      pieces.push(piece(at, arg.length));
      at += arg.length;
    }
    return [...pieces, piece(ACK, 1, true)];
  }

  private wait(command: ControlCommand): void {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = this.options;
    const deadline = performance.now() + timeoutMs;
    for (let sleep = FIRST_SLEEP_MS; !this.ring.isUsed(); sleep = Math.min(2 * sleep, LONGEST_SLEEP_MS)) {
      if (performance.now() >= deadline) {
        throw new VirtioPmdError(
          'ETIMEOUT',
          `the device did not answer control command ${command.class}/${command.command} in ${timeoutMs} ms: reset the port`,
        );
      }
      Atomics.wait(sleepWord, 0, 0, sleep);
    }
  }
}

function checkSize(packed: boolean, size: number): void {
  const powerOfTwo = (size & (size - 1)) === 0;
  const valid = Number.isInteger(size) && size >= MIN_SIZE && size <= MAX_QUEUE_SIZE && (packed || powerOfTwo);
  if (valid) return;
  throw new VirtioPmdError(
    'EPEER',
    `the device's control queue has ${size} descriptors: expected ${packed ? 'a number' : 'a power of two'} from ${MIN_SIZE} to ${MAX_QUEUE_SIZE}`,
  );
}
