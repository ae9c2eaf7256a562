/** A job that passes packets from one queue to another until it is stopped, or has passed on enough: `passSome`. */
import type { LcoreContext } from '../../../../driver/eal/types.js';
import { loadQueues, type PortQueueSpec } from '../../../../driver/port/queue.js';
import { openStream } from '../../../../driver/port/stream.js';

export interface PassJob {
  readonly rx: PortQueueSpec;
  readonly tx: PortQueueSpec;
  /** Packets; without end when absent. */
  readonly limit?: number;
  readonly burst?: number;
}

export async function passSome(
  context: LcoreContext,
  { rx, tx, limit = Infinity, burst = 32 }: PassJob,
): Promise<void> {
  await loadQueues([rx, tx]);
  const stream = openStream(context, { rx, tx, settings: { burst } });
  let passed = 0;
  while (context.running() && passed < limit) {
    const n = stream.receive();
    if (n > 0) stream.transmit(n);
    passed += n;
  }
}
