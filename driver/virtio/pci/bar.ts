/**
 * Registers of a PCI function as vfio and uio provide them: mapped into this process, or in a file that is read and written at
 * an offset. A BAR may have both: vfio does not allow to map all of it.
 */
import { VirtioPmdError } from '../../../native/errors.js';
import { guardHit, guardMapping, unguardMapping } from '../../../native/guard.js';
import { readRegister, writeRegister } from '../../../native/mmio.js';
import { viewsOf, type Mapping, type Views } from '../../../native/region.js';
import type { Doorbell } from '../../../paths/guest/queue.js';
import type { Bar, Width } from './function.js';
import { errnoOf, type PciSystem } from './system.js';

/**
 * The most bytes of a BAR that are mapped. A virtio device needs at most a page per queue. A BAR with shared memory may have
 * 4 GiB, and a view of that size would end Node 20.
 */
export const MAX_MAPPED = 256 * 2 ** 20;

/** A part of a BAR. Offsets are those of the BAR. */
export interface Registers {
  readonly first: number;
  /** Offset of the first byte behind it. */
  readonly end: number;
  read(offset: number, width: Width): number;
  write(offset: number, width: Width, value: number): void;
  doorbell(offset: number, virtqueue: number, notificationData: boolean): Doorbell;
  /** From now on reads return all ones, as of a device that is gone, and writes have no effect. */
  close(): void;
}

/** The value that a device which is gone reads as: all bits set. @param width bytes */
export function allOnes(width: Width): number {
  return width === 4 ? 0xffffffff : (1 << (8 * width)) - 1;
}

/** Registers that are mapped into this process. */
export class MappedRegisters implements Registers {
  readonly end: number;
  private views: Views | undefined;
  private givenUp = false;

  /** @param first offset in the BAR of the first byte. @param mapping is unmapped by `close`. */
  constructor(
    private readonly system: PciSystem,
    readonly first: number,
    private readonly mapping: Mapping,
  ) {
    this.end = first + mapping.byteLength;
    // the kernel unmaps the registers when the device goes, and the next access is a SIGBUS
    guardMapping(mapping);
    this.views = viewsOf(mapping);
  }

  /** True once the kernel has unmapped the registers, or `giveUp` was called. */
  get lost(): boolean {
    return this.givenUp || guardHit(this.mapping);
  }

  /**
   * Releases the device's registers. The addresses stay mapped to other memory, as other threads may still write to a
   * doorbell there.
   */
  giveUp(): void {
    this.givenUp = true;
    this.views = undefined;
    this.system.hollowOutMapping(this.mapping);
  }

  read(offset: number, width: Width): number {
    if (this.views === undefined) return allOnes(width);
    const value = readRegister(this.views, offset - this.first, width);
    return value === 0 && this.lost ? allOnes(width) : value;
  }

  write(offset: number, width: Width, value: number): void {
    if (this.views !== undefined) writeRegister(this.views, offset - this.first, width, value);
  }

  doorbell(offset: number, virtqueue: number, notificationData: boolean): Doorbell {
    const kind = notificationData ? 'mmio-data' : 'mmio';
    return { kind, mapping: this.mapping, offset: offset - this.first, value: virtqueue };
  }

  close(): void {
    this.views = undefined;
    unguardMapping(this.mapping);
    this.system.unmap(this.mapping);
  }
}

/** Errors of reads and writes when the device is gone. */
const GONE = ['ENODEV', 'ENXIO', 'EIO'];

/** Registers that are read and written through a file. */
export class FileRegisters implements Registers {
  readonly first = 0;
  private readonly view = new DataView(new ArrayBuffer(4));
  private closed = false;

  /** @param base where in the file they begin. `close` does not close the file. */
  constructor(
    private readonly system: PciSystem,
    private readonly fd: number,
    private readonly base: number,
    readonly end: number,
  ) {}

  read(offset: number, width: Width): number {
    const { view } = this;
    const count = this.unlessGone(() => this.system.readAt(this.fd, this.bytes(width), this.base + offset));
    if (count !== width) return allOnes(width);
    if (width === 1) return view.getUint8(0);
    return width === 2 ? view.getUint16(0, true) : view.getUint32(0, true);
  }

  write(offset: number, width: Width, value: number): void {
    this.view.setUint32(0, value, true);
    this.unlessGone(() => this.system.writeAt(this.fd, this.bytes(width), this.base + offset));
  }

  doorbell(offset: number, virtqueue: number, notificationData: boolean): Doorbell {
    if (notificationData) {
      throw new VirtioPmdError(
        'ECONFIG',
        'the notification register is not in mapped memory, as NOTIFICATION_DATA needs: do without this feature',
      );
    }
    return { kind: 'port', fd: this.fd, offset: this.base + offset, value: virtqueue };
  }

  private bytes(width: Width): Uint8Array {
    return new Uint8Array(this.view.buffer, 0, width);
  }

  close(): void {
    this.closed = true;
  }

  private unlessGone(access: () => number): number | undefined {
    if (this.closed) return undefined; // the descriptor may have been closed, and its number used again
    try {
      return access();
    } catch (error) {
      if (GONE.includes(errnoOf(error))) return undefined;
      throw error;
    }
  }
}

/** A BAR made of mapped registers and registers in a file. */
export class RegisterBar implements Bar {
  /** @param parts of the BAR; a register that is in several of them is accessed through the first. */
  constructor(
    private readonly name: string,
    readonly kind: 'memory' | 'io',
    readonly byteLength: number,
    private readonly parts: readonly Registers[],
  ) {}

  read(offset: number, width: Width): number {
    return this.part(offset, width).read(offset, width);
  }

  write(offset: number, width: Width, value: number): void {
    this.part(offset, width).write(offset, width, value);
  }

  doorbell(offset: number, virtqueue: number, notificationData: boolean): Doorbell {
    return this.part(offset, notificationData ? 4 : 2).doorbell(offset, virtqueue, notificationData);
  }

  private part(offset: number, width: Width): Registers {
    const part = this.parts.find(({ first, end }) => offset >= first && offset + width <= end);
    if (part !== undefined && offset % width === 0) return part;
    throw new VirtioPmdError(
      'ECONFIG',
      `${this.name} has no register of ${width} bytes at ${offset}: it is ${this.byteLength} bytes long, and registers lie at multiples of their length`,
    );
  }
}
