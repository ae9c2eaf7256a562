/** The queues of net_af_packet: the module that lcores load. Each burst copies between mbufs and the frames of a ring. */
import { pollFd, POLLERR, POLLIN } from '../../../native/event.js';
import { takeSocketError } from '../../../native/packet-socket.js';
import type { Mempool } from '../../../paths/mempool.js';
import type { QueueInterrupt, PortQueueSpec, RxQueue, TxQueue } from '../../port/queue.js';
import { STARTED, vdevQueueState, type VdevQueueSpec } from '../queue-state.js';
import { FrameReader } from './rx.js';
import type { RingSpec } from './socket.js';
import { FrameWriter } from './tx.js';

/** A queue as plain data. */
export interface AfPacketQueueSpec extends VdevQueueSpec {
  readonly ring: RingSpec;
  /** Rx: take VLAN tags out of packets. */
  readonly vlanStrip: boolean;
}

export function openRx(spec: PortQueueSpec, pool: Mempool): RxQueue {
  const { ring, vlanStrip, portId } = spec as AfPacketQueueSpec;
  const { words, stats } = vdevQueueState(spec as AfPacketQueueSpec);
  const reader = new FrameReader(ring, pool, { portId, vlanStrip, stats });
  const recv = (pkts: Uint32Array, n: number) => (words[STARTED] === 0 ? 0 : reader.read(pkts, n));
  return { spec, recv, fill: () => 0, interrupt: interruptOf(ring.fd, words, reader) };
}

/** The socket is readable for as long as packets wait in its ring. */
function interruptOf(fd: number, words: Int32Array, reader: FrameReader): QueueInterrupt {
  return {
    enable: () => words[STARTED] !== 0 && reader.waits(),
    disable: () => undefined,
    get fd() {
      return words[STARTED] === 0 ? undefined : fd;
    },
    drain() {
      if (words[STARTED] === 0) return false;
      const events = pollFd(fd, POLLIN, 0);
      if ((events & POLLERR) !== 0) takeSocketError(fd); // the interface went down: poll would report it again and again
      return (events & POLLIN) !== 0;
    },
  };
}

export function openTx(spec: PortQueueSpec, pool: Mempool): TxQueue {
  const { ring } = spec as AfPacketQueueSpec;
  const { words, stats } = vdevQueueState(spec as AfPacketQueueSpec);
  const writer = new FrameWriter(ring, pool, stats);
  return {
    spec,
    prepare: (pkts, n) => writer.prepare(pkts, n),
    xmit: (pkts, n) => (words[STARTED] === 0 || n === 0 ? 0 : writer.write(pkts, n)),
    cleanup: () => (words[STARTED] === 0 ? 0 : writer.flush()),
  };
}
