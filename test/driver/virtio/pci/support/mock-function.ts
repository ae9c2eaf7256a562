/**
 * A virtio-net device on a PCI bus that exists only in the test: configuration space and BARs with a model of the device
 * behind them, modern (BAR 4), legacy (BAR 0) or both. It notes what is written to it, insists on the right width of every
 * access, and misbehaves on demand.
 */
import assert from 'node:assert/strict';
import { signalFd } from '../../../../../native/event.js';
import type { Addressing, Bar, PciFunction, Width } from '../../../../../driver/virtio/pci/function.js';
import type { Doorbell } from '../../../../../paths/guest/queue.js';
import { FakeVirtioNet, type FakeNetOptions, type Register } from './mock-virtio-net.js';

const VENDOR_CAP = 0x09;
const MSIX_CAP = 0x11;
export const MSIX_AT = 0x40;

/** A virtio capability as it stands in the configuration space. */
export interface FakeCap {
  readonly type: number;
  readonly bar?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly multiplier?: number;
  readonly capLength?: number;
}

/** What QEMU has, in short. */
export const MODERN_CAPS: readonly FakeCap[] = [
  { type: 1, bar: 4, offset: 0x0000, length: 0x1000 },
  { type: 3, bar: 4, offset: 0x1000, length: 0x1000 },
  { type: 4, bar: 4, offset: 0x2000, length: 0x1000 },
  { type: 2, bar: 4, offset: 0x3000, length: 0x1000, multiplier: 4 },
];

export interface FakeOptions extends FakeNetOptions {
  readonly deviceId?: number;
  readonly modern?: boolean;
  readonly caps?: readonly FakeCap[];
  readonly vectors?: number;
  /** Bytes of the BARs. */
  readonly barLength?: number;
  /** The kernel has enabled MSI-X with one vector, as igb_uio does. */
  readonly singleVector?: boolean;
  readonly bus?: PciFunction['bus'];
  /** The bus cannot store 4 bytes to a notification register. */
  readonly noNotificationData?: boolean;
}

export class FakeFunction extends FakeVirtioNet implements PciFunction {
  readonly name = '0000:00:03.0';
  readonly bus: PciFunction['bus'];
  readonly addressing: Addressing = { kind: 'iova', ranges: [] };
  readonly vectors: number;
  readonly singleVector: boolean;
  present = true;
  /** The interrupt that the bus driver sees has fired. */
  fired = false;

  /** Accesses until the device is pulled. */
  lives = Infinity;
  accesses = 0;
  /** name=value of every write to a register, and calls. */
  readonly trace: string[] = [];
  readonly doorbells: { offset: number; virtqueue: number; notificationData: boolean }[] = [];

  eventFds: readonly number[] = [];
  closes = 0;
  readonly config = new DataView(new ArrayBuffer(256));

  constructor(protected override readonly options: FakeOptions = {}) {
    super(options);
    this.bus = options.bus ?? 'vfio';
    this.singleVector = options.singleVector ?? false;
    this.vectors = options.vectors ?? 4;
    this.writeConfigSpace(options.caps ?? (options.modern === false ? [] : MODERN_CAPS));
  }

  private writeConfigSpace(caps: readonly FakeCap[]): void {
    const { config, options } = this;
    config.setUint16(0, 0x1af4, true);
    config.setUint16(2, options.deviceId ?? (options.legacy ? 0x1000 : 0x1041), true);
    config.setUint16(4, 0x0007, true);
    config.setUint16(6, 0x0010, true);
    config.setUint8(0x34, MSIX_AT);
    config.setUint8(MSIX_AT, MSIX_CAP);
    const vectors = this.singleVector ? 0x8002 : this.vectors - 1;
    config.setUint16(MSIX_AT + 2, vectors, true);
    let at = MSIX_AT;
    let next = MSIX_AT + 12;
    for (const cap of caps) {
      const length = cap.capLength ?? (cap.type === 2 ? 20 : 16);
      config.setUint8(at + 1, next);
      at = next;
      next += cap.type === 2 ? 20 : 16;
      config.setUint8(at, VENDOR_CAP);
      config.setUint8(at + 2, length);
      config.setUint8(at + 3, cap.type);
      config.setUint8(at + 4, cap.bar ?? 4);
      config.setUint32(at + 8, cap.offset ?? 0, true);
      config.setUint32(at + 12, cap.length ?? 0x1000, true);
      if (cap.type === 2) config.setUint32(at + 16, cap.multiplier ?? 0, true);
    }
  }

  // ---- what can happen to a device -----------------------------------------------------------------------------------

  /** Somebody pulls it out, and the bus has not noticed yet. */
  pull(): void {
    this.lives = 0;
  }

  /** Changes the configuration and tells the driver, as QEMU does: always in the ISR, and by the vector if there is one. */
  changeConfig(change: (net: DataView) => void): void {
    change(this.net);
    this.generation = (this.generation + 1) & 0xff;
    this.isr |= 3;
    const fd = this.eventFds[this.configVector];
    if (fd !== undefined) signalFd(fd);
  }

  // ---- PciFunction ---------------------------------------------------------------------------------------------------

  private alive(): boolean {
    this.accesses++;
    return this.lives-- > 0;
  }

  readConfig(offset: number, width: Width): number {
    if (!this.alive()) return ones(width);
    assert.equal(offset % width, 0, `configuration space: ${width} bytes at ${offset}`);
    if (width === 1) return this.config.getUint8(offset);
    return width === 2 ? this.config.getUint16(offset, true) : this.config.getUint32(offset, true);
  }

  writeConfig(offset: number, width: Width, value: number): void {
    if (!this.alive()) return;
    assert.equal(width, 2);
    this.config.setUint16(offset, value, true);
    this.trace.push(`config ${offset}=0x${value.toString(16)}`);
  }

  bar(index: number): Bar | undefined {
    const { options } = this;
    if (index === 4)
      return this.makeBar('memory', options.barLength ?? 0x4000, (offset) => this.modernRegister(offset));
    if (index === 0 && options.legacy)
      return this.makeBar('io', options.barLength ?? 64, (at) => this.legacyRegister(at));
    return undefined;
  }

  mapDma(userAddress: bigint, byteLength: number, deviceAddress: bigint): void {
    this.trace.push(`dma ${userAddress !== 0n} ${byteLength} 0x${deviceAddress.toString(16)}`);
  }

  protected get msixEnabled(): boolean {
    return (this.config.getUint16(MSIX_AT + 2, true) & 0x8000) !== 0;
  }

  setVectors(fds: readonly number[]): void {
    this.eventFds = fds;
    const control = this.config.getUint16(MSIX_AT + 2, true) & 0x7fff;
    this.config.setUint16(MSIX_AT + 2, control | (fds.length > 0 ? 0x8000 : 0), true);
    this.trace.push(`vectors ${fds.length}`);
  }

  lineInterrupt(): boolean {
    const fired = this.fired;
    this.fired = false;
    return fired;
  }

  close(): void {
    this.closes++;
  }

  // ---- registers -----------------------------------------------------------------------------------------------------

  private makeBar(kind: Bar['kind'], byteLength: number, find: (offset: number) => Register | undefined): Bar {
    const at = (offset: number, width: Width): Register => {
      const found = find(offset);
      assert.ok(found !== undefined, `there is no register at ${offset}`);
      assert.equal(width, found.width, `width of ${found.name}`);
      return found;
    };
    return {
      kind,
      byteLength,
      read: (offset, width) => (this.alive() ? at(offset, width).get() : ones(width)),
      write: (offset, width, value) => {
        if (!this.alive()) return;
        const found = at(offset, width);
        assert.ok(found.set !== undefined, `${found.name} is read-only`);
        assert.ok(Number.isInteger(value) && value >= 0 && value <= ones(width), `${found.name}=${value}`);
        this.trace.push(`${found.name}=${value}`);
        found.set(value);
      },
      doorbell: (offset, virtqueue, notificationData): Doorbell => {
        if (notificationData && this.options.noNotificationData) throw new Error('this bus has no 4-byte doorbells');
        this.doorbells.push({ offset, virtqueue, notificationData });
        return { kind: 'none' };
      },
    };
  }
}

function ones(width: Width): number {
  return width === 4 ? 0xffffffff : (1 << (8 * width)) - 1;
}
