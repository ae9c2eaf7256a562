/** The properties of a vdpa device, asked once when its file is opened, and the reasons why it cannot be used. */
import { VirtioPmdError } from '../../../../native/errors.js';
import { MAX_QUEUE_SIZE } from '../../../../paths/layout.js';
import type { AddressRange } from '../../../eal/addressing.js';
import { has, MQ_OR_RSS } from '../../features.js';
import type { Log } from '../../../eal/types.js';
import { CONFIG_MAC, CONFIG_MAX_PAIRS } from '../../transport.js';
import { VHOST_BACKEND_F_IOTLB_BATCH, VHOST_BACKEND_F_IOTLB_MSG_V2 } from '../../../wire/linux/vhost-types.js';
import { VIRTIO_ID_NET } from '../../../wire/linux/virtio-ids.js';
import { VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX } from '../../../wire/linux/virtio-net.js';
import { isUnicast, MAC_LENGTH } from '../../../wire/mac.js';
import * as F from '../../../wire/virtio-features.js';
import type { VdpaFile } from './file.js';

const IOTLB_MSG_V2 = 1n << BigInt(VHOST_BACKEND_F_IOTLB_MSG_V2);
const IOTLB_BATCH = 1n << BigInt(VHOST_BACKEND_F_IOTLB_BATCH);

/** What was found. */
export interface VdpaDevice {
  /** Feature bits that the device offers. */
  readonly features: bigint;
  /** max_virtqueue_pairs: the control queue comes after that many, even if fewer are used (virtio 1.2 section 5.1.2). */
  readonly devicePairs: number;
  /** Descriptors of every ring. */
  readonly ringSize: number;
  /** The kernel applies several mappings at once (VHOST_BACKEND_F_IOTLB_BATCH). */
  readonly batch: boolean;
  /** Ranges of addresses that can be mapped; none: all addresses. */
  readonly ranges: readonly AddressRange[];
  /** Six bytes; undefined: the device has none, and there is no devarg mac. */
  readonly mac: Uint8Array | undefined;
}

/** What the devargs ask for. */
export interface VdpaWishes {
  readonly path: string;
  readonly queues: number;
  readonly queueSize: number;
  readonly mac?: Uint8Array | undefined;
  readonly log: Log;
}

/** Makes this process the owner of the device, and asks it. @throws VirtioPmdError ECONFIG, EPEER when it cannot be used */
export function surveyVdpa(file: VdpaFile, wishes: VdpaWishes): VdpaDevice {
  const { path } = file;
  const id = file.deviceId();
  if (id === undefined) {
    throw new VirtioPmdError('ECONFIG', `${path} is no vhost-vdpa device: name one of /dev/vhost-vdpa-*`);
  }
  if (id !== VIRTIO_ID_NET) {
    throw new VirtioPmdError(
      'ECONFIG',
      `Invalid vdpa device ID: ${id}. ${path} is no network device, which has ${VIRTIO_ID_NET}: name another`,
    );
  }
  file.setOwner();
  const batch = agreeOnIotlb(file);
  const features = file.features();
  const range = file.iovaRange();
  return {
    features,
    batch,
    devicePairs: checkQueues(file, features, wishes.queues),
    ringSize: chooseRingSize(file, wishes),
    ranges: range === undefined ? [] : [range],
    mac: chooseMac(file, features, wishes),
  };
}

/** @returns whether several mappings are applied at once */
function agreeOnIotlb(file: VdpaFile): boolean {
  const offered = file.backendFeatures();
  if (!has(offered, IOTLB_MSG_V2)) {
    throw new VirtioPmdError(
      'EPEER',
      `IOTLB_MSG_V2 not supported by the backend. The kernel cannot be told what memory ${file.path} may reach: use a newer one`,
    );
  }
  file.setBackendFeatures(offered & (IOTLB_MSG_V2 | IOTLB_BATCH));
  return has(offered, IOTLB_BATCH);
}

/** @returns the queue pairs of the device */
function checkQueues(file: VdpaFile, features: bigint, wanted: number): number {
  const { path } = file;
  let pairs = 1;
  if (has(features, MQ_OR_RSS)) {
    const [low, high] = file.readConfig(CONFIG_MAX_PAIRS, 2);
    pairs = low! | (high! << 8);
    if (pairs < 1 || pairs > VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX) {
      throw new VirtioPmdError(
        'EPEER',
        `${path}: the device says max_virtqueue_pairs is ${pairs}, 1 to ${VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX} is expected: it cannot be used`,
      );
    }
  }
  const count = file.queueCount();
  const needed = 2 * pairs + (has(features, F.VIRTIO_NET_F_CTRL_VQ) ? 1 : 0);
  if (count !== undefined && count < needed) {
    throw new VirtioPmdError(
      'EPEER',
      `${path}: the device has ${count} virtqueues, ${pairs} queue pairs with its features need ${needed}: it cannot be used`,
    );
  }
  if (wanted <= pairs) return pairs;
  throw new VirtioPmdError(
    'ECONFIG',
    `queues=${wanted} is too many for ${path}, which has ${pairs === 1 ? 'one queue pair' : `${pairs} queue pairs`}: use queues=${pairs}, or make the device with more (vdpa dev add ... max_vqp ${wanted})`,
  );
}

/** The kernel takes powers of two only, for packed rings too. @returns descriptors of every ring */
function chooseRingSize(file: VdpaFile, { queueSize, log }: VdpaWishes): number {
  const largest = file.ringSize();
  if (largest < 1 || largest > MAX_QUEUE_SIZE) {
    throw new VirtioPmdError(
      'EPEER',
      `${file.path}: the device has rings of ${largest} descriptors, 1 to ${MAX_QUEUE_SIZE} is expected: it cannot be used`,
    );
  }
  const size = 2 ** Math.floor(Math.log2(Math.min(queueSize, largest)));
  if (size < queueSize) log('info', `(${file.path}) queue_size=${queueSize}: rings have ${size} descriptors`);
  return size;
}

/** Writes the devarg mac into the device. A device that does not take it keeps its own, as in DPDK. @returns the address in use */
function chooseMac(file: VdpaFile, features: bigint, { mac, log }: VdpaWishes): Uint8Array | undefined {
  if (!has(features, F.VIRTIO_NET_F_MAC)) return mac;
  if (mac !== undefined) {
    try {
      file.writeConfig(CONFIG_MAC, mac);
    } catch (error) {
      log('debug', `(${file.path}) ${(error as Error).message}`);
    }
  }
  const own = file.readConfig(CONFIG_MAC, MAC_LENGTH);
  if (mac !== undefined && !own.every((byte, i) => byte === mac[i])) {
    log('info', `(${file.path}) Device MAC update failed`);
  }
  return isUnicast(own) ? own : mac;
}
