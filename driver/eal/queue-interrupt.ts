/** The interrupt of an Rx queue of any kind: a virtqueue's, made from its ring, or that which the queue's module supplies. */
import { VirtioPmdError } from '../../native/errors.js';
import { drainFd } from '../../native/event.js';
import { openRxInterrupt } from '../../paths/guest/interrupt.js';
import { BROKEN, FREE_COUNT, queueState, STARTED, type QueueSpec } from '../../paths/guest/queue.js';
import { isVirtqueue, type QueueInterrupt, type RxQueue } from '../port/queue.js';

/** What an interrupt needs of its queue. */
export type Interruptible = Pick<RxQueue, 'spec' | 'fill' | 'interrupt'>;

/** Those of this thread's virtqueues. */
const ofVirtqueues = new WeakMap<Interruptible, QueueInterrupt>();

/** The interrupt of a queue. @throws VirtioPmdError ECONFIG when it has none */
export function interruptOf(queue: Interruptible): QueueInterrupt {
  const known = queue.interrupt ?? ofVirtqueues.get(queue);
  if (known !== undefined) return known;
  const { spec } = queue;
  if (!isVirtqueue(spec) || spec.interruptFd === undefined) {
    throw new VirtioPmdError(
      'ECONFIG',
      `port ${spec.portId} rx queue ${spec.queueId} has no interrupt: configure the port with rxInterrupts: true`,
    );
  }
  const made = virtqueueInterrupt(spec, spec.interruptFd, queue);
  ofVirtqueues.set(queue, made);
  return made;
}

/** A queue without buffers is filled first, if there are mbufs now: otherwise no packet would ever arrive. */
function virtqueueInterrupt(spec: QueueSpec, fd: number, { fill }: Interruptible): QueueInterrupt {
  const { words } = queueState(spec);
  const ring = openRxInterrupt(spec);
  const { nbDesc } = spec;
  // a queue that is stopped may be one of a closed port, whose descriptor numbers may be those of other files by now
  const works = () => words[STARTED] !== 0 && words[BROKEN] === 0;
  return {
    enable() {
      if (words[FREE_COUNT] === nbDesc && works()) fill();
      return ring.enable();
    },
    disable: () => ring.disable(),
    get fd() {
      return works() ? fd : undefined;
    },
    drain: () => works() && drainFd(fd),
  };
}
