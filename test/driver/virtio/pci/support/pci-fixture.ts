/** A fake PCI device, an environment and what the tests of PCI transports do with them. */
import type { ExecutionContext } from 'ava';
import { createEal, type Eal } from '../../../../../driver/eal/eal.js';
import { negotiate, requestFeatures, type Negotiation } from '../../../../../driver/virtio/features.js';
import { initDevice } from '../../../../../driver/virtio/init.js';
import { probeVirtioPci } from '../../../../../driver/virtio/pci/virtio-pci.js';
import type { QueueSetup, Transport } from '../../../../../driver/virtio/transport.js';
import { packedLayout, splitLayout } from '../../../../../paths/layout.js';
import { FakeFunction, type FakeOptions } from './mock-function.js';

/** Enough for a device that takes a few reads; a test that waits for one that never resets takes as many milliseconds. */
export const RESET_ATTEMPTS = 5;

export interface PciFixture {
  readonly eal: Eal;
  readonly fn: FakeFunction;
  readonly lines: string[];
  /** @throws what the probe throws */
  probe(): Transport;
  /** Memory for a ring. */
  ring(index: number, size: number, packed: boolean): QueueSetup;
  /** Gives everything back before the test ends: for tests that make many. */
  dispose(): void;
  /** reset ... DRIVER_OK with `rings`, which are made when they are not given. */
  init(transport: Transport, options?: InitOptions): Negotiation;
}

export interface InitOptions {
  readonly packed?: boolean;
  readonly rings?: readonly QueueSetup[];
  readonly pairs?: number;
}

export function pciFixture(t: ExecutionContext, options: FakeOptions = {}): PciFixture {
  const eal = createEal({ noHuge: true, memoryMiB: 4, pinMain: false });
  const fn = new FakeFunction(options);
  const lines: string[] = [];
  const transports: Transport[] = [];
  const dispose = () => {
    for (const transport of transports) transport.close();
    eal.close();
  };
  t.teardown(dispose);

  const ring = (index: number, size: number, packed: boolean): QueueSetup => {
    const layout = packed ? packedLayout(size) : splitLayout(size);
    const { offset } = eal.reserve(`vq${index}`, layout.byteLength, 4096);
    const { desc, driver, device } = layout;
    return { index, size, desc: offset + desc, driver: offset + driver, device: offset + device, base: 0 };
  };

  return {
    eal,
    fn,
    lines,
    probe: () => {
      const log = (level: string, line: string) => lines.push(`${level}: ${line}`);
      const transport = probeVirtioPci(eal, fn, { log, resetAttempts: RESET_ATTEMPTS });
      transports.push(transport);
      return transport;
    },
    ring,
    dispose,
    init: (transport, { packed = false, pairs = 1, rings } = {}) =>
      initDevice(transport, {
        resetAttempts: RESET_ATTEMPTS,
        negotiate: (offer) => {
          const wishes = { mrgRxbuf: true, inOrder: true, packedVq: packed, cq: true, eventIdx: false };
          const request = requestFeatures({ ...wishes, rxOffloads: 0, txOffloads: 0 });
          return negotiate(offer, request, transport.supported);
        },
        setupQueues: () => {
          const made = Array.from({ length: 2 * pairs }, (_, i) => ring(i, transport.maxQueueSize(i), packed));
          for (const queue of rings ?? made) transport.setupQueue(queue);
        },
      }),
  };
}
