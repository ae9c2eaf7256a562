/**
 * The arguments of a virtio_user vdev and of a PCI device: the PMD guide's lists, and keys of ours: event_idx, reconnect,
 * handshake_timeout, and for PCI those that decline a feature. How they are read is kvargs.ts.
 */
import { anObject, aString, checkArgument, checkArguments } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { MAX_QUEUE_SIZE } from '../../paths/layout.js';
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
import { nearest } from '../../native/nearest.js';

export * from './kvargs.js';

/** DPDK's vhost library takes 128 queue pairs per device at most (VHOST_MAX_QUEUE_PAIRS). */
export const MAX_QUEUE_PAIRS = 128;
/** ethdev's smallest ring. */
export const MIN_QUEUE_SIZE = 32;

/** Seconds: a day. */
const MAX_HANDSHAKE_TIMEOUT = 86400;

/** What the arguments of any device say. */
export interface PortArgs {
  /** `net_virtio_user0` or `virtio_user0` as it was given; a PCI address in full. */
  readonly name: string;
  /** Control queue; of virtio_user when asked for, and always when `queues` is above 1. */
  readonly cq: boolean;
  readonly mrgRxbuf: boolean;
  readonly inOrder: boolean;
  readonly packedVq: boolean;
  /** Mb/s. */
  readonly speed: number | undefined;
  readonly vectorized: boolean;
  /** Ours: ask for EVENT_IDX when the device offers it. */
  readonly eventIdx: boolean;
  /** virtio_user: this side listens. */
  readonly server?: boolean;
}

export interface PciDevargs extends PortArgs {
  /** The device is left to a vDPA driver. */
  readonly vdpa: boolean;
}

export interface VirtioUserDevargs extends PortArgs {
  /** N of the name. */
  readonly index: number;
  /** Socket of a vhost-user back-end, or a character device of the kernel. */
  readonly path: string;
  /** Upper case with colons; undefined: from the device, else random. */
  readonly mac: string | undefined;
  /** Queue pairs asked for. */
  readonly queues: number;
  /** Descriptors of every ring, the control queue's included. */
  readonly queueSize: number;
  /** Name of the tap device; only for the kernel's back-end. */
  readonly iface: string | undefined;
  /** Ours: the tap device is set up at once; only for the kernel's back-end. */
  readonly up: boolean;
  /** This side listens. */
  readonly server: boolean;
  /** Ours: in client mode, go on trying to connect once the back-end has gone. */
  readonly reconnect: boolean;
  /** Ours: seconds that the handshake with a vhost-user back-end may take; undefined: the default, or what `attach` is told. */
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
  const index = /^(?:net_)?virtio_user(\d+)$/.exec(name)?.[1];
  if (index === undefined) {
    const near = nearest(name, ['net_virtio_user0', 'virtio_user0']);
    throw new VirtioPmdError(
      'EDEVARGS',
      `"${name}" names no device that this driver knows${near ? `; did you mean "${near}"?` : ''}: expected net_virtio_user<N> or virtio_user<N>, then its arguments`,
    );
  }
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
    index: Number(index),
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

/** Keys of every PCI device; qtest has more (pci/qtest-devargs.ts). */
export const pciSchema = {
  // anything but 1 is 0, as in DPDK
  vdpa: { accepts: '0 or 1', parse: (text: string) => text === '1', fallback: false },
  speed: speedKey,
  vectorized: { accepts: '0 or 1', parse: (text: string) => text === '1', fallback: false },
  mrg_rxbuf: flagKey(true),
  in_order: flagKey(true),
  packed_vq: flagKey(true),
  event_idx: flagKey(false),
};

/** What the keys of a PCI device say. */
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
