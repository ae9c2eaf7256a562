/** The options before `--`: dpdk-testpmd's EAL options. */
import { VirtioPmdError } from '../../native/errors.js';
import { canonicalAddress } from '../../driver/virtio/pci/address.js';
import { parseLcores } from '../../driver/eal/eal.js';
import type { LcoreMap } from '../../driver/eal/eal.js';
import { DEFAULT_SIMD_BITWIDTH, isSimdBitwidth, SIMD_BITWIDTHS } from '../../driver/port/config.js';
import { ignoredEalOptions } from './ignored-eal-options.js';
import { checkIgnored, ignoredNotes } from './ignored-options.js';
import { LOG_LEVELS, logLevelNumber, parseLogLevel, type LogSetting } from './log-level.js';
import { all, has, last, parseArgs, table, type Values } from './parse.js';
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
  /** -b: PCI devices not to use. */
  readonly blocked: readonly string[];
  readonly noPci: boolean;
  /** In bits; 0: no limit. */
  readonly maxSimdBitwidth: number;
  /** Driver log lines of this level (1 emergency to 8 debug) and below are shown. */
  readonly logLevel: number;
  readonly logSettings: readonly LogSetting[];
  /** -v: print the version and continue. */
  readonly showVersion: boolean;
  /** --version: only print the version. */
  readonly version: boolean;
  readonly help: boolean;
  /** Lines about options without effect, to print. */
  readonly notes: readonly string[];
}

const flags = ['no-huge', 'no-pci', 'v', 'version', 'h'];
const values = [
  'c',
  'l',
  'lcores',
  'main-lcore',
  'm',
  'socket-mem',
  'file-prefix',
  'log-level',
  'proc-type',
  'force-max-simd-bitwidth',
];
const lists = ['vdev', 'a', 'b'];
/** Other names: 'master-lcore' until 20.08; the second line since 25.07. */
const aliases = {
  ...{ allow: 'a', block: 'b', help: 'h', 'master-lcore': 'main-lcore' },
  ...{ coremask: 'c', 'driver-path': 'd', 'memory-channels': 'n', 'memory-ranks': 'r', 'memory-size': 'm' },
  ...{ 'service-corelist': 'S', 'service-coremask': 's', 'remap-lcore-ids': 'R' },
  ...{ 'numa-mem': 'socket-mem', 'numa-limit': 'socket-limit' },
};

export const ealTable = table(flags, values, lists, aliases, ignoredEalOptions);

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

function logSetting(text: string): LogSetting {
  const setting = parseLogLevel(text);
  if (setting !== undefined) return setting;
  throw fail(`--log-level ${text}: the level is one of ${LOG_LEVELS.join(', ')}, or 1 to 8`);
}

function parseNumber(parsed: Values, name: string): number | undefined {
  const text = last(parsed, name);
  if (text === undefined) return undefined;
  const value = parseUnsigned(text);
  if (value === undefined) throw fail(`--${name} ${text}: give a whole number`);
  return value;
}

/** A part of a memory file's name, whose length is limited. DPDK accepts neither of the two characters. */
function parseFilePrefix(parsed: Values): string | undefined {
  const text = last(parsed, 'file-prefix');
  if (text === undefined || (/^[^%/]+$/.test(text) && Buffer.byteLength(text) <= 200)) return text;
  throw fail(`--file-prefix=${text}: must be a name of 1 to 200 bytes without / and %`);
}

/** @returns a line about the option, if there is one. */
function parseProcType(parsed: Values): string | undefined {
  switch (last(parsed, 'proc-type')) {
    case undefined:
    case 'primary':
      return undefined;
    case 'auto':
      return 'EAL: Auto-detected process type: PRIMARY';
    case 'secondary':
      throw fail(
        '--proc-type=secondary: there are no secondary processes here, as memory is not shared between processes of ours: leave it out, and give this process devices of its own',
      );
    default:
      throw fail(`--proc-type=${last(parsed, 'proc-type')}: must be primary or auto`);
  }
}

/** PCI devices with or without arguments; the name of the bus may precede them. */
function checkPci(option: '-a' | '-b', devices: readonly string[]): readonly string[] {
  for (const device of devices) {
    const name = device.split(',')[0]!.replace(/^pci:/, '');
    if (option === '-a' && name.startsWith('qtest:')) continue;
    if (canonicalAddress(name) !== undefined) continue;
    throw fail(`${option} ${device}: must be a PCI address, such as 0000:00:03.0 (devbind --status lists them)`);
  }
  return devices;
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
  const parsed = parseArgs('EAL', ealTable, argv);
  checkIgnored('EAL', parsed, ignoredEalOptions);
  const allowed = checkPci('-a', all(parsed, 'a'));
  const blocked = checkPci('-b', all(parsed, 'b'));
  const vdevs = all(parsed, 'vdev');
  if (vdevs.includes('')) throw fail('--vdev: must be a device, such as net_virtio_user0,path=/tmp/vhost.sock');
  if (allowed.length > 0 && blocked.length > 0)
    throw fail('-a and -b exclude each other: give the devices to use, or those to leave alone');
  const logSettings = all(parsed, 'log-level').map(logSetting);
  const procType = parseProcType(parsed);
  return {
    memoryMiB: parseMemory(parsed),
    noHuge: has(parsed, 'no-huge'),
    filePrefix: parseFilePrefix(parsed),
    lcores: parseLcoreOptions(parsed),
    mainLcore: parseNumber(parsed, 'main-lcore'),
    vdevs,
    allowed,
    blocked,
    noPci: has(parsed, 'no-pci'),
    maxSimdBitwidth: parseSimdBitwidth(parsed),
    logLevel: logSettings.length > 0 ? Math.max(...logSettings.map(({ level }) => level)) : logLevelNumber('notice'),
    logSettings,
    showVersion: has(parsed, 'v'),
    version: has(parsed, 'version'),
    help: has(parsed, 'h'),
    notes: [...(procType === undefined ? [] : [procType]), ...ignoredNotes('EAL', parsed, ignoredEalOptions)],
  };
}
