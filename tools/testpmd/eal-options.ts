/** The options before `--`: dpdk-testpmd's EAL options. */
import { VirtioPmdError } from '../../native/errors.js';
import { parseLcores } from '../../driver/eal.js';
import type { LcoreMap } from '../../driver/eal.js';
import { DEFAULT_SIMD_BITWIDTH, isSimdBitwidth, SIMD_BITWIDTHS } from '../../driver/port-config.js';
import { ealFlags, ealValues, silent } from './ignored-options.js';
import { all, has, ignoredNotes, last, parseArgs, table, type Values } from './parse.js';
import { parseNumberList, parseUnsigned } from './values.js';

export interface EalArguments {
  readonly memoryMiB: number | undefined;
  readonly noHuge: boolean;
  readonly filePrefix: string | undefined;
  readonly lcores: LcoreMap | undefined;
  readonly mainLcore: number | undefined;
  /** vdev strings, in the order given. */
  readonly vdevs: readonly string[];
  /** -a: PCI devices with their arguments; none given: all that are bound to vfio-pci or uio. */
  readonly allowed: readonly string[];
  /** -b: PCI devices to leave alone. */
  readonly blocked: readonly string[];
  readonly noPci: boolean;
  /** 0: no limit. */
  readonly maxSimdBitwidth: number;
  /** Driver log lines of this level (1 emergency to 8 debug) and below are shown. */
  readonly logLevel: number;
  readonly showVersion: boolean;
  readonly help: boolean;
  /** Lines to tell the user about options without effect. */
  readonly notes: readonly string[];
}

const flags = ['no-huge', 'no-pci', 'v', 'h'];
const values = [
  'c',
  'l',
  'lcores',
  'main-lcore',
  'm',
  'socket-mem',
  'file-prefix',
  'log-level',
  'force-max-simd-bitwidth',
];
const lists = ['vdev', 'a', 'b'];
const aliases = { allow: 'a', block: 'b', version: 'v', help: 'h', 'master-lcore': 'main-lcore' };

const logLevels = ['emergency', 'alert', 'critical', 'error', 'warning', 'notice', 'info', 'debug'];
const NOTICE = 6;

const spec = table([...flags, ...Object.keys(ealFlags)], [...values, ...Object.keys(ealValues)], lists, aliases);

/** getopt's forms that `arg` does not know: -n4, and options whose value is optional (--huge-unlink=always). */
function normalise(argv: readonly string[]): string[] {
  const words: string[] = [];
  for (const word of argv) {
    const attached = /^-([clmnrsSdab])(.+)$/.exec(word);
    if (attached) words.push(`-${attached[1]}`, attached[2]!);
    else words.push(word.replace(/^--(huge-unlink|huge-worker-stack)=.*/, '--$1'));
  }
  return words;
}

const fail = (sentence: string) => new VirtioPmdError('EOPTION', `EAL: ${sentence}`);

function parseMemory(parsed: Values): number | undefined {
  const m = last(parsed, 'm');
  if (m !== undefined) {
    const value = parseUnsigned(m, 1);
    if (value === undefined) throw fail(`-m ${m}: give MiB as a whole number above 0`);
    return value;
  }
  const socketMem = last(parsed, 'socket-mem');
  if (socketMem === undefined) return undefined;
  const perSocket = parseNumberList(socketMem);
  if (!perSocket) throw fail(`--socket-mem ${socketMem}: give MiB per socket, as in 1024 or 1024,1024`);
  return perSocket.reduce((sum, value) => sum + value, 0) || undefined;
}

function parseLcoreOptions(parsed: Values): LcoreMap | undefined {
  const given = (['-l', '-c', '--lcores'] as const).filter((option) => has(parsed, option.replace(/^-+/, '')));
  if (given.length > 1) throw fail(`${given.join(' and ')} exclude each other: give one of them`);
  const option = given[0];
  return option && parseLcores(option, last(parsed, option.replace(/^-+/, ''))!);
}

/** "debug", "8", or "pmd.net.virtio.*:debug" */
function parseLogLevel(text: string): number {
  const level = text.slice(Math.max(text.lastIndexOf(':'), text.lastIndexOf(',')) + 1);
  const number = parseUnsigned(level, 1, 8);
  if (number !== undefined) return number;
  const index = logLevels.findIndex((name) => level.length > 0 && name.startsWith(level));
  if (index < 0) throw fail(`--log-level ${text}: the level is one of ${logLevels.join(', ')}, or 1 to 8`);
  return index + 1;
}

function parseNumber(parsed: Values, name: string): number | undefined {
  const text = last(parsed, name);
  if (text === undefined) return undefined;
  const value = parseUnsigned(text);
  if (value === undefined) throw fail(`--${name} ${text}: give a whole number`);
  return value;
}

function parseSimdBitwidth(parsed: Values): number {
  const text = last(parsed, 'force-max-simd-bitwidth');
  if (text === undefined) return DEFAULT_SIMD_BITWIDTH;
  const bits = parseUnsigned(text);
  if (bits === undefined || !isSimdBitwidth(bits)) {
    throw fail(`--force-max-simd-bitwidth ${text}: give ${SIMD_BITWIDTHS}`);
  }
  return bits;
}

/** @throws VirtioPmdError EOPTION, ELCORE: one sentence naming the option. */
export function parseEalOptions(argv: readonly string[]): EalArguments {
  const parsed = parseArgs('EAL', spec, normalise(argv));
  const allowed = all(parsed, 'a');
  const blocked = all(parsed, 'b');
  if (allowed.length > 0 && blocked.length > 0)
    throw fail('-a and -b exclude each other: give the devices to use, or those to leave alone');
  const levels = ((parsed['--log-level'] as string[] | undefined) ?? []).map(parseLogLevel);
  return {
    memoryMiB: parseMemory(parsed),
    noHuge: has(parsed, 'no-huge'),
    filePrefix: last(parsed, 'file-prefix'),
    lcores: parseLcoreOptions(parsed),
    mainLcore: parseNumber(parsed, 'main-lcore'),
    vdevs: all(parsed, 'vdev'),
    allowed,
    blocked,
    noPci: has(parsed, 'no-pci'),
    maxSimdBitwidth: parseSimdBitwidth(parsed),
    logLevel: levels.length > 0 ? Math.max(...levels) : NOTICE,
    showVersion: has(parsed, 'v'),
    help: has(parsed, 'h'),
    notes: ignoredNotes('EAL', parsed, { ...ealFlags, ...ealValues }, silent),
  };
}
