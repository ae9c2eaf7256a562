/** A port on a vhost-kernel back-end on a mock kernel. */
import { virtioPort } from '../../../../support/virtio-port.js';
import { readdirSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { createEal, type Eal } from '../../../../../driver/eal/eal.js';
import { parseVirtioUser } from '../../../../../driver/devargs/devargs.js';
import type { Port } from '../../../../../driver/port/port.js';
import { macBytes } from '../../../../../driver/wire/mac.js';
import { openVhostKernel, type VhostKernel } from '../../../../../driver/virtio/user/vhost-kernel/vhost-kernel.js';
import type { MempoolSpec } from '../../../../../paths/mempool.js';
import { FakeKernel, type FakeKernelOptions } from './mock-vhost-net.js';

export interface KernelBench {
  readonly eal: Eal;
  readonly mempool: MempoolSpec;
  readonly kernel: FakeKernel;
  /** "level line". */
  readonly lines: string[];
  /** As probe does with `net_virtio_user0,path=/dev/vhost-net` and what else is given. */
  device(args?: string): VhostKernel;
  /** The same, and a port on it. */
  port(args?: string): { port: Port; device: VhostKernel; links: boolean[] };
}

/** Everything is undone after the test, however that went. */
export function kernelBench(t: ExecutionContext, options: FakeKernelOptions = {}): KernelBench {
  const eal = createEal({ noHuge: true, memoryMiB: 32, log: () => undefined, pinMain: false });
  const mempool = eal.createMempool({ count: 2048 });
  const kernel = new FakeKernel(options);
  const lines: string[] = [];
  const log = (level: string, line: string) => void lines.push(`${level} ${line}`);
  const undo: (() => void)[] = [];
  t.teardown(() => {
    for (const step of undo) step();
    eal.close();
  });
  const open = (text: string) => {
    const args = parseVirtioUser(text);
    const { path, iface, up, queues, queueSize, cq, speed } = args;
    const mac = args.mac === undefined ? undefined : macBytes(args.mac);
    const device = openVhostKernel(eal, { path, iface, up, queues, queueSize, cq, mac, speed, log }, kernel);
    undo.push(() => device.close());
    return { args, device };
  };
  const textOf = (args: string) => `net_virtio_user0,path=/dev/vhost-net${args}`;
  return {
    ...{ eal, mempool, kernel, lines },
    device: (args = '') => open(textOf(args)).device,
    port: (more = '') => {
      const { args, device } = open(textOf(more));
      const port = virtioPort({ eal, id: 0, devargs: textOf(more), args, transport: device, log });
      const links: boolean[] = [];
      port.on('link', (link) => links.push(link.up));
      undo.unshift(() => port.close());
      return { port, device, links };
    },
  };
}

export const openFds = (): number => readdirSync('/proc/self/fd').length;
