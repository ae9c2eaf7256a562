/** A fake vdpa device, an environment and what the tests of the vhost-vdpa back-end do with them. */
import type { ExecutionContext } from 'ava';
import { createEal, type Eal } from '../../../../../driver/eal/eal.js';
import { negotiate, requestFeatures, type Negotiation } from '../../../../../driver/virtio/features.js';
import { initDevice } from '../../../../../driver/virtio/init.js';
import type { QueueSetup } from '../../../../../driver/virtio/transport.js';
import {
  openVhostVdpa,
  type VhostVdpa,
  type VhostVdpaOptions,
} from '../../../../../driver/virtio/user/vdpa/vhost-vdpa.js';
import { packedLayout, splitLayout } from '../../../../../paths/layout.js';
import { FakeVdpa, type FakeMapping, type FakeVdpaOptions } from './mock-vdpa.js';

export interface VdpaFixture {
  readonly eal: Eal;
  readonly kernel: FakeVdpa;
  readonly lines: string[];
  /** @throws what the opening throws */
  open(options?: Partial<VhostVdpaOptions>): VhostVdpa;
  /** reset ... DRIVER_OK, with rings that are made the first time. */
  init(device: VhostVdpa, packed?: boolean): Negotiation;
  /** What the device should be able to reach: the packet memory. */
  reach(): FakeMapping[];
  /** Gives everything back before the test ends: for tests that make many. */
  dispose(): void;
}

export function vdpaFixture(t: ExecutionContext, options: FakeVdpaOptions = {}): VdpaFixture {
  const eal = createEal({ noHuge: true, memoryMiB: 4, pinMain: false, log: () => undefined });
  const kernel = new FakeVdpa(options);
  const lines: string[] = [];
  const devices: VhostVdpa[] = [];
  const rings = new Map<number, QueueSetup>();
  const dispose = () => {
    for (const device of devices.splice(0)) device.close();
    eal.close();
  };
  t.teardown(dispose);

  const ring = (index: number, size: number, packed: boolean): QueueSetup => {
    const layout = packed ? packedLayout(size) : splitLayout(size);
    const { offset } = eal.reserve(`vq${index}`, layout.byteLength, 4096);
    const { desc, driver, device } = layout;
    const base = packed ? 0x8000_8000 : 0;
    return { index, size, desc: offset + desc, driver: offset + driver, device: offset + device, base };
  };

  return {
    eal,
    kernel,
    lines,
    open: (wishes = {}) => {
      const log = (level: string, line: string) => lines.push(`${level}: ${line}`);
      const all = { path: kernel.path, queues: 1, queueSize: 256, cq: true, log, ...wishes };
      const device = openVhostVdpa(eal, all, kernel);
      devices.push(device);
      return device;
    },
    init: (device, packed = false) =>
      initDevice(device, {
        resetAttempts: 5,
        negotiate: (offer) => {
          const wishes = { mrgRxbuf: true, inOrder: true, packedVq: packed, cq: true, eventIdx: false };
          return negotiate(offer, requestFeatures({ ...wishes, rxOffloads: 0, txOffloads: 0 }), device.supported);
        },
        setupQueues: () => {
          for (let index = 0; index < 2 * device.maxQueuePairs; index++) {
            if (!rings.has(index)) rings.set(index, ring(index, device.maxQueueSize(index), packed));
            device.setupQueue(rings.get(index)!);
          }
        },
      }),
    reach: () =>
      eal.dmaRuns.map(({ offset, byteLength, deviceAddress }) => ({
        ...{ iova: deviceAddress, size: BigInt(byteLength), uaddr: eal.userAddress(offset) },
      })),
    dispose,
  };
}
