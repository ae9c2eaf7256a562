/** The queues of net_tap: the module that lcores load. Each packet is one system call, with a net header in front of it. */
import { pollFd, POLLERR, POLLIN } from '../../../native/event.js';
import { prepareFor } from '../../../paths/guest/tx/offload.js';
import type { Mempool } from '../../../paths/mempool.js';
import type { PortQueueSpec, QueueInterrupt, RxQueue, TxQueue } from '../../port/queue.js';
import { BROKEN, STARTED, vdevQueueState } from '../queue-state.js';
import { TapReader } from './rx.js';
import { DELETED, type TapQueueSpec } from './spec.js';
import { TapWriter } from './tx.js';

/** There is no ring: what a tap of the kernel holds back is not known. */
const FREE_DESCRIPTORS = 512;

export function openRx(spec: PortQueueSpec, pool: Mempool): RxQueue {
  const tap = spec as TapQueueSpec;
  const { words, stats } = vdevQueueState(tap);
  const reader = new TapReader(tap, pool, stats);
  const works = () => words[STARTED] !== 0 && words[BROKEN] === 0;
  const interrupt: QueueInterrupt = {
    enable: () => works() && (pollFd(tap.fd, POLLIN, 0) & POLLIN) !== 0,
    disable: () => undefined,
    get fd() {
      return works() ? tap.fd : undefined;
    },
    drain() {
      if (!works()) return false;
      const events = pollFd(tap.fd, POLLIN, 0);
      if ((events & POLLERR) !== 0) words[BROKEN] = DELETED; // poll would report it again and again
      return (events & POLLIN) !== 0;
    },
  };
  const recv = (pkts: Uint32Array, n: number) => {
    if (!works()) return 0;
    const done = reader.read(pkts, n);
    if (reader.deleted) words[BROKEN] = DELETED;
    return done;
  };
  return { spec, recv, fill: () => 0, interrupt };
}

export function openTx(spec: PortQueueSpec, pool: Mempool): TxQueue {
  const tap = spec as TapQueueSpec;
  const { words, stats } = vdevQueueState(tap);
  const writer = new TapWriter(tap, pool, stats);
  const xmit = (pkts: Uint32Array, n: number) => {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    const done = writer.write(pkts, n);
    if (writer.deleted) words[BROKEN] = DELETED;
    return done;
  };
  return { spec, prepare: prepareFor(tap.offload, pool), xmit, cleanup: () => FREE_DESCRIPTORS };
}
