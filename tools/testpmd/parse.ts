/** What the two option parsers share: `arg` with our error sentences. */
import arg from 'arg';
import { VirtioPmdError } from '../../native/errors.js';
import { didYouMean } from '../../driver/nearest.js';

export type Values = Readonly<Record<string, unknown>>;

const dashed = (name: string) => (name.length === 1 ? `-${name}` : `--${name}`);

/** An `arg` table: flags take no value, values one, lists one per occurrence. Names without dashes. */
export function table(
  flags: readonly string[],
  values: readonly string[],
  lists: readonly string[],
  aliases: Readonly<Record<string, string>>,
): arg.Spec {
  const spec: arg.Spec = {};
  // counted, so that giving a flag twice is fine
  for (const name of flags) spec[dashed(name)] = arg.COUNT;
  for (const name of [...values, ...lists]) spec[dashed(name)] = [String];
  for (const [alias, name] of Object.entries(aliases)) spec[dashed(alias)] = dashed(name);
  return spec;
}

/** Parses; `program` begins the error sentences. @throws VirtioPmdError EOPTION */
export function parseArgs(program: string, spec: arg.Spec, argv: readonly string[]): Values {
  let parsed: arg.Result<arg.Spec>;
  try {
    parsed = arg(spec, { argv: [...argv] });
  } catch (error) {
    throw new VirtioPmdError('EOPTION', `${program}: ${explain(error as Error, spec, argv)}`);
  }
  const stray = parsed._[0];
  if (stray !== undefined) throw new VirtioPmdError('EOPTION', `${program}: unexpected argument '${stray}'`);
  return parsed;
}

function explain(error: Error, spec: arg.Spec, argv: readonly string[]): string {
  const unknown = /^unknown or unexpected option: (\S+)/.exec(error.message)?.[1];
  if (unknown === undefined) return error.message;
  // arg takes `-rxq` for -r -x -q; what was typed says more
  const typed = argv.find((word) => word === unknown || word.startsWith(`${unknown}=`)) ?? unknown;
  const name = typed.split('=')[0]!;
  return `unrecognized option '${name}'${didYouMean(
    name,
    Object.keys(spec).filter((key) => key.length > 2),
  )}`;
}

/** The last value of a repeatable option, as getopt leaves it. */
export function last(values: Values, name: string): string | undefined {
  const given = values[dashed(name)] as string[] | undefined;
  return given?.[given.length - 1];
}

export function all(values: Values, name: string): readonly string[] {
  return (values[dashed(name)] as string[] | undefined) ?? [];
}

export function has(values: Values, name: string): boolean {
  return values[dashed(name)] !== undefined;
}

/** One line per option given that has no meaning here. */
export function ignoredNotes(
  program: string,
  values: Values,
  ignored: Readonly<Record<string, string>>,
  silent: ReadonlySet<string> = new Set(),
): string[] {
  const names = Object.keys(ignored).filter((name) => has(values, name) && !silent.has(name));
  return names.map((name) => `${program}: ${dashed(name)} is accepted and has no effect: ${ignored[name]}`);
}
