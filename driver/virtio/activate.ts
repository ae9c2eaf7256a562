/** Putting a plan into effect on the device that is there now. Policy (when, and what to say) is the port's. */
import { VirtioPmdError } from '../../native/errors.js';
import { openRx } from '../../paths/guest/open.js';
import { queueState, resetQueue, type QueueSpec } from '../../paths/guest/queue.js';
import { NIL } from '../../paths/mempool.js';
import type { ControlCommand } from './control/commands.js';
import type { Eal } from '../eal/eal.js';
import { initDevice } from './init.js';
import { allQueues, cleanupTx, letBursts, usedRx, usedTx, virtqueueIndex, type Plan } from './plan.js';
import { queueSetup } from './queues.js';
import type { Transport } from './transport.js';
import { featureNames } from '../wire/virtio-features.js';

/** The initialisation sequence with a plan's features and rings. @throws VirtioPmdError EPEER, ETIMEOUT */
export function bringUp(transport: Transport, plan: Plan): void {
  initDevice(transport, {
    negotiate: (offer) => {
      const lacking = plan.negotiation.acknowledged & ~offer.bits;
      if (lacking === 0n) return plan.negotiation;
      throw new VirtioPmdError(
        'EPEER',
        `the back-end does not offer ${featureNames(lacking).join(', ')} any more, which the port was set up with: restart it with the features that it had, or stop and configure the port anew`,
      );
    },
    setupQueues: () => {
      for (const spec of allQueues(plan)) transport.setupQueue(queueSetup(spec, virtqueueIndex(spec)));
    },
  });
}

/**
 * Puts the rings of a device that was reset at their beginning, so that nothing is lost silently: what the device had not
 * sent yet is freed and counted. Only while no lcore polls.
 */
export function rewind(eal: Eal, plan: Plan): void {
  cleanupTx(eal, plan);
  for (const spec of allQueues(plan)) resetQueue(spec, eal.mempool(spec.mempool));
}

/**
 * Fills the Rx rings, enables the queue pairs, lets bursts through.
 * @param queuesCommand makes the device use the port's queue pairs, when it has several
 * @param mustFill an Rx ring without a single buffer is an error (else bursts fill it when mbufs come free)
 * @throws VirtioPmdError EMEMORY, EPEER, ETIMEOUT
 */
export function activate(
  eal: Eal,
  transport: Transport,
  plan: Plan,
  queuesCommand: () => ControlCommand,
  mustFill: boolean,
): void {
  const rx = usedRx(plan);
  const tx = usedTx(plan);
  for (const spec of rx) {
    openRx(spec, eal.mempool(spec.mempool)).fill();
    if (!mustFill || holdsBuffers(spec)) continue;
    throw new VirtioPmdError(
      'EMEMORY',
      `Failed to fill Rx queue ${spec.queueId} of port ${spec.portId}: mempool ${spec.mempool.name} has no free mbufs; make it larger`,
    );
  }
  if (plan.pairs > 1) runCommand(transport, queuesCommand(), 'set queue pairs');
  letBursts([...rx, ...tx], true);
  for (const spec of rx) transport.notify(virtqueueIndex(spec));
  eal.lcores.wake(); // those that sleep have to ask these queues for interrupts
}

function holdsBuffers(spec: QueueSpec): boolean {
  return queueState(spec).cookie.some((m) => m !== NIL);
}

/** @throws VirtioPmdError EPEER when the device refuses */
export function runCommand(transport: Transport, command: ControlCommand, what: string): void {
  const answer = transport.control(command);
  if (answer === 0) return;
  throw new VirtioPmdError('EPEER', `Failed to ${what}: the device answered ${answer} instead of 0`);
}
