/** net_null as a driver of ports: packets from nowhere for ever, and what is sent goes nowhere. Its bursts: null-queue.ts. */
import { claimsNames } from '../devargs/device-names.js';
import { VirtioPmdError } from '../../native/errors.js';
import { ETHER_HDR_LEN } from '../../paths/layout.js';
import { flagKey, integerKey, parseDevargs, splitDevargs } from '../devargs/kvargs.js';
import type { ResolvedConfig } from '../port/config.js';
import { Absent, type PortDriver } from '../port/device.js';
import { randomMac } from '../port/random-mac.js';
import { TX_OFFLOAD_MULTI_SEGS } from '../port/types.js';
import { receivesAll } from '../port/receives-all.js';
import { VdevDevice, type Vdev } from './vdev.js';
import type { NullQueueData } from './null-queue.js';

const MODULE = new URL('./null-queue.js', import.meta.url).href;

/** RTE_MAX_QUEUES_PER_PORT. */
const MAX_QUEUES = 1024;
/** Longest packet that a mempool's largest data room could take. */
const MAX_SIZE = 65535;

interface NullDevargs {
  readonly name: string;
  /** Bytes of each packet. */
  readonly size: number;
  /** Each packet gets its contents: zeros. */
  readonly copy: boolean;
  /** Nothing is received. */
  readonly noRx: boolean;
}

const schema = { size: integerKey(ETHER_HDR_LEN, MAX_SIZE, 64), copy: flagKey(false), 'no-rx': flagKey(false) };

function fail(message: string): VirtioPmdError {
  return new VirtioPmdError('EDEVARGS', message);
}

/** @throws VirtioPmdError EDEVARGS */
function parseNull(text: string): NullDevargs {
  const { name, args } = splitDevargs(text);
  const { size, copy, 'no-rx': noRx } = parseDevargs(args, schema, name);
  if (copy && noRx) throw fail(`${name}: copy=1 and no-rx=1 exclude each other: leave one out`);
  return { name, size, copy, noRx };
}

function nullVdev({ name, size, copy, noRx }: NullDevargs): Vdev {
  const mac = randomMac();
  return {
    driverName: 'net_null',
    mac,
    ...{ maxRxQueues: MAX_QUEUES, maxTxQueues: MAX_QUEUES },
    limits: { maxRxPktLen: 0xffffffff },
    txOffloadCapa: TX_OFFLOAD_MULTI_SEGS,
    module: MODULE,
    burstMode: 'eth_null',
    filters: receivesAll(mac, 'it makes its packets itself'),
    rss: new Absent('each queue makes its own packets'),
    interrupts: new Absent('it always has packets'),
    link: { up: true, speed: 10000 },
    queueData(kind, _, { mempool }: ResolvedConfig): NullQueueData & { readonly path: string } {
      if (kind === 'rx' && !noRx && size > mempool.dataRoom) {
        throw new VirtioPmdError(
          'ECONFIG',
          `${name}: packets of size=${size} do not fit into the mbufs of ${mempool.name}, which hold ${mempool.dataRoom} bytes; use larger mbufs (--mbuf-size) or a smaller size`,
        );
      }
      return { size, copy, noRx, path: kind === 'tx' ? 'eth_null_tx' : noRx ? 'eth_null_no_rx' : 'eth_null_rx' };
    },
    release: () => undefined,
    privateInfo: () => [
      ['size', String(size)],
      ['copy', copy ? '1' : '0'],
      ['no-rx', noRx ? '1' : '0'],
    ],
    close: () => undefined,
  };
}

const NAMES = ['net_null', 'eth_null'] as const;

/** Claims `net_nullN`, and `eth_nullN`, DPDK's older name. */
export const netNull: PortDriver = {
  bus: 'vdev',
  names: NAMES,
  queueModule: MODULE,
  claims: claimsNames(NAMES),
  nameOf: (devargs) => parseNull(devargs).name,
  probe: (_, devargs) => {
    const args = parseNull(devargs);
    return Promise.resolve({ open: (host) => new VdevDevice(host, nullVdev(args)), close: () => undefined });
  },
};
