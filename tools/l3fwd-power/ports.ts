/** The ports of l3fwd-power: attaches them, sets them up as in --config, and prints their links. */
import { isVirtioPmdError, VirtioPmdError } from '../../native/errors.js';
import type { Eal } from '../../driver/eal/eal.js';
import { attach } from '../../driver/port/attach.js';
import type { Port } from '../../driver/port/port.js';
import { isVirtqueue } from '../../driver/port/queue.js';
import type { Link, PortEvents } from '../../driver/port/types.js';
import type { MempoolSpec } from '../../paths/mempool.js';
import { devicesOf } from '../common/devices.js';
import type { EalArguments } from '../common/eal-options.js';
import { formatLink } from '../common/link.js';
import { mtuFor } from '../common/mtu.js';
import { rxQueuesOf, type LcoreQueues } from './lcore-config.js';
import type { L3fwdOptions, Mode } from './options.js';
import { BURST } from './router.js';

const CACHE_SIZE = 250;
/** The minimum of NB_MBUF. */
const MIN_MBUFS = 8192;
const HEADROOM = 128;
const DATA_ROOM = 2048;

export interface Output {
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
  readonly log: PortEvents['log'];
}

/** Input for setting up the ports. */
export interface SetUp {
  readonly eal: Eal;
  readonly options: L3fwdOptions;
  readonly mode: Mode;
  readonly lcores: readonly LcoreQueues[];
  readonly maxSimdBitwidth: number;
  readonly output: Output;
}

/** Attaches the devices and adds them to `ports`, one after the other: after a failure the caller can close these. */
export async function attachAll(eal: Eal, ports: Port[], args: EalArguments, signal: AbortSignal, { log }: Output) {
  for (const device of devicesOf(args, log)) ports.push(await attach(eal, device, { signal, log }));
}

/** Data room of an mbuf for the longest packet. */
const dataRoomOf = ({ maxPacketLength = 0 }: L3fwdOptions) => Math.max(DATA_ROOM, Math.ceil(maxPacketLength / 64) * 64);

/** Makes a mempool of the sample's NB_MBUF: for full rings, a burst from each lcore to each port, and full lcore caches. */
function createPool(ports: readonly Port[], { eal, options, lcores }: SetUp): MempoolSpec {
  const count = ports.reduce(
    (sum, port) => {
      const queues = Math.max(rxQueuesOf(options.config, port.id), lcores.length);
      return sum + 2 * queues * port.info().queueSize + lcores.length * BURST;
    },
    lcores.length * 2 * CACHE_SIZE,
  );
  return eal.createMempool({
    name: 'mbuf_pool_0',
    count: Math.max(MIN_MBUFS, count),
    headroom: HEADROOM,
    dataRoom: dataRoomOf(options),
    cacheSize: CACHE_SIZE,
  });
}

/** Configures a port. @throws VirtioPmdError ECONFIG when it does not have the queues or interrupts, or has another limit */
function initialise(port: Port, mempool: MempoolSpec, setUp: SetUp): void {
  const { options, mode, lcores, maxSimdBitwidth } = setUp;
  const { print, complain } = setUp.output;
  const rxQueues = rxQueuesOf(options.config, port.id);
  // a port without Rx queues needs no interrupts
  const rxInterrupts = mode === 'interrupt-only' && rxQueues > 0;
  const why = rxInterrupts ? port.lacks('interrupts') : undefined;
  if (why !== undefined) {
    throw new VirtioPmdError(
      'ECONFIG',
      `port ${port.id} (${port.name}) has no interrupts of Rx queues: ${why}; use --pmd-mgmt=pause or --pmd-mgmt=baseline`,
    );
  }
  port.configure({
    mempool,
    rxQueues,
    txQueues: lcores.length,
    rxInterrupts,
    maxSimdBitwidth,
    ...mtuOf(port, options),
  });
  if (rxQueues > 0 && rxQueues < lcores.length && port.spec().rx.every(isVirtqueue)) {
    complain(
      `Port ${port.id}: ${lcores.length} lcores send, so that the device uses ${lcores.length} queue pairs; --config polls ${rxQueues} of them, and packets that the device steers to the others are lost`,
    );
  }
  const txQueues = lcores.map(({ lcoreId }, queue) => `txq=${lcoreId},${queue},0 `).join('');
  print(
    `Initializing port ${port.id} ... Creating queues: nb_rxq=${rxQueues} nb_txq=${lcores.length}...  Address:${port.mac.toUpperCase()}, ${txQueues}`,
  );
}

/** As in the sample, the length includes the header that the device puts in front of packets. */
function mtuOf(port: Port, { maxPacketLength }: L3fwdOptions): { mtu: number } | undefined {
  return maxPacketLength === undefined ? undefined : { mtu: mtuFor(maxPacketLength, port.info()) };
}

function start(port: Port, { options, output }: SetUp): void {
  port.start();
  if (!options.promiscuous) return;
  try {
    port.setPromiscuous(true);
  } catch (error) {
    if (!isVirtioPmdError(error)) throw error;
    const why = port.lacks('filters') ?? (error.code === 'ECONFIG' ? 'Operation not supported' : error.message);
    output.complain(`Error during enabling promiscuous mode for port ${port.id}: ${why} - ignore`);
  }
}

/**
 * Makes the mempool, and configures and starts the enabled ports of `attached`. @returns them, in the order of their ids
 * @throws VirtioPmdError
 */
export function setUpPorts(attached: readonly Port[], setUp: SetUp): readonly Port[] {
  const { options, lcores, output } = setUp;
  const ports = attached.filter((port) => options.ports.includes(port.id));
  const mempool = createPool(ports, setUp);
  output.print('Allocated mbuf pool on socket 0');
  for (const port of attached) {
    if (ports.includes(port)) initialise(port, mempool, setUp);
    else output.print(`\nSkipping disabled port ${port.id}`);
  }
  for (const { lcoreId, queues } of lcores) {
    const list = queues.map(({ port, queue }) => `rxq=${port},${queue},0 `).join('');
    output.print(`\nInitializing rx queues on lcore ${lcoreId} ... ${list}`);
  }
  for (const port of ports) start(port, setUp);
  return ports;
}

/**
 * Prints the links, and from now on their changes. The sample waits up to 9 s for links that are down; here the lcores start
 * at once. @returns a function that ends the messages
 */
export function watchLinks(ports: readonly Port[], { print }: Output): () => void {
  let watching = true;
  const tell = (port: Port, link: Link) => watching && print(`Port ${port.id} Link ${formatLink(link)}`);
  print('\nChecking link statusdone');
  for (const port of ports) {
    tell(port, port.link);
    port.on('link', (link) => tell(port, link));
  }
  return () => (watching = false);
}
