/** The command lines of the benchmarks: values are checked, with one clear sentence for an invalid one. */
import { VirtioPmdError } from '../../native/errors.js';
import { DEFAULT_SIMD_BITWIDTH, isSimdBitwidth, SIMD_BITWIDTHS } from '../../driver/port/config.js';
import { didYouMean } from '../../native/nearest.js';
import { recipeNamed, RECIPES, type Recipe } from '../common/recipes.js';
import { has, last, parseArgs, table, type Values } from '../common/parse.js';
import { SIDES } from './common/measurement.js';
import { DIRECTIONS, type ExceptionPathOptions } from './exception-path/exception-path.js';
import { ringNames, type InterruptOptions } from './interrupt/interrupt.js';
import { INTERRUPT_SIDES } from './interrupt/front.js';
import type { LatencyOptions } from './latency/latency.js';
import type { LookupOptions } from './lookup.js';
import type { ScalingOptions } from './scaling.js';
import type { TurnOptions } from './turn/turn.js';
import { MODES, PEERS, type ForwardingOptions, type VhostPeer } from './forwarding/results.js';

export const fail = (sentence: string) => new VirtioPmdError('EOPTION', sentence);

/** Parses `argv`, in which each of `names` takes a value and each of `flags` none. @throws VirtioPmdError EOPTION */
function parseWords(names: readonly string[], flags: readonly string[], argv: readonly string[]): Values {
  return parseArgs('bench', table([...flags, 'help'], names, [], { h: 'help' }), argv);
}

/** A number of `--name`. @param digits how many decimals are accepted. @throws VirtioPmdError EOPTION */
function numberOption(values: Values, name: string, fallback: number, least: number, most: number, digits = 0): number {
  const text = last(values, name);
  if (text === undefined) return fallback;
  const shape = digits === 0 ? /^\d+$/ : /^\d+(\.\d+)?$/;
  const value = shape.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  throw fail(`--${name} ${text}: a ${digits === 0 ? 'whole number' : 'number'} from ${least} to ${most} is expected`);
}

/** A list of packet sizes in bytes: at least the headers of a generated packet, at most an mbuf's data room. */
function sizesOption(values: Values, fallback: readonly number[]): readonly number[] {
  const text = last(values, 'size');
  if (text === undefined) return fallback;
  const sizes = text.split(',').map((word) => (/^\d+$/.test(word) ? Number(word) : NaN));
  if (sizes.every((size) => size >= 42 && size <= 2048)) return [...new Set(sizes)];
  throw fail(`--size ${text}: bytes of a packet, 42 to 2048, are expected, or several with commas between them`);
}

/** One size. */
function sizeOption(values: Values): number {
  const sizes = sizesOption(values, [64]);
  if (sizes.length > 1) throw fail(`--size ${sizes.join(',')}: one size is expected here`);
  return sizes[0]!;
}

/** One or several of `known`, separated by commas; all of them without the option. */
function wordsOption<T extends string>(values: Values, name: string, known: readonly T[]): readonly T[] {
  const text = last(values, name);
  if (text === undefined) return known;
  return [...new Set(text.split(','))].map((word) => {
    const found = known.find((one) => one === word);
    if (found !== undefined) return found;
    throw fail(`--${name} ${word}: must be one of ${known.join(', ')}${didYouMean(word, known)}`);
  });
}

/**
 * The recipes of `--recipe`: the one with exactly this name, or all that contain the text in their name; several texts are
 * separated by commas.
 */
function recipesOption(values: Values): readonly Recipe[] {
  const text = last(values, 'recipe');
  if (text === undefined) return RECIPES;
  const wanted = new Set<Recipe>();
  for (const word of text.split(',').map((part) => part.trim())) {
    const exact = RECIPES.filter(({ name }) => name === word);
    const found = exact.length > 0 ? exact : RECIPES.filter(({ name }) => word !== '' && name.includes(word));
    if (found.length === 0) {
      const names = RECIPES.map(({ name }) => name);
      throw fail(`--recipe ${word}: no recipe has this in its name; there are: ${names.join(', ')}`);
    }
    for (const recipe of found) wanted.add(recipe);
  }
  return RECIPES.filter((recipe) => wanted.has(recipe));
}

/** The command line of most benchmarks: their options, the file for the result, and whether to build first. */
export interface Command<Options> {
  readonly options: Options;
  readonly json: string;
  readonly build: boolean;
}

/**
 * @param name of the benchmark, and of the file for its result
 * @param words options that take a value, besides --json
 * @param flags options that take none
 * @returns undefined when --help was given
 */
function parseCommand<Options>(
  name: string,
  words: readonly string[],
  flags: readonly string[],
  argv: readonly string[],
  optionsOf: (values: Values) => Options,
): Command<Options> | undefined {
  const values = parseWords([...words, 'json'], flags, argv);
  if (has(values, 'help')) return undefined;
  const json = last(values, 'json') ?? `bench-out/${name}.json`;
  return { options: optionsOf(values), json, build: !has(values, 'no-build') };
}

const pairedWords = ['pairs', 'seconds', 'warm-up'];

/** Number of pairs of runs, and of one-second windows in each run. */
const pairedOptions = (values: Values, pairs: number) => ({
  pairs: numberOption(values, 'pairs', pairs, 1, 1000),
  seconds: numberOption(values, 'seconds', 3, 1, 3600),
  warmUpSeconds: numberOption(values, 'warm-up', 1, 0.2, 3600, 1),
});

export interface ForwardingCommand {
  /** Undefined with `resume`: then the options are those in that file. */
  readonly options: ForwardingOptions | undefined;
  readonly resume: string | undefined;
  readonly json: string;
  readonly svg: string | undefined;
  readonly build: boolean;
}

const measured = ['recipe', 'size', 'mode', 'peer', ...pairedWords];

/** DPDK's, unless the option is given. */
function peerOption(values: Values): VhostPeer {
  const peers = has(values, 'peer') ? wordsOption(values, 'peer', PEERS) : [PEERS[0]];
  if (peers.length > 1) throw fail(`--peer ${peers.join(',')}: one of them is expected`);
  return peers[0]!;
}

/** @returns undefined when --help was given. @throws VirtioPmdError EOPTION */
export function parseForwarding(argv: readonly string[]): ForwardingCommand | undefined {
  const values = parseWords([...measured, 'json', 'svg', 'resume'], ['no-build'], argv);
  if (has(values, 'help')) return undefined;
  const files = { svg: last(values, 'svg'), build: !has(values, 'no-build') };
  const resume = last(values, 'resume');
  if (resume !== undefined) {
    const contrary = [...measured, 'json'].find((name) => has(values, name));
    if (contrary !== undefined) {
      throw fail(`--resume goes on as ${resume} was begun, and writes to it: leave --${contrary} out`);
    }
    return { ...files, options: undefined, resume, json: resume };
  }
  const options: ForwardingOptions = {
    recipes: recipesOption(values).map(({ name }) => name),
    sizes: sizesOption(values, [64, 1518]),
    modes: wordsOption(values, 'mode', MODES),
    peer: peerOption(values),
    ...pairedOptions(values, 5),
  };
  return { ...files, options, resume, json: last(values, 'json') ?? 'bench-out/forwarding.json' };
}

/** @returns undefined when --help was given. @throws VirtioPmdError EOPTION */
export function parseLatency(argv: readonly string[]): Command<LatencyOptions> | undefined {
  const words = ['recipe', 'size', ...pairedWords, 'rate'];
  return parseCommand('latency', words, ['no-build'], argv, (values) => {
    const auto = (last(values, 'rate') ?? 'auto') === 'auto';
    return {
      recipes: recipesOption(values).map(({ name }) => name),
      size: sizeOption(values),
      pairs: numberOption(values, 'pairs', 1, 1, 1000),
      seconds: numberOption(values, 'seconds', 60, 1, 3600),
      warmUpSeconds: numberOption(values, 'warm-up', 3, 0, 3600, 1),
      pps: auto ? undefined : numberOption(values, 'rate', 0, 0.001, 100, 3) * 1e6,
    };
  });
}

/** @returns undefined when --help was given. @throws VirtioPmdError EOPTION */
export function parseTurn(argv: readonly string[]): Command<TurnOptions> | undefined {
  const words = ['recipe', 'size', 'burst', 'simd', 'seconds', 'warm-up', 'runs'];
  return parseCommand('turn', words, [], argv, (values) => {
    const simd = numberOption(values, 'simd', DEFAULT_SIMD_BITWIDTH, 0, 32768);
    if (!isSimdBitwidth(simd)) throw fail(`--simd ${simd}: ${SIMD_BITWIDTHS} is expected`);
    return {
      recipes: recipesOption(values).map(({ name }) => name),
      size: sizeOption(values),
      burst: numberOption(values, 'burst', 32, 1, 512),
      simd,
      seconds: numberOption(values, 'seconds', 3, 1, 3600),
      warmUpSeconds: numberOption(values, 'warm-up', 1, 0, 3600, 1),
      runs: numberOption(values, 'runs', 3, 1, 1000),
    };
  });
}

/** @returns undefined when --help was given. @throws VirtioPmdError EOPTION */
export function parseLookup(argv: readonly string[]): LookupOptions | undefined {
  const values = parseWords(['routes', 'windows'], [], argv);
  if (has(values, 'help')) return undefined;
  return {
    routes: numberOption(values, 'routes', 10_000, 1, 20_000),
    windows: numberOption(values, 'windows', 20, 1, 1000),
  };
}

/** @returns undefined when --help was given. @throws VirtioPmdError EOPTION */
export function parseScaling(argv: readonly string[]): Command<ScalingOptions> | undefined {
  const words = ['recipe', ...pairedWords, 'starts'];
  return parseCommand('scaling', words, ['no-build'], argv, (values) => {
    const recipes = has(values, 'recipe') ? recipesOption(values) : [recipeNamed('packed mergeable')];
    if (recipes.length > 1) throw fail(`--recipe: one recipe is expected here, not ${recipes.length}`);
    const starts = numberOption(values, 'starts', 5, 1, 1000);
    return { recipe: recipes[0]!.name, ...pairedOptions(values, 3), starts };
  });
}

/** Most bytes of a packet with an MTU of 1500. */
const MAX_FRAME = 1514;

/** @returns undefined when --help was given. @throws VirtioPmdError EOPTION */
export function parseExceptionPath(argv: readonly string[]): Command<ExceptionPathOptions> | undefined {
  const words = ['path', 'direction', 'size', 'side', ...pairedWords, 'senders'];
  return parseCommand('exception-path', words, ['no-build'], argv, (values) => {
    const sizes = sizesOption(values, [64, MAX_FRAME]);
    if (sizes.some((size) => size > MAX_FRAME)) {
      throw fail(`--size ${sizes.join(',')}: ${MAX_FRAME} bytes are the most`);
    }
    return {
      path: last(values, 'path') ?? '/dev/vhost-net',
      directions: wordsOption(values, 'direction', DIRECTIONS),
      sizes,
      sides: wordsOption(values, 'side', SIDES),
      ...pairedOptions(values, 3),
      senders: numberOption(values, 'senders', 2, 1, 64),
    };
  });
}

/** @returns undefined when --help was given. @throws VirtioPmdError EOPTION */
export function parseInterrupt(argv: readonly string[]): Command<InterruptOptions> | undefined {
  const words = ['ring', 'side', ...pairedWords, 'idle', 'wake-ups'];
  return parseCommand('interrupt', words, ['quick', 'no-build'], argv, (values) => {
    const quick = has(values, 'quick');
    return {
      rings: wordsOption(values, 'ring', ringNames),
      sides: wordsOption(values, 'side', INTERRUPT_SIDES),
      pairs: numberOption(values, 'pairs', quick ? 1 : 3, 1, 1000),
      seconds: numberOption(values, 'seconds', quick ? 1 : 3, 1, 3600),
      warmUpSeconds: numberOption(values, 'warm-up', quick ? 0.2 : 1, 0.1, 3600, 1),
      idleSeconds: numberOption(values, 'idle', quick ? 0.5 : 2, 0.1, 3600, 1),
      wakeUps: numberOption(values, 'wake-ups', quick ? 50 : 2000, 1, 1_000_000),
    };
  });
}

export interface ReportCommand {
  readonly file: string;
  readonly svg: string | undefined;
  readonly markdown: string | undefined;
}

/** @returns undefined when --help was given. @throws VirtioPmdError EOPTION */
export function parseReport(argv: readonly string[]): ReportCommand | undefined {
  const [file, ...rest] = argv;
  const given = file !== undefined && !file.startsWith('-');
  const values = parseWords(['svg', 'markdown'], [], given ? rest : argv);
  if (has(values, 'help')) return undefined;
  if (!given) throw fail('bench report: the JSON file of a result is expected, as in bench-out/forwarding.json');
  return { file, svg: last(values, 'svg'), markdown: last(values, 'markdown') };
}

export const usage = `npm run bench -- [COMMAND] [options]

  (none)          packets per second with a vhost PMD at the other end: ours and DPDK's virtio_user in turn
  latency         how long packets take through the driver at half load
  turn            nanoseconds per packet of the driver alone
  scaling         several queue pairs and ports; memory; start-up time
  exception-path  packets per second through /dev/vhost-net and a tap: ours and DPDK's virtio_user in turn
  interrupt       an idle lcore's CPU time, how long it takes to wake up, and its packets per second under load
  lookup          routes that l3fwd-power's longest prefix match finds per second (--routes N, --windows N)
  report FILE     the table of a JSON file of the first kind, again; --svg FILE and --markdown FILE write it

Options of the first kind:
  --recipe TEXT    only recipes with TEXT in their name (TEXT,TEXT,... for several)
  --size N[,N]     packet sizes in bytes (default 64,1518)
  --mode M[,M]     io, rxonly, txonly (default all three)
  --peer PEER      whose net_vhost is at the other end: dpdk (the default), or ours
  --pairs N        how often both sides are measured (default 5)
  --seconds N      one-second windows of each measurement (default 3)
  --warm-up S      seconds before the first window (default 1)
  --json FILE      where the result goes (default bench-out/forwarding.json)
  --svg FILE       a bar chart of it
  --resume FILE    go on with a result that was interrupted
  --no-build       measure what dist/ holds, without building it anew
docs/benchmarks.md has the others and says what the numbers mean.
`;
