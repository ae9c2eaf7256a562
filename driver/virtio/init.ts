/**
 * The initialisation sequence of virtio 1.2 section 3.1.1, the same for every transport: reset, ACKNOWLEDGE, DRIVER,
 * features, FEATURES_OK, queues, DRIVER_OK. DPDK continues after a reset that never completes, and never writes FAILED. This
 * stops, writes FAILED to the device and throws.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { hex } from '../../native/hex.js';
import { has, type FeatureOffer, type Negotiation } from './features.js';
import type { Transport } from './transport.js';
import {
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
  STATUS_NEEDS_RESET,
  VIRTIO_F_VERSION_1,
} from '../wire/virtio-features.js';

/** The driver's part of the sequence. */
export interface InitPlan {
  /** Chooses the features. Throws to give up. */
  readonly negotiate: (offer: FeatureOffer) => Negotiation;
  /** Makes the rings and passes them to the transport, between FEATURES_OK and DRIVER_OK. */
  readonly setupQueues: (negotiation: Negotiation) => void;
  /** Reads of the status, 1 ms apart, before a reset counts as failed. Default 3000, as in DPDK. */
  readonly resetAttempts?: number;
}

const sleepWord = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this thread: the control plane waits for devices synchronously. */
function sleepMs(ms: number): void {
  Atomics.wait(sleepWord, 0, 0, ms);
}

/** Resets the device. The reset is complete only when the status reads 0. @throws VirtioPmdError ETIMEOUT */
export function resetDevice(transport: Transport, attempts = 3000): void {
  transport.writeStatus(0);
  let status = transport.readStatus();
  for (let i = 0; status !== 0 && i < attempts; i++) {
    sleepMs(1);
    status = transport.readStatus();
  }
  if (status === 0) return;
  throw new VirtioPmdError(
    'ETIMEOUT',
    `the device did not complete its reset in ${attempts} ms: its status reads ${hex(status)} instead of 0; detach it and restart its back-end`,
  );
}

/**
 * Brings the device to DRIVER_OK.
 * @throws VirtioPmdError after writing FAILED, when the device refuses a step or `plan` gives up
 */
export function initDevice(transport: Transport, plan: InitPlan): Negotiation {
  resetDevice(transport, plan.resetAttempts);
  try {
    addStatus(transport, STATUS_ACKNOWLEDGE);
    addStatus(transport, STATUS_DRIVER);
    const negotiation = plan.negotiate(transport.readFeatures());
    transport.writeFeatures(negotiation.acknowledged);
    // legacy devices do not have FEATURES_OK (section 3.1.2)
    if (has(negotiation.acknowledged, VIRTIO_F_VERSION_1)) confirmFeatures(transport);
    plan.setupQueues(negotiation);
    addStatus(transport, STATUS_DRIVER_OK);
    return negotiation;
  } catch (error) {
    giveUp(transport);
    throw error;
  }
}

function confirmFeatures(transport: Transport): void {
  addStatus(transport, STATUS_FEATURES_OK);
  checkFeaturesOk(transport.readStatus());
}

/** Checks the status after writing FEATURES_OK. @throws VirtioPmdError EPEER when the device has cleared the bit */
export function checkFeaturesOk(status: number): void {
  if (status & STATUS_NEEDS_RESET) {
    throw new VirtioPmdError('EPEER', `the device asks for a reset (status ${hex(status)}): restart its back-end`);
  }
  if (status & STATUS_FEATURES_OK) return;
  throw new VirtioPmdError(
    'EPEER',
    `Failed to set FEATURES_OK status! The device refused the acknowledged features (status ${hex(status)}): ask for fewer, for example with mrg_rxbuf=0, in_order=0 or packed_vq=0`,
  );
}

/** Sets status bits: they are never cleared without a reset (section 2.1.1). */
function addStatus(transport: Transport, bits: number): void {
  transport.writeStatus(transport.readStatus() | bits);
}

/** Writes FAILED. Ignores errors: the device may not respond any more. */
export function giveUp(transport: Transport): void {
  try {
    addStatus(transport, STATUS_FAILED);
  } catch {
    // the caller throws the original error, which says more
  }
}
