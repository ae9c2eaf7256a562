/** The registers of a virtio-net device as a model, modern and legacy: part of mock-function.ts. */
import assert from 'node:assert/strict';
import type { Width } from '../../../../../driver/virtio/pci/function.js';
import * as F from '../../../../../driver/wire/virtio-features.js';

const NO_VECTOR = 0xffff;

export const FAKE_NET_OFFER =
  F.VIRTIO_F_VERSION_1 |
  F.VIRTIO_F_RING_PACKED |
  F.VIRTIO_F_INDIRECT_DESC |
  F.VIRTIO_NET_F_MAC |
  F.VIRTIO_NET_F_STATUS |
  F.VIRTIO_NET_F_MRG_RXBUF |
  F.VIRTIO_NET_F_CTRL_VQ;

export interface FakeNetOptions {
  readonly legacy?: boolean;
  readonly offered?: bigint;
  /** Sizes of the virtqueues. */
  readonly sizes?: readonly number[];
  readonly maxPairs?: number;
  /** Reads of the status that still show the old one after a reset; Infinity: it never completes. */
  readonly resetTakes?: number;
  /** Vectors that the device refuses. */
  readonly refuses?: readonly number[];
  /** The configuration changes between any two reads. */
  readonly restless?: boolean;
  /** queue_enable stays 0. */
  readonly neverEnables?: boolean;
  /** queue_notify_off by virtqueue. Default: its number. */
  readonly notifyOff?: (index: number) => number;
}

interface FakeQueue {
  size: number;
  vector: number;
  enable: number;
  /** desc, driver, device: low and high halves. */
  readonly words: Uint32Array;
  pfn: number;
}

export interface Register {
  readonly name: string;
  readonly width: Width;
  get(): number;
  /** Read-only without. */
  set?(value: number): void;
}

const register = (name: string, width: Width, get: () => number, set?: (value: number) => void): Register =>
  set === undefined ? { name, width, get } : { name, width, get, set };

export abstract class FakeVirtioNet {
  status = 0x0f; // somebody used it before us
  isr = 0;
  generation = 0;
  configVector = NO_VECTOR;
  driverFeatures = 0n;
  readonly queues: FakeQueue[];
  /** virtio_net_config */
  readonly net = new DataView(new ArrayBuffer(24));
  onNotify: (index: number, value: number) => void = () => undefined;

  private readonly offered: bigint;
  private select = 0;
  private deviceFeatureSelect = 0;
  private driverFeatureSelect = 0;
  private resetReads = 0;
  private readonly common: ReadonlyMap<number, Register>;

  constructor(protected readonly options: FakeNetOptions) {
    const { offered = FAKE_NET_OFFER, sizes = [256, 256, 64] } = options;
    this.offered = offered;
    this.queues = sizes.map((size) => ({ size, vector: NO_VECTOR, enable: 0, words: new Uint32Array(6), pfn: 0 }));
    this.common = this.commonRegisters();
    [0x52, 0x54, 0x00, 0x12, 0x34, 0x56].forEach((byte, i) => this.net.setUint8(i, byte));
    this.net.setUint16(6, 1, true);
    this.net.setUint16(8, options.maxPairs ?? 1, true);
    this.net.setUint16(10, 1500, true);
    this.net.setUint32(12, 25000, true);
  }

  protected abstract readonly msixEnabled: boolean;

  private get queue(): FakeQueue | undefined {
    return this.queues[this.select];
  }

  /** By offset in BAR 4. */
  protected modernRegister(offset: number): Register | undefined {
    if (offset < 0x1000) return this.common.get(offset);
    if (offset === 0x1000) return this.isrRegister();
    if (offset >= 0x2000 && offset < 0x2000 + this.net.byteLength) return this.netRegister(offset - 0x2000);
    if (offset < 0x3000) return undefined;
    const data = (this.driverFeatures & F.VIRTIO_F_NOTIFICATION_DATA) !== 0n;
    const ring = (value: number) => this.onNotify(value & 0xffff, value);
    return register(`notify@${(offset - 0x3000).toString(16)}`, data ? 4 : 2, () => 0, ring);
  }

  private commonRegisters(): ReadonlyMap<number, Register> {
    const { options } = this;
    const { notifyOff = (index: number) => index } = options;
    const halves = (select: number, bits: bigint) => Number((bits >> BigInt(32 * select)) & 0xffffffffn);
    const word = (i: number, name: string) =>
      register(
        name,
        4,
        () => this.queue?.words[i] ?? 0,
        (value) => {
          if (this.queue) this.queue.words[i] = value;
        },
      );
    return new Map([
      [
        0,
        register(
          'dfselect',
          4,
          () => this.deviceFeatureSelect,
          (value) => (this.deviceFeatureSelect = value),
        ),
      ],
      [4, register('df', 4, () => halves(this.deviceFeatureSelect, this.offered))],
      [
        8,
        register(
          'gfselect',
          4,
          () => this.driverFeatureSelect,
          (value) => (this.driverFeatureSelect = value),
        ),
      ],
      [
        12,
        register(
          'gf',
          4,
          () => halves(this.driverFeatureSelect, this.driverFeatures),
          (value) => {
            const shift = BigInt(32 * this.driverFeatureSelect);
            this.driverFeatures = (this.driverFeatures & ~(0xffffffffn << shift)) | (BigInt(value) << shift);
          },
        ),
      ],
      [16, this.configVectorRegister()],
      [18, register('numq', 2, () => this.queues.length)],
      [20, this.statusRegister()],
      [
        21,
        register('generation', 1, () =>
          options.restless ? (this.generation = (this.generation + 1) & 0xff) : this.generation,
        ),
      ],
      [
        22,
        register(
          'select',
          2,
          () => this.select,
          (value) => (this.select = value),
        ),
      ],
      [
        24,
        register(
          'size',
          2,
          () => this.queue?.size ?? 0,
          (value) => {
            if (this.queue) this.queue.size = value;
          },
        ),
      ],
      [26, this.queueVectorRegister()],
      [
        28,
        register(
          'enable',
          2,
          () => this.queue?.enable ?? 0,
          (value) => {
            assert.equal(value, 1, 'virtio 1.2 section 4.1.4.3.2: the driver must not write 0 to queue_enable');
            if (this.queue && !options.neverEnables) this.queue.enable = 1;
          },
        ),
      ],
      [30, register('noff', 2, () => notifyOff(this.select))],
      ...['desclo', 'deschi', 'availlo', 'availhi', 'usedlo', 'usedhi'].map(
        (name, i) => [32 + 4 * i, word(i, name)] as const,
      ),
    ]);
  }

  /** By offset in BAR 0. */
  protected legacyRegister(offset: number): Register | undefined {
    const msix = this.msixEnabled;
    if (msix && offset === 20) return this.configVectorRegister();
    if (msix && offset === 22) return this.queueVectorRegister();
    const net = offset - (msix ? 24 : 20);
    if (net >= 0) return net < this.net.byteLength ? this.netRegister(net) : register('beyond', 1, () => 0xff);
    switch (offset) {
      case 0:
        return register('host features', 4, () => Number(this.offered & 0xffffffffn));
      case 4:
        return register(
          'features',
          4,
          () => Number(this.driverFeatures),
          (value) => (this.driverFeatures = BigInt(value)),
        );
      case 8:
        return register(
          'pfn',
          4,
          () => this.queue?.pfn ?? 0,
          (value) => {
            if (this.queue) this.queue.pfn = value;
          },
        );
      case 12:
        return register('size', 2, () => this.queue?.size ?? 0);
      case 14:
        return register(
          'select',
          2,
          () => this.select,
          (value) => (this.select = value),
        );
      case 16:
        return register(
          'notify',
          2,
          () => 0,
          (value) => this.onNotify(value, value),
        );
      case 18:
        return this.statusRegister();
      case 19:
        return this.isrRegister();
      default:
        return undefined;
    }
  }

  private statusRegister(): Register {
    const get = () => {
      if (this.resetReads <= 0) return this.status;
      this.resetReads--;
      return this.status | F.STATUS_DRIVER_OK;
    };
    return register('status', 1, get, (value) => {
      if (value === 0) this.reset();
      this.status = value;
    });
  }

  private reset(): void {
    this.resetReads = this.options.resetTakes ?? 0;
    this.driverFeatures = 0n;
    this.configVector = NO_VECTOR;
    this.isr = 0;
    for (const queue of this.queues) {
      queue.enable = queue.pfn = 0;
      queue.vector = NO_VECTOR;
      queue.words.fill(0);
    }
  }

  private isrRegister(): Register {
    return register('isr', 1, () => {
      const was = this.isr;
      this.isr = 0;
      return was;
    });
  }

  private granted(vector: number): number {
    return this.options.refuses?.includes(vector) ? NO_VECTOR : vector;
  }

  private configVectorRegister(): Register {
    return register(
      'config vector',
      2,
      () => this.configVector,
      (vector) => (this.configVector = this.granted(vector)),
    );
  }

  private queueVectorRegister(): Register {
    return register(
      'queue vector',
      2,
      () => this.queue?.vector ?? NO_VECTOR,
      (vector) => {
        if (this.queue) this.queue.vector = this.granted(vector);
      },
    );
  }

  private netRegister(offset: number): Register {
    const width = offset < 6 ? 1 : offset < 12 ? 2 : offset < 16 ? 4 : offset < 18 ? 1 : offset < 20 ? 2 : 4;
    const { net, options } = this;
    const get = () => {
      if (options.restless && options.legacy) net.setUint8(offset, net.getUint8(offset) + 1);
      if (width === 1) return net.getUint8(offset);
      return width === 2 ? net.getUint16(offset, true) : net.getUint32(offset, true);
    };
    return register(`net@${offset}`, width, get, width === 1 ? (value) => net.setUint8(offset, value) : undefined);
  }
}
