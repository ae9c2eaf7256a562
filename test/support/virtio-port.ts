/** Ports on virtio transports that a test has made, and their virtqueues. */
import type { PortArgs } from '../../driver/devargs/devargs.js';
import type { Eal } from '../../driver/eal/eal.js';
import type { LogLevel } from '../../driver/eal/types.js';
import { Port } from '../../driver/port/port.js';
import { isVirtqueue } from '../../driver/port/queue.js';
import type { PortSpec } from '../../driver/port/types.js';
import { probedVirtio } from '../../driver/virtio/probed.js';
import type { Transport } from '../../driver/virtio/transport.js';
import type { QueueSpec } from '../../paths/guest/queue.js';

export interface VirtioPortOptions {
  readonly eal: Eal;
  readonly id: number;
  readonly devargs: string;
  readonly args: PortArgs;
  readonly transport: Transport;
  readonly log: (level: LogLevel, line: string) => void;
}

/** As `attach` makes it, with a transport that is there already. */
export function virtioPort({ eal, id, devargs, args, transport, log }: VirtioPortOptions): Port {
  const probed = probedVirtio(args, transport);
  return new Port({ eal, id, name: args.name, devargs, open: (host) => probed.open(host), log });
}

/** The queues of a virtio port, with all that paths/guest knows of them. */
export function virtqueues(port: { readonly spec: () => PortSpec }): { rx: QueueSpec[]; tx: QueueSpec[] } {
  const { rx, tx } = port.spec();
  return { rx: rx.filter(isVirtqueue), tx: tx.filter(isVirtqueue) };
}
