/** A job that passes on what comes from one queue to another: `passOn`. */
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
