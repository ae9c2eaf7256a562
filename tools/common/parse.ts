/**
 * getopt_long, as DPDK's programs use it: unambiguous abbreviations (`--iova=va`), `-n4`, values that begin with a dash,
 * options with an optional value. Each word is first expanded to an unambiguous form (`--iova-mode=va`), which `arg` parses.
 */
import arg from 'arg';
import { VirtioPmdError } from '../../native/errors.js';
import { didYouMean } from '../../native/nearest.js';

/** `optional`: has a value only when it is attached, as in --huge-unlink=always. */
export type Kind = 'flag' | 'value' | 'optional';

/** The options of a program. Names are without dashes; names of one letter are short options. */
export interface OptionTable {
  readonly kinds: ReadonlyMap<string, Kind>;
  /** Maps other names to the name under which values are stored. */
  readonly aliases: Readonly<Record<string, string>>;
}

/** The given values of each option, in order; '' for a flag, or an option without its optional value. */
export type Values = ReadonlyMap<string, readonly string[]>;

export const dashed = (name: string) => (name.length === 1 ? `-${name}` : `--${name}`);

/**
 * Makes a table of options. Flags take no value; values take one, and the last one counts; lists take one, and all count.
 * @param ignored further options, each with its kind
 */
export function table(
  flags: readonly string[],
  values: readonly string[],
  lists: readonly string[],
  aliases: Readonly<Record<string, string>>,
  ignored: Readonly<Record<string, { readonly kind: Kind }>> = {},
): OptionTable {
  const ignoredOf = (kind: Kind) => Object.keys(ignored).filter((name) => ignored[name]!.kind === kind);
  const kinds = new Map<string, Kind>();
  for (const name of [...flags, ...ignoredOf('flag')]) kinds.set(name, 'flag');
  for (const name of [...values, ...ignoredOf('value'), ...lists]) kinds.set(name, 'value');
  for (const name of ignoredOf('optional')) kinds.set(name, 'optional');
  return { kinds, aliases };
}

const namesOf = ({ kinds, aliases }: OptionTable) => [...kinds.keys(), ...Object.keys(aliases)];

/** The option for `--typed`, which may be abbreviated. @throws Error with getopt_long's text */
function resolve(options: OptionTable, typed: string, word: string): string {
  const { kinds, aliases } = options;
  const long = namesOf(options).filter((name) => name.length > 1);
  if (long.includes(typed)) return aliases[typed] ?? typed;
  const candidates = typed === '' ? [] : long.filter((name) => name.startsWith(typed));
  const meant = new Set(candidates.map((name) => aliases[name] ?? name));
  if (meant.size === 1) return [...meant][0]!;
  if (meant.size > 1) {
    const possibilities = candidates.map((name) => `'--${name}'`).join(' ');
    throw new Error(`option '--${typed}' is ambiguous; possibilities: ${possibilities}`);
  }
  if (kinds.has(typed) || aliases[typed] !== undefined)
    throw new Error(`unrecognized option '${word}'; it is -${typed}`);
  throw unknown(options, `--${typed}`);
}

function unknown(options: OptionTable, typed: string): Error {
  const long = namesOf(options).filter((name) => name.length > 1);
  return new Error(`unrecognized option '${typed}'${typed === '--' ? '' : didYouMean(typed, long.map(dashed))}`);
}

/** Parses a command line. @param program begins the error messages, unless it is ''. @throws VirtioPmdError EOPTION */
export function parseArgs(program: string, options: OptionTable, argv: readonly string[]): Values {
  const { values, others } = parseWords(program, options, argv);
  if (others[0] !== undefined) throw refusal(program, `unexpected argument '${others[0]}'`);
  return values;
}

const refusal = (program: string, sentence: string) =>
  new VirtioPmdError('EOPTION', program === '' ? sentence : `${program}: ${sentence}`);

/** Like `parseArgs`, for programs with further arguments that are not options. @throws VirtioPmdError EOPTION */
export function parseWords(
  program: string,
  options: OptionTable,
  argv: readonly string[],
): { readonly values: Values; readonly others: readonly string[] } {
  try {
    return scan(options, argv);
  } catch (error) {
    if (error instanceof VirtioPmdError) throw error;
    throw refusal(program, (error as Error).message);
  }
}

/** The result of `arg`: how often a flag was given, the values of other options. */
type Given = Record<string, number | string[]> & { readonly _: string[] };

function scan(options: OptionTable, argv: readonly string[]) {
  const { words, texts } = spellOut(options, argv);
  const textAt = (place: string) => texts[Number(place)]!;
  const spec: Record<string, typeof arg.COUNT | [(place: string) => string]> = {};
  for (const [name, kind] of options.kinds) spec[`--${name}`] = kind === 'flag' ? arg.COUNT : [textAt];
  const { _: others, ...given } = arg(spec, { argv: words }) as unknown as Given;
  const values = new Map<string, readonly string[]>();
  for (const [word, value] of Object.entries(given)) {
    values.set(word.slice(2), typeof value === 'number' ? new Array<string>(value).fill('') : value);
  }
  return { values, others };
}

/**
 * The same command line in a normal form: `--name` for a flag; `--name=3` for an option whose value is number 3 of `texts`,
 * because `arg` cuts a value at the end of its first line; words that are not options come last.
 */
function spellOut(options: OptionTable, argv: readonly string[]) {
  const words: string[] = [];
  const texts: string[] = [];
  const others: string[] = [];
  let next = 0;
  /** Adds an option. @param attached what follows the option in the same word */
  const take = (name: string, attached: string | undefined) => {
    const kind = options.kinds.get(name);
    let value = attached;
    if (kind === 'value' && value === undefined) {
      if (next === argv.length) throw new Error(`option '${dashed(name)}' requires an argument`);
      value = argv[next++]!;
    }
    words.push(kind === 'flag' ? `--${name}` : `--${name}=${texts.push(value ?? '') - 1}`);
  };
  while (next < argv.length) {
    const word = argv[next++]!;
    if (word === '--') {
      while (next < argv.length) others.push(argv[next++]!);
    } else if (word.startsWith('--')) {
      const equals = word.indexOf('=');
      const typed = equals < 0 ? word.slice(2) : word.slice(2, equals);
      const name = resolve(options, typed, word);
      if (equals >= 0 && options.kinds.get(name) === 'flag') {
        throw new Error(`option '${dashed(name)}' doesn't allow an argument`);
      }
      take(name, equals < 0 ? undefined : word.slice(equals + 1));
    } else if (word.startsWith('-') && word.length > 1) takeShort(options, word, take);
    else others.push(word);
  }
  return { words: [...words, '--', ...others], texts };
}

/** Expands short options: `-i`, `-ia`, `-n4`. */
function takeShort(
  options: OptionTable,
  word: string,
  take: (name: string, attached: string | undefined) => void,
): void {
  for (let at = 1; at < word.length; at++) {
    const letter = word[at]!;
    const name = options.aliases[letter] ?? letter;
    const kind = options.kinds.get(name);
    // -rxq: the error names the whole word, not only its first letter
    if (kind === undefined) throw unknown(options, word.split('=')[0]!);
    if (kind === 'flag') {
      take(name, undefined);
      continue;
    }
    take(name, at + 1 < word.length ? word.slice(at + 1) : undefined);
    return;
  }
}

/** The last value of an option that was given several times, as with getopt. */
export function last(values: Values, name: string): string | undefined {
  return values.get(name)?.at(-1);
}

export function all(values: Values, name: string): readonly string[] {
  return values.get(name) ?? [];
}

export function has(values: Values, name: string): boolean {
  return values.has(name);
}
