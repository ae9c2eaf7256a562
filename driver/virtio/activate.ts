/** Applies a plan to the current device. The port decides when, and what to log. */
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

/** Runs the initialisation sequence with a plan's features and rings. @throws VirtioPmdError EPEER, ETIMEOUT */
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
 * Initializes the rings of a device that was reset. Packets that the device had not sent are freed and counted, so that none
 * is lost silently. Only while no lcore polls.
 */
export function rewind(eal: Eal, plan: Plan): void {
  cleanupTx(eal, plan);
  for (const spec of allQueues(plan)) resetQueue(spec, eal.mempool(spec.mempool));
}

/**
 * Fills the Rx rings, enables the queue pairs, and starts the queues.
 * @param queuesCommand makes the device use the port's queue pairs, when it has several
 * @param mustFill an Rx ring without any buffer is an error (else bursts fill it when mbufs become free)
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
  eal.lcores.wake(); // sleeping lcores have to enable the interrupts of these queues
}

function holdsBuffers(spec: QueueSpec): boolean {
  return queueState(spec).cookie.some((m) => m !== NIL);
}

/** Runs a control command. @throws VirtioPmdError EPEER when the device refuses */
export function runCommand(transport: Transport, command: ControlCommand, what: string): void {
  const answer = transport.control(command);
  if (answer === 0) return;
  throw new VirtioPmdError('EPEER', `Failed to ${what}: the device answered ${answer} instead of 0`);
}
