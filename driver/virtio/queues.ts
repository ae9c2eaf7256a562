/** The rings of a port: memory for every negotiated virtqueue, and their plain descriptions. */
import { layoutOf, queueSharedBytes, ringBase, TX_SLOT_SIZE, type QueueSpec } from '../../paths/guest/queue.js';
import type { Selection } from '../../paths/select.js';
import type { Eal, Reservation } from '../eal/eal.js';
import { GUEST_TSO, has, hasAll, HOST_TSO, netHeaderSize, type Negotiation } from './features.js';
import type { ResolvedConfig } from '../port/config.js';
import type { QueueSetup, Transport } from './transport.js';
import { RX_OFFLOAD_VLAN_STRIP } from '../port/types.js';
import * as F from '../wire/virtio-features.js';

export interface PortQueues {
  /** All negotiated queues; the port uses the first of them. */
  readonly rx: readonly QueueSpec[];
  readonly tx: readonly QueueSpec[];
  readonly reservations: readonly Reservation[];
}

export interface QueuePlan {
  readonly portId: number;
  readonly pairs: number;
  readonly config: ResolvedConfig;
  readonly negotiation: Negotiation;
  readonly selection: Selection;
  /** By Rx queue, when the configuration has interrupts. */
  readonly interruptFds: readonly number[];
}

/** Makes the rings. @throws VirtioPmdError EMEMORY; nothing stays reserved then */
export function makeQueues(eal: Eal, transport: Transport, plan: QueuePlan): PortQueues {
  const reservations: Reservation[] = [];
  const reserve = (name: string, byteLength: number, align: number) => {
    const reservation = eal.reserve(name, byteLength, align);
    reservations.push(reservation);
    return reservation;
  };
  try {
    const rx: QueueSpec[] = [];
    const tx: QueueSpec[] = [];
    for (let pair = 0; pair < plan.pairs; pair++) {
      rx.push(makeQueue(eal, transport, plan, pair, false, reserve));
      tx.push(makeQueue(eal, transport, plan, pair, true, reserve));
    }
    return { rx, tx, reservations };
  } catch (error) {
    for (const reservation of reservations) eal.release(reservation);
    throw error;
  }
}

function makeQueue(
  eal: Eal,
  transport: Transport,
  plan: QueuePlan,
  queueId: number,
  isTx: boolean,
  reserve: (name: string, byteLength: number, align: number) => Reservation,
): QueueSpec {
  const { portId, config, selection, interruptFds } = plan;
  const { acknowledged } = plan.negotiation;
  const index = 2 * queueId + (isTx ? 1 : 0);
  const size = transport.maxQueueSize(index);
  const packed = has(acknowledged, F.VIRTIO_F_RING_PACKED);
  const ring = reserve(`port${portId}_vq${index}`, layoutOf({ packed, size }).byteLength, 4096);
  const zone = isTx ? reserve(`port${portId}_vq${index}_hdr`, size * TX_SLOT_SIZE, 64).offset : 0;
  const path = isTx ? selection.tx : selection.rx;
  return {
    portId,
    queueId,
    path,
    simd: path.endsWith('_vec') ? selection.simd : undefined,
    mapping: ring.mapping,
    packed,
    size,
    ringOff: ring.offset,
    hdrSize: netHeaderSize(acknowledged),
    mergeable: has(acknowledged, F.VIRTIO_NET_F_MRG_RXBUF),
    inOrder: has(acknowledged, F.VIRTIO_F_IN_ORDER),
    indirect: has(acknowledged, F.VIRTIO_F_INDIRECT_DESC),
    eventIdx: has(acknowledged, F.VIRTIO_F_EVENT_IDX),
    anyLayout: has(acknowledged, F.VIRTIO_F_VERSION_1),
    freeThresh: isTx ? config.txFreeThresh : config.rxFreeThresh,
    nbDesc: isTx ? config.txDesc : config.rxDesc,
    rxOffload: !isTx && has(acknowledged, F.VIRTIO_NET_F_GUEST_CSUM),
    lro: !isTx && has(acknowledged, GUEST_TSO),
    txOffload: isTx && has(acknowledged, F.VIRTIO_NET_F_CSUM),
    txTso: isTx && hasAll(acknowledged, HOST_TSO),
    hashReport: !isTx && has(acknowledged, F.VIRTIO_NET_F_HASH_REPORT),
    vlanStrip: !isTx && (config.rxOffloads & RX_OFFLOAD_VLAN_STRIP) !== 0,
    txZoneOff: zone,
    txZoneAddress: eal.deviceAddress(zone),
    mempool: config.mempool,
    doorbell: transport.doorbell(index, acknowledged),
    interruptFd: isTx ? undefined : interruptFds[queueId],
    shared: new SharedArrayBuffer(queueSharedBytes(size)),
  };
}

/** The set-up of a ring for the transport, with its current position. */
export function queueSetup(spec: QueueSpec, index: number): QueueSetup {
  const layout = layoutOf(spec);
  return {
    index,
    size: spec.size,
    desc: spec.ringOff + layout.desc,
    driver: spec.ringOff + layout.driver,
    device: spec.ringOff + layout.device,
    base: ringBase(spec),
  };
}

export function releaseQueues(eal: Eal, queues: PortQueues): void {
  for (const reservation of queues.reservations) eal.release(reservation);
}
