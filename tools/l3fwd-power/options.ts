/** The options after `--`: those of dpdk-l3fwd-power. */
import { VirtioPmdError } from '../../native/errors.js';
import { didYouMean } from '../../native/nearest.js';
import { parseMac } from '../../driver/wire/mac.js';
import {
  checkIgnored,
  ethLinkSpeed,
  flag,
  ignoredNotes,
  silent,
  type IgnoredOptions,
} from '../common/ignored-options.js';
import { all, has, last, parseArgs, table, type Values } from '../common/parse.js';
import { parseMask, parseUnsigned, U16_MAX, U32_MAX } from '../common/values.js';
import { parseConfig, type RxAssignment } from './lcore-config.js';

/** Modes with the names that the sample prints. */
export type Mode = 'interrupt-only' | 'telemetry' | 'pmd mgmt';
export type PmdMgmt = 'baseline' | 'pause' | 'monitor';

export interface L3fwdOptions {
  /** -p: ids of the enabled ports. */
  readonly ports: readonly number[];
  readonly promiscuous: boolean;
  readonly config: readonly RxAssignment[];
  readonly parsePtype: boolean;
  /** Undefined: no mode was given. */
  readonly mode: Mode | undefined;
  readonly pmdMgmt: PmdMgmt;
  readonly maxEmptyPolls: number;
  readonly pauseDurationUs: number;
  readonly maxPacketLength: number | undefined;
  /** --eth-dest: by port id, AA:BB:CC:DD:EE:FF. */
  readonly destinations: ReadonlyMap<number, string>;
  readonly ruleIpv4: string | undefined;
  readonly ruleIpv6: string | undefined;
  readonly help: boolean;
  /** Lines about options without effect, to print. */
  readonly notes: readonly string[];
}

const PROGRAM = 'l3fwd-power';
const DEFAULT_MAX_EMPTY_POLLS = 512;
const DEFAULT_PAUSE_US = 1;
const MAX_PAUSE_US = 1_000_000;
const MIN_PACKET_LENGTH = 64;
const MAX_PACKET_LENGTH = 9600;

const frequency = 'changes CPU frequencies, which this program leaves to the kernel';
const uncore = 'changes uncore frequencies, which this program leaves to the kernel';
/** Options of the sample that are not supported, without dashes, and why. */
const refused: Readonly<Record<string, string>> = {
  legacy: frequency,
  u: uncore,
  U: uncore,
  i: uncore,
  'perf-config': frequency,
  'high-perf-cores': frequency,
  'scale-freq-min': frequency,
  'scale-freq-max': frequency,
  'cpu-resume-latency': 'limits the sleep states of a CPU, which this program leaves to the kernel',
};
const ignored: IgnoredOptions = {
  'no-numa': silent(flag('memory comes from the nearest node')),
  'eth-link-speed': ethLinkSpeed,
};

const flags = ['P', 'help', 'parse-ptype', 'interrupt-only', 'telemetry', 'legacy', 'u', 'U'];
const values = [
  'p', 'config', 'pmd-mgmt', 'max-empty-polls', 'pause-duration', 'max-pkt-len', 'rule_ipv4', 'rule_ipv6',
  'i', 'perf-config', 'high-perf-cores', 'scale-freq-min', 'scale-freq-max', 'cpu-resume-latency',
]; // prettier-ignore
export const l3fwdTable = table(flags, values, ['eth-dest'], { h: 'help' }, ignored);

/** Options that select a mode, and its name in the sample's error for two modes. */
const modeOptions: Readonly<Record<string, string>> = {
  legacy: 'legacy',
  telemetry: 'telemetry',
  'pmd-mgmt': 'power mgmt',
  'interrupt-only': 'interrupt-only',
};

const fail = (sentence: string) => new VirtioPmdError('EOPTION', `${PROGRAM}: ${sentence}`);

function checkModes(parsed: Values): void {
  const given = [...parsed].flatMap(([option, times]) => times.map(() => modeOptions[option])).filter(Boolean);
  if (given.length > 1) throw fail(`${given[1]} mode is mutually exclusive with other modes: leave all but one out`);
}

function checkRefused(parsed: Values): void {
  for (const [name, why] of Object.entries(refused)) {
    if (!has(parsed, name)) continue;
    const option = name.length === 1 ? `-${name}` : `--${name}`;
    throw fail(`${option} ${why}: leave it out; --interrupt-only lets idle CPUs sleep`);
  }
}

function number(parsed: Values, name: string, min: number, max: number): number | undefined {
  const text = last(parsed, name);
  if (text === undefined) return undefined;
  const value = parseUnsigned(text, min, max);
  if (value === undefined) throw fail(`--${name}=${text}: must be a number from ${min} to ${max}`);
  return value;
}

function pathOf(parsed: Values, name: string): string | undefined {
  const path = last(parsed, name);
  if (path === '') throw fail(`--${name}=: must be the path of a file`);
  return path;
}

function parsePmdMgmt(text: string): PmdMgmt {
  switch (text) {
    case 'baseline':
    case 'pause':
    case 'monitor':
      return text;
    case 'scale':
      throw fail(`--pmd-mgmt=scale ${frequency}: use baseline, pause or monitor`);
  }
  const known = ['baseline', 'pause', 'monitor'];
  throw fail(`--pmd-mgmt=${text}: must be one of ${known.join(', ')}${didYouMean(text, known)}`);
}

function modeOf(parsed: Values): Mode | undefined {
  if (has(parsed, 'interrupt-only')) return 'interrupt-only';
  if (has(parsed, 'telemetry')) return 'telemetry';
  return has(parsed, 'pmd-mgmt') ? 'pmd mgmt' : undefined;
}

function parsePorts(parsed: Values): readonly number[] {
  const text = last(parsed, 'p');
  if (text === undefined) throw fail('-p PORTMASK is missing: -p 1 enables port 0, -p 3 ports 0 and 1');
  const ports = parseMask(text);
  if (!ports || ports.length === 0) throw fail(`invalid portmask '${text}': must be hexadecimal and not 0, as in -p 3`);
  return ports;
}

function parseDestination(text: string): readonly [number, string] {
  const comma = text.indexOf(',');
  const port = parseUnsigned(text.slice(0, comma), 0, U16_MAX);
  const mac = parseMac(text.slice(comma + 1));
  if (comma < 0 || port === undefined || !mac) {
    throw fail(`--eth-dest=${text}: must be PORT,MAC as in 0,02:00:00:00:00:01`);
  }
  return [port, mac];
}

/** @throws VirtioPmdError EOPTION: one sentence naming the option. */
export function parseOptions(argv: readonly string[]): L3fwdOptions {
  const parsed = parseArgs(PROGRAM, l3fwdTable, argv);
  const help = has(parsed, 'help');
  checkIgnored(PROGRAM, parsed, ignored);
  checkModes(parsed);
  checkRefused(parsed);
  const config = last(parsed, 'config');
  if (config === undefined && !help) {
    throw fail(
      '--config is missing: which lcore polls which queue, as in --config="(0,0,1)" for port 0, queue 0, lcore 1',
    );
  }
  const mode = modeOf(parsed);
  return {
    ports: help ? [] : parsePorts(parsed),
    promiscuous: has(parsed, 'P'),
    config: config === undefined ? [] : parseConfig(config),
    parsePtype: has(parsed, 'parse-ptype'),
    mode,
    pmdMgmt: parsePmdMgmt(last(parsed, 'pmd-mgmt') ?? 'baseline'),
    maxEmptyPolls: number(parsed, 'max-empty-polls', 0, U32_MAX) ?? DEFAULT_MAX_EMPTY_POLLS,
    pauseDurationUs: number(parsed, 'pause-duration', 1, MAX_PAUSE_US) ?? DEFAULT_PAUSE_US,
    maxPacketLength: number(parsed, 'max-pkt-len', MIN_PACKET_LENGTH, MAX_PACKET_LENGTH),
    destinations: new Map(all(parsed, 'eth-dest').map(parseDestination)),
    ruleIpv4: pathOf(parsed, 'rule_ipv4'),
    ruleIpv6: pathOf(parsed, 'rule_ipv6'),
    help,
    notes: ignoredNotes(PROGRAM, parsed, ignored),
  };
}
