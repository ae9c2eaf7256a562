/** The arguments of a net_vhost vdev, as in DPDK's vhost PMD guide. */
import { aString, checkArgument } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { MAX_QUEUE_PAIRS } from './devargs.js';
import { numberOf } from './device-names.js';
import { flagKey, integerKey, parseDevargs, splitDevargs, textKey, type DevargKey } from './kvargs.js';

export interface VhostDevargs {
  /** `net_vhost0` or `eth_vhost0` as given. */
  readonly name: string;
  /** Path of the socket. */
  readonly iface: string;
  /** Queue pairs. */
  readonly queues: number;
  /** Connect to a front-end that listens. */
  readonly client: boolean;
}

/** A key that asks for what is not there: 0 is accepted. */
const notYet: DevargKey<boolean> = { ...flagKey(false), accepts: '0' };

const schema = {
  iface: { ...textKey('the path of the socket, such as /tmp/vhost.sock'), mandatory: true },
  queues: integerKey(1, MAX_QUEUE_PAIRS, 1),
  client: flagKey(false),
  'iommu-support': notYet,
  'postcopy-support': notYet,
  tso: notYet,
  'linear-buffer': notYet,
  'ext-buffer': notYet,
  'legacy-ol-flags': notYet,
  'dequeue-zero-copy': notYet,
};

/** Why a key cannot be switched on. */
const reasons: Readonly<Record<string, string>> = {
  'iommu-support': 'guest addresses are not translated by an IOMMU: give the guest a NIC without iommu_platform=on',
  'postcopy-support': 'memory of the guest is not fetched on demand: migrate with pre-copy',
  tso: 'no segmentation is offered to guests: they cut their packets themselves',
  'linear-buffer': 'a packet longer than an mbuf is a chain of mbufs: choose larger mbufs (--mbuf-size)',
  'ext-buffer': 'a packet longer than an mbuf is a chain of mbufs: choose larger mbufs (--mbuf-size)',
  'legacy-ol-flags': 'no checksum offload is offered to guests, so there are no offload flags of either kind',
  'dequeue-zero-copy': 'DPDK had it from 16.11 to 20.08 and removed it: packets are copied',
};

export const VHOST_NAMES = ['net_vhost', 'eth_vhost'] as const;

/** Reads a vdev string such as `net_vhost0,iface=/tmp/vhost.sock,queues=2`. @throws VirtioPmdError EDEVARGS */
export function parseVhost(text: string): VhostDevargs {
  checkArgument('parseVhost', 'text', text, aString);
  const { name, args } = splitDevargs(text);
  if (numberOf(name, VHOST_NAMES) === undefined) {
    throw new VirtioPmdError('EDEVARGS', `"${name}" is no vhost port: expected net_vhost<N>, then its arguments`);
  }
  const values = parseDevargs(args, schema, name);
  for (const [key, reason] of Object.entries(reasons)) {
    if (values[key as keyof typeof values]) throw new VirtioPmdError('EDEVARGS', `${name}: ${key}=1: ${reason}`);
  }
  const iface = values.iface!;
  if (iface.startsWith('/dev/vduse/')) {
    throw new VirtioPmdError(
      'EDEVARGS',
      `${name}: iface=${iface} is a VDUSE device, which this driver does not serve: name the socket of a vhost-user front-end`,
    );
  }
  return { name, iface, queues: values.queues, client: values.client };
}
