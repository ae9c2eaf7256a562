/** Two kernels with our driver between them: what the tests of whole transfers have in common. */
import type { ExecutionContext } from 'ava';
import {
  RX_OFFLOAD_SCATTER,
  RX_OFFLOAD_TCP_CKSUM,
  RX_OFFLOAD_TCP_LRO,
  RX_OFFLOAD_UDP_CKSUM,
  TX_OFFLOAD_MULTI_SEGS,
  TX_OFFLOAD_TCP_CKSUM,
  TX_OFFLOAD_TCP_TSO,
  TX_OFFLOAD_UDP_CKSUM,
} from '../../../../../../driver/port/types.js';
import { Forwarder, type Adjust, type Seen } from './net-forward.js';
import { stackErrors, startApart, startPorts, type KernelEnd, type NetPortRequest, type NetPorts } from './net.js';

export const MIB = 1 << 20;
export const ETHER = 14;

export const CHECKSUMS = {
  rxOffloads: RX_OFFLOAD_UDP_CKSUM | RX_OFFLOAD_TCP_CKSUM,
  txOffloads: TX_OFFLOAD_UDP_CKSUM | TX_OFFLOAD_TCP_CKSUM,
};
/** Into mbufs that hold the longest packets. */
export const LARGE = {
  rxOffloads: CHECKSUMS.rxOffloads | RX_OFFLOAD_TCP_LRO,
  txOffloads: CHECKSUMS.txOffloads | TX_OFFLOAD_TCP_TSO,
};
/** Into as many mbufs as it takes. */
export const SCATTERED = {
  rxOffloads: LARGE.rxOffloads | RX_OFFLOAD_SCATTER,
  txOffloads: LARGE.txOffloads | TX_OFFLOAD_MULTI_SEGS,
};

export interface Transfer extends NetPorts {
  readonly ends: readonly [KernelEnd, KernelEnd];
  readonly forwarder: Forwarder;
  /** Stops, and fails unless everybody is content and every mbuf back. @returns what was seen from either end */
  finish(): Promise<readonly [Seen, Seen]>;
}

export interface TransferRequest {
  /** Options of both NICs. */
  readonly device?: string;
  /** Both ports. */
  readonly port: NetPortRequest;
  readonly mtu?: number;
  /** Queues of the taps. */
  readonly queues?: number;
  readonly dataRoom?: number;
  readonly adjust?: Adjust;
}

/** Two kernels with our driver between them, forwarding. */
export async function startTransfer(t: ExecutionContext, request: TransferRequest): Promise<Transfer> {
  const { device = '', port, mtu = 1500, queues = 1, dataRoom, adjust } = request;
  const { machine, ends } = await startApart(t, { devices: [device, device], mtu, queues });
  const net = await startPorts(t, machine, [port, port], dataRoom);
  const forwarder = Forwarder.start(t, net, adjust);
  const finish = async () => {
    await forwarder.stop();
    t.deepEqual(forwarder.problems.slice(0, 5), []);
    for (const end of ends) t.deepEqual(stackErrors(end), []);
    for (const each of net.ports) {
      t.like(each.stats(), { ierrors: 0, oerrors: 0, rxNombuf: 0 });
      each.close();
    }
    t.deepEqual(net.eal.leaks(), []);
    return forwarder.seen;
  };
  return { ...net, ends, forwarder, finish };
}
