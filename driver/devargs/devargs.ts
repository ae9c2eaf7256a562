/**
 * The arguments of a virtio_user vdev and of a PCI device: those of the PMD guide, and our own: event_idx, reconnect,
 * handshake_timeout, and for PCI those that decline a feature. kvargs.ts parses them.
 */
import { anObject, aString, checkArgument, checkArguments } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { MAX_QUEUE_SIZE } from '../../paths/layout.js';
import { numberOf, unknownDevice } from './device-names.js';
import {
  flagKey,
  integerKey,
  macKey,
  parseDevargs,
  speedKey,
  splitDevargs,
  textKey,
  type DevargKey,
  type DevargValues,
} from './kvargs.js';

export * from './kvargs.js';

/** The limit of DPDK's vhost library: 128 queue pairs per device (VHOST_MAX_QUEUE_PAIRS). */
export const MAX_QUEUE_PAIRS = 128;
/** Descriptors in ethdev's smallest ring. */
export const MIN_QUEUE_SIZE = 32;

/** Seconds: one day. */
const MAX_HANDSHAKE_TIMEOUT = 86400;

/** Names of virtio_user vdevs, without their numbers. */
export const VIRTIO_USER_NAMES = ['net_virtio_user', 'virtio_user'] as const;

/** Arguments that every kind of device has. */
export interface PortArgs {
  /** `net_virtio_user0` or `virtio_user0` as given; a full PCI address. */
  readonly name: string;
  /** Use a control queue. For virtio_user: on request, and always when `queues` is above 1. */
  readonly cq: boolean;
  readonly mrgRxbuf: boolean;
  readonly inOrder: boolean;
  readonly packedVq: boolean;
  /** Link speed in Mb/s; undefined: unknown, or from the device. */
  readonly speed: number | undefined;
  readonly vectorized: boolean;
  /** Our own: request EVENT_IDX when the device offers it. */
  readonly eventIdx: boolean;
  /** virtio_user: this side listens. */
  readonly server?: boolean;
}

export interface PciDevargs extends PortArgs {
  /** vdpa=1: the device is left to a vDPA driver. */
  readonly vdpa: boolean;
}

export interface VirtioUserDevargs extends PortArgs {
  /** The number at the end of the name. */
  readonly index: number;
  /** Path of a vhost-user back-end's socket, or of a character device of the kernel. */
  readonly path: string;
  /** Upper case with colons; undefined: from the device, else random. */
  readonly mac: string | undefined;
  /** Requested queue pairs. */
  readonly queues: number;
  /** Descriptors of every ring, the control queue's included. */
  readonly queueSize: number;
  /** Name of the tap device; only for the vhost-kernel back-end. */
  readonly iface: string | undefined;
  /** Our own: set the tap device up at once; only for the vhost-kernel back-end. */
  readonly up: boolean;
  /** This side listens. */
  readonly server: boolean;
  /** Our own: in client mode, try to connect again when the back-end is gone. */
  readonly reconnect: boolean;
  /** Our own: limit of the handshake with a vhost-user back-end in seconds; undefined: that of `attach`, or the default. */
  readonly handshakeTimeout: number | undefined;
}

const handshakeTimeoutKey: DevargKey<number | undefined> = {
  ...integerKey(1, MAX_HANDSHAKE_TIMEOUT, MAX_HANDSHAKE_TIMEOUT),
  fallback: undefined,
};

const schema = {
  path: { ...textKey("the back-end's socket, such as /tmp/vhost.sock"), mandatory: true },
  mac: macKey,
  queues: integerKey(1, MAX_QUEUE_PAIRS, 1),
  queue_size: integerKey(MIN_QUEUE_SIZE, MAX_QUEUE_SIZE, 256),
  cq: flagKey(false),
  iface: textKey('the name of a tap device'),
  up: flagKey(false),
  server: flagKey(false),
  mrg_rxbuf: flagKey(true),
  in_order: flagKey(true),
  packed_vq: flagKey(false),
  speed: speedKey,
  vectorized: flagKey(false),
  event_idx: flagKey(false),
  reconnect: flagKey(true),
  handshake_timeout: handshakeTimeoutKey,
};

/**
 * Reads a vdev string such as `net_virtio_user0,path=/tmp/vhost.sock,queues=2`.
 * @throws VirtioPmdError EDEVARGS
 */
export function parseVirtioUser(text: string): VirtioUserDevargs {
  checkArgument('parseVirtioUser', 'text', text, aString);
  const { name, args } = splitDevargs(text);
  const index = numberOf(name, VIRTIO_USER_NAMES);
  if (index === undefined) throw unknownDevice(name, VIRTIO_USER_NAMES);
  const values = parseDevargs(args, schema, name);
  const queueSize = values.queue_size;
  if (!values.packed_vq && (queueSize & (queueSize - 1)) !== 0) {
    throw new VirtioPmdError(
      'EDEVARGS',
      `${name}: queue_size=${queueSize} is not accepted: expected a power of two from ${MIN_QUEUE_SIZE} to ${MAX_QUEUE_SIZE} (any size with packed_vq=1)`,
    );
  }
  return {
    name,
    index,
    path: values.path!,
    mac: values.mac,
    queues: values.queues,
    queueSize,
    cq: values.cq || values.queues > 1,
    iface: values.iface,
    up: values.up,
    server: values.server,
    mrgRxbuf: values.mrg_rxbuf,
    inOrder: values.in_order,
    packedVq: values.packed_vq,
    speed: values.speed,
    vectorized: values.vectorized,
    eventIdx: values.event_idx,
    reconnect: values.reconnect,
    handshakeTimeout: values.handshake_timeout,
  };
}

/** Keys of every PCI device; qtest has more (virtio/pci/qtest/devargs.ts). */
export const pciSchema = {
  // every value but 1 counts as 0, as in DPDK
  vdpa: { accepts: '0 or 1', parse: (text: string) => text === '1', fallback: false },
  speed: speedKey,
  vectorized: { accepts: '0 or 1', parse: (text: string) => text === '1', fallback: false },
  mrg_rxbuf: flagKey(true),
  in_order: flagKey(true),
  packed_vq: flagKey(true),
  event_idx: flagKey(false),
};

/** The arguments of a PCI device, from the values of its keys. */
export function pciArgs(name: string, values: DevargValues<typeof pciSchema>): PciDevargs {
  checkArguments('pciArgs', { name: [name, aString], values: [values, anObject] });
  return {
    name,
    cq: true,
    mrgRxbuf: values.mrg_rxbuf,
    inOrder: values.in_order,
    packedVq: values.packed_vq,
    speed: values.speed,
    vectorized: values.vectorized,
    eventIdx: values.event_idx,
    vdpa: values.vdpa,
  };
}
