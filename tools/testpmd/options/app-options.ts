/** The options after `--`: dpdk-testpmd's own. */
import { VirtioPmdError } from '../../../native/errors.js';
import {
  RX_OFFLOAD_SCATTER,
  RX_OFFLOAD_TCP_CKSUM,
  RX_OFFLOAD_TCP_LRO,
  RX_OFFLOAD_UDP_CKSUM,
  RX_OFFLOAD_VLAN_FILTER,
  RX_OFFLOAD_VLAN_STRIP,
} from '../../../driver/port/types.js';
import { didYouMean } from '../../../native/nearest.js';
import { parseMac } from '../../../driver/wire/mac.js';
import { locateMode } from '../engines/load-mode.js';
import { findMode, isModePath, modeNames, type Mode } from '../engines/modes.js';
import { checkIgnored, ignoredNotes } from '../../common/ignored-options.js';
import { all, has, last, parseArgs, table, type Values } from '../../common/parse.js';
import { RSS_IP, RSS_UDP } from '../names/rss-types.js';
import { topologies, type Topology } from '../topology.js';
import { whyNoMode } from '../commands/unsupported.js';
import { ignoredAppOptions } from './ignored-options.js';
import {
  parseHex,
  parseIpv4,
  parseMask,
  parseNumberList,
  parseRangeList,
  parseUnsigned,
  U16_MAX,
} from '../../common/values.js';

export const MAX_BURST = 512;
/** Bytes of the Ethernet, IPv4 and UDP headers of a generated packet. */
const MIN_TX_LENGTH = 42;
export const HEADROOM = 128;
/** RTE_MAX_SEGS_PER_PKT of dpdk-testpmd. */
const MAX_SEGMENTS = 255;
/** RTE_MAX_QUEUES_PER_PORT */
const MAX_QUEUES = 1024;
const TX_OFFLOAD_MBUF_FAST_FREE = 0x10000;

export interface AppArguments {
  readonly interactive: boolean;
  readonly autoStart: boolean;
  readonly txFirst: boolean;
  /** Seconds; 0: no periodic statistics. */
  readonly statsPeriod: number;
  readonly cmdlineFile: { readonly path: string; readonly echo: boolean } | undefined;
  readonly cores: number | undefined;
  readonly ports: number | undefined;
  readonly coreList: readonly number[] | undefined;
  readonly portList: readonly number[] | undefined;
  readonly rxQueues: number;
  readonly txQueues: number;
  /** 0: the ring's size. */
  readonly rxDesc: number;
  readonly txDesc: number;
  readonly burst: number;
  /** Bytes of an mbuf's element, headroom included. */
  readonly mbufSize: number;
  readonly totalMbufs: number | undefined;
  readonly mbufCache: number;
  readonly maxPacketLength: number | undefined;
  readonly mode: Mode;
  readonly retry: boolean;
  readonly ethPeers: readonly { readonly port: number; readonly mac: string }[];
  readonly ethPeersFile: string | undefined;
  readonly topology: Topology;
  readonly flushRx: boolean;
  readonly txSegments: readonly number[];
  readonly multiFlow: boolean;
  readonly flows: number;
  readonly txIp: { readonly source: number; readonly destination: number };
  readonly txUdp: { readonly source: number; readonly destination: number };
  readonly rxFreeThresh: number | undefined;
  readonly txFreeThresh: number | undefined;
  readonly rxOffloads: number;
  /** Rx offloads to use where a port has them. */
  readonly rxOffloadWishes: number;
  /** RTE_ETH_RSS_*: packet types by which packets are spread over several Rx queues. */
  readonly rssHf: bigint;
  readonly txOffloads: number;
  /** --hot-plug: close a port whose device was removed. */
  readonly hotPlug: boolean;
  readonly linkInterrupt: boolean;
  readonly linkCheck: boolean;
  readonly startDevices: boolean;
  readonly help: boolean;
  readonly notes: readonly string[];
}

const flags = [
  'interactive', 'auto-start', 'help', 'tx-first', 'no-flush-rx', 'txonly-multi-flow', 'no-lsc-interrupt', 'disable-link-check',
  'disable-device-start', 'enable-scatter', 'enable-hw-vlan', 'enable-hw-vlan-strip', 'enable-hw-vlan-filter', 'hot-plug', 'disable-rss', 'rss-ip', 'rss-udp', 'enable-rx-cksum', 'enable-lro',
]; // prettier-ignore
const values = [
  'stats-period', 'cmdline-file', 'cmdline-file-noecho', 'nb-cores', 'nb-ports', 'coremask', 'portmask', 'portlist', 'corelist', 'rxq', 'txq', 'rxd',
  'txd', 'burst', 'mbuf-size', 'total-num-mbufs', 'mbcache', 'max-pkt-len', 'forward-mode', 'eth-peers-configfile', 'port-topology', 'txpkts',
  'tx-ip', 'tx-udp', 'rxfreet', 'txfreet', 'rx-offloads', 'tx-offloads', 'flowgen-flows',
]; // prettier-ignore

const aliases = { i: 'interactive', a: 'auto-start', h: 'help' };

export const appTable = table(flags, values, ['eth-peer'], aliases, ignoredAppOptions);

const fail = (sentence: string) => new VirtioPmdError('EOPTION', `testpmd: ${sentence}`);

function number(parsed: Values, name: string, min: number, max: number): number | undefined {
  const text = last(parsed, name);
  if (text === undefined) return undefined;
  const value = parseUnsigned(text, min, max);
  if (value === undefined) throw fail(`--${name}=${text}: must be a number from ${min} to ${max}`);
  return value;
}

function listOf(parsed: Values, name: string, parse: (text: string) => number[] | undefined, example: string) {
  const text = last(parsed, name);
  if (text === undefined) return undefined;
  const list = parse(text);
  if (!list || list.length === 0) throw fail(`--${name}=${text}: must be like ${example}`);
  return list;
}

function pair(
  parsed: Values,
  name: string,
  parse: (text: string) => number | undefined,
  fallback: number[],
  example: string,
) {
  const text = last(parsed, name);
  if (text === undefined) return { source: fallback[0]!, destination: fallback[1]! };
  const parts = text.split(',').map(parse);
  const [source, destination = source] = parts;
  if (source === undefined || destination === undefined || parts.includes(undefined) || parts.length > 2)
    throw fail(`--${name}=${text}: must be like ${example}`);
  return { source, destination };
}

function parsePeer(text: string): { port: number; mac: string } {
  const comma = text.indexOf(',');
  const port = parseUnsigned(text.slice(0, comma), 0, U16_MAX);
  const mac = parseMac(text.slice(comma + 1));
  if (comma < 0 || port === undefined || !mac)
    throw fail(`--eth-peer=${text}: must be PORT,MAC as in 0,02:00:00:00:00:01`);
  return { port, mac };
}

function checkProcess(parsed: Values): void {
  const [processes, id] = [Number(last(parsed, 'num-procs') ?? 1), Number(last(parsed, 'proc-id') ?? 0)];
  if (id >= processes) throw fail(`--proc-id=${id}: must be less than --num-procs, which is ${processes}`);
  if (id > 0) throw fail(`--proc-id=${id}: there is no primary process to share ports with: leave it out`);
}

/** Why segments of these lengths cannot make a packet, in dpdk-testpmd's words; undefined when they can. */
export function checkTxSegments(segments: readonly number[], dataRoom: number): string | undefined {
  if (segments.length > MAX_SEGMENTS) {
    return `Number of txpkt segments = ${segments.length} > ${MAX_SEGMENTS} (maximum items)`;
  }
  const total = segments.reduce((sum, length) => sum + length, 0);
  const tooLong = segments.findIndex((length) => length > dataRoom);
  if (tooLong >= 0) return `length[${tooLong}]=${segments[tooLong]} > mbuf data size=${dataRoom} - give up`;
  if (segments.includes(0)) return 'a segment of 0 bytes - give up';
  if (total < MIN_TX_LENGTH) return `total packet length=${total} < ${MIN_TX_LENGTH} - give up`;
  if (total > U16_MAX) return `total packet length=${total} > ${U16_MAX} - give up`;
  return undefined;
}

function parseMode(text: string): { mode: Mode; retry: boolean } {
  const found = findMode(text);
  if (found) return found;
  if (isModePath(text)) return { mode: locateMode(text), retry: false };
  const why = whyNoMode(text);
  if (why !== undefined) throw fail(`--forward-mode=${text} is not supported: ${why}`);
  throw fail(
    `--forward-mode=${text}: Invalid ${text} packet forwarding mode: must be one of ${modeNames.join(', ')}, or the path of a module such as ./my-mode.ts${didYouMean(text, modeNames)}`,
  );
}

function offloadBits(parsed: Values, name: 'rx-offloads' | 'tx-offloads'): number {
  const text = last(parsed, name);
  if (text === undefined) return 0;
  const bits = parseHex(text, 0x7fffffff);
  if (bits === undefined) throw fail(`--${name}=${text}: must be hexadecimal bits, up to 0x7fffffff`);
  return bits;
}

function rxOffloads(parsed: Values): number {
  let offloads = offloadBits(parsed, 'rx-offloads');
  if (has(parsed, 'enable-scatter')) offloads |= RX_OFFLOAD_SCATTER;
  if (has(parsed, 'enable-hw-vlan-strip')) offloads |= RX_OFFLOAD_VLAN_STRIP;
  if (has(parsed, 'enable-hw-vlan-filter')) offloads |= RX_OFFLOAD_VLAN_FILTER;
  if (has(parsed, 'enable-lro')) offloads |= RX_OFFLOAD_TCP_LRO;
  return offloads;
}

/**
 * The Rx offloads of these options that virtio can have. In dpdk-testpmd they also request others (the checksum of IPv4,
 * QinQ), so that no virtio port starts with them.
 */
function rxOffloadWishes(parsed: Values): number {
  let wishes = 0;
  if (has(parsed, 'enable-rx-cksum')) wishes |= RX_OFFLOAD_UDP_CKSUM | RX_OFFLOAD_TCP_CKSUM;
  if (has(parsed, 'enable-hw-vlan')) wishes |= RX_OFFLOAD_VLAN_STRIP | RX_OFFLOAD_VLAN_FILTER;
  return wishes;
}

/** The packet types; default IP, as in dpdk-testpmd. */
function rssHf(parsed: Values): bigint {
  if (has(parsed, 'disable-rss')) return 0n;
  return has(parsed, 'rss-udp') && !has(parsed, 'rss-ip') ? RSS_UDP : RSS_IP;
}

function pathOf(parsed: Values, name: string): string | undefined {
  const path = last(parsed, name);
  if (path === '') throw fail(`--${name}=: must be the path of a file`);
  return path;
}

function cmdlineFile(parsed: Values) {
  const noEcho = pathOf(parsed, 'cmdline-file-noecho');
  const path = noEcho ?? pathOf(parsed, 'cmdline-file');
  return path === undefined ? undefined : { path, echo: noEcho === undefined };
}

function topologyOf(parsed: Values): Topology {
  const text = last(parsed, 'port-topology') ?? 'paired';
  const topology = topologies.find((name) => name === text);
  if (!topology) throw fail(`port-topology ${text} invalid - must be: paired, chained or loop`);
  return topology;
}

/** @throws VirtioPmdError EOPTION: one sentence naming the option, the value and what is accepted. */
export function parseAppOptions(argv: readonly string[]): AppArguments {
  const parsed = parseArgs('testpmd', appTable, argv);
  checkIgnored('testpmd', parsed, ignoredAppOptions);
  checkProcess(parsed);
  const mbufSizes = listOf(parsed, 'mbuf-size', parseNumberList, '2176 or 2176,8192') ?? [2048 + HEADROOM];
  const mbufSize = mbufSizes[0]!;
  if (mbufSize < HEADROOM + 64 || mbufSize > U16_MAX) {
    throw fail(
      `--mbuf-size=${mbufSize}: must be from ${HEADROOM + 64} to ${U16_MAX}, the headroom of ${HEADROOM} bytes included`,
    );
  }
  const txSegments = listOf(parsed, 'txpkts', parseNumberList, '64 or 64,128') ?? [64];
  const bad = checkTxSegments(txSegments, mbufSize - HEADROOM);
  if (bad) throw fail(`bad txpkts: ${bad}`);
  const rxQueues = number(parsed, 'rxq', 0, MAX_QUEUES) ?? 1;
  const txQueues = number(parsed, 'txq', 0, MAX_QUEUES) ?? 1;
  if (rxQueues === 0 || txQueues === 0) throw fail('--rxq and --txq must be above 0: queues come in pairs here');
  const notes = ignoredNotes('testpmd', parsed, ignoredAppOptions);
  if (mbufSizes.length > 1)
    notes.push(`testpmd: --mbuf-size: the first size, ${mbufSize}, is used; there is one mempool`);
  return {
    interactive: has(parsed, 'interactive'),
    autoStart: has(parsed, 'auto-start'),
    txFirst: has(parsed, 'tx-first'),
    statsPeriod: number(parsed, 'stats-period', 0, U16_MAX) ?? 0,
    cmdlineFile: cmdlineFile(parsed),
    cores: number(parsed, 'nb-cores', 1, U16_MAX),
    ports: number(parsed, 'nb-ports', 1, U16_MAX),
    coreList: listOf(parsed, 'coremask', parseMask, '0xe') ?? listOf(parsed, 'corelist', parseRangeList, '1,3'),
    portList: listOf(parsed, 'portmask', parseMask, '0x3') ?? listOf(parsed, 'portlist', parseRangeList, '0,1'),
    rxQueues,
    txQueues,
    rxDesc: number(parsed, 'rxd', 0, U16_MAX) ?? 0,
    txDesc: number(parsed, 'txd', 0, U16_MAX) ?? 0,
    // 0 requests the driver's preferred burst, and virtio has none
    burst: number(parsed, 'burst', 0, MAX_BURST) || 32,
    mbufSize,
    totalMbufs: number(parsed, 'total-num-mbufs', 1025, 0x7fffffff),
    mbufCache: number(parsed, 'mbcache', 1, MAX_BURST) ?? 250,
    maxPacketLength: number(parsed, 'max-pkt-len', 64, U16_MAX),
    ...parseMode(last(parsed, 'forward-mode') ?? 'io'),
    ethPeers: all(parsed, 'eth-peer').map(parsePeer),
    ethPeersFile: pathOf(parsed, 'eth-peers-configfile'),
    topology: topologyOf(parsed),
    flushRx: !has(parsed, 'no-flush-rx'),
    txSegments,
    multiFlow: has(parsed, 'txonly-multi-flow'),
    flows: number(parsed, 'flowgen-flows', 1, 0x7fffffff) ?? 1024,
    txIp: pair(parsed, 'tx-ip', parseIpv4, [0xc6120001, 0xc6120002], '198.18.0.1,198.18.0.2'),
    txUdp: pair(parsed, 'tx-udp', (text) => parseUnsigned(text, 0, U16_MAX), [9, 9], '9,9'),
    rxFreeThresh: number(parsed, 'rxfreet', 0, U16_MAX),
    txFreeThresh: number(parsed, 'txfreet', 0, U16_MAX),
    rxOffloads: rxOffloads(parsed),
    rxOffloadWishes: rxOffloadWishes(parsed),
    rssHf: rssHf(parsed),
    // a promise about mbufs that is always true here; dpdk-testpmd drops it, too, for ports that do not offer it
    txOffloads: offloadBits(parsed, 'tx-offloads') & ~TX_OFFLOAD_MBUF_FAST_FREE,
    hotPlug: has(parsed, 'hot-plug'),
    linkInterrupt: !has(parsed, 'no-lsc-interrupt'),
    linkCheck: !has(parsed, 'disable-link-check'),
    startDevices: !has(parsed, 'disable-device-start'),
    help: has(parsed, 'help'),
    notes,
  };
}
