/** Jobs that pass on what comes from one queue to another: `passOn` and `sleepAndPassOn`. */
import type { LcoreContext } from '../../../../driver/eal/types.js';
import { loadQueues, type PortQueueSpec } from '../../../../driver/port/queue.js';
import { openStream } from '../../../../driver/port/stream.js';

export async function passOn(
  context: LcoreContext,
  { rx, tx }: { rx: PortQueueSpec; tx: PortQueueSpec },
): Promise<void> {
  await loadQueues([rx, tx]);
  const stream = openStream(context, { rx, tx });
  while (context.running()) stream.transmit(stream.receive());
}

/** The same, asleep between packets. `words`: waits so far, and packets whose interrupt did not come. */
export async function sleepAndPassOn(
  context: LcoreContext,
  { rx, tx, words: shared }: { rx: PortQueueSpec; tx: PortQueueSpec; words: SharedArrayBuffer },
): Promise<void> {
  await loadQueues([rx, tx]);
  const words = new Int32Array(shared);
  const stream = openStream(context, { rx, tx });
  const { rxInterrupt } = context;
  while (context.running()) {
    Atomics.add(words, 0, 1);
    rxInterrupt.wait([stream.rx]);
    Atomics.store(words, 1, rxInterrupt.missed);
    stream.transmit(stream.receive());
  }
}
