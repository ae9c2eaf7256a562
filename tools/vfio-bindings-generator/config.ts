/** Parses a configuration: JSON, which is checked completely. README.md describes it. */
import { VirtioPmdError } from '../../native/errors.js';
import { didYouMean } from '../../native/nearest.js';
import { FIELDS_MODULE } from './fields-module.js';
import { expressionProblem, isFieldName, isPattern, nameProblem } from './names.js';

/** All macros of the header whose names match a pattern, or one constant: a name and an expression for its value. */
export type ConstantWish = { readonly pattern: string } | { readonly name: string; readonly expression: string };

export interface FieldWish {
  /** As in C after the name of the struct: `flags`, `csum.start`. */
  readonly path: string;
  /** Written `areas[]`: an array. The probe examines element 0, because flexible array members have no size. */
  readonly array: boolean;
}

export interface StructWish {
  readonly name: string;
  readonly about: string;
  readonly fields: readonly FieldWish[];
}

export interface HeaderWish {
  /** As in `#include <...>`. */
  readonly header: string;
  readonly about: string;
  /** Name of the TypeScript file: linux/virtio_net.h gives virtio-net.ts. */
  readonly module: string;
  readonly constants: readonly ConstantWish[];
  /** Patterns of macros to exclude. */
  readonly without: readonly string[];
  readonly structs: readonly StructWish[];
}

/** Most characters of one text. */
const LONGEST_TEXT = 2000;

const wrong = (where: string, what: string) => new VirtioPmdError('EOPTION', `${where}: ${what}`);

function record(value: unknown, where: string, keys?: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(where, 'an object is expected');
  const unknown = Object.keys(value).find((key) => keys !== undefined && !keys.includes(key));
  if (unknown !== undefined) {
    throw wrong(where, `there is no key '${unknown}': the keys are ${keys!.join(', ')}${didYouMean(unknown, keys!)}`);
  }
  return value as Record<string, unknown>;
}

function text(value: unknown, where: string): string {
  // refuses the line breaks of JavaScript and other control characters
  if (typeof value === 'string' && value !== '' && !/[\0-\x1f\x7f-\x9f\u2028\u2029]/.test(value)) {
    if (value.length <= LONGEST_TEXT) return value;
    throw wrong(where, `at most ${LONGEST_TEXT} characters are expected, found ${value.length}`);
  }
  throw wrong(where, `one line of text is expected, found ${JSON.stringify(value) ?? 'nothing'}`);
}

function texts(value: unknown, where: string): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw wrong(where, 'a list is expected');
  return value.map((entry, i) => text(entry, `${where}[${i}]`));
}

function pattern(word: string, where: string): string {
  if (isPattern(word)) return word;
  throw wrong(where, `a name is expected, * in it for anything; found '${word}'`);
}

function constant(word: string, where: string): ConstantWish {
  const equals = word.indexOf('=');
  const name = (equals < 0 ? word : word.slice(0, equals)).trimEnd();
  const why = nameProblem(name);
  if (equals < 0) {
    if (why === undefined) return { name, expression: name };
    if (!name.includes('*') && /^[A-Za-z_]\w*$/.test(name))
      throw wrong(where, `'${name}' cannot be a constant's name: ${why}`);
    return { pattern: pattern(word, where) };
  }
  if (why !== undefined) throw wrong(where, `'${name}' cannot be a constant's name: ${why}`);
  const expression = word.slice(equals + 1).trim();
  const problem = expression === '' ? 'it is missing' : expressionProblem(expression);
  if (problem !== undefined) throw wrong(where, `a constant expression of C is expected for ${name}: ${problem}`);
  return { name, expression };
}

function field(word: string, where: string): FieldWish {
  const [, path, array] = /^(.*?)(\[\])?$/.exec(word)!;
  if (path!.split('.').every(isFieldName)) return { path: path!, array: array !== undefined };
  throw wrong(where, `a field is expected, as in flags, csum.start or data[]; found '${word}'`);
}

function struct(name: string, value: unknown, where: string): StructWish {
  const why = nameProblem(name);
  if (why !== undefined) throw wrong(where, `'${name}' cannot be the name of a struct: ${why}`);
  const keys = record(value, where, ['about', 'fields']);
  const fields = text(keys['fields'], `${where}.fields`)
    .trim()
    .split(/\s+/)
    .map((word) => field(word, `${where}.fields`));
  for (const [i, { path }] of fields.entries()) {
    const other = fields.find((b, j) => i !== j && (b.path === path || b.path.startsWith(`${path}.`)));
    if (other !== undefined) throw wrong(where, `${path} and ${other.path} cannot both be listed`);
  }
  return { name, about: text(keys['about'], `${where}.about`), fields };
}

function header(value: unknown, where: string): HeaderWish {
  const keys = record(value, where, ['header', 'about', 'constants', 'without', 'structs']);
  const name = text(keys['header'], `${where}.header`);
  if (!/^(?:[\w.+-]+\/)*\w[\w.+-]*\.h$/.test(name))
    throw wrong(`${where}.header`, `<linux/vfio.h>'s would be linux/vfio.h; found '${name}'`);
  const within = `${where} (${name})`;
  return {
    header: name,
    about: text(keys['about'], `${within}.about`),
    module: `${name.replace(/^.*\//, '').replace(/\.h$/, '').replaceAll('_', '-')}.ts`,
    constants: texts(keys['constants'], `${within}.constants`).map((word) => constant(word, `${within}.constants`)),
    without: texts(keys['without'], `${within}.without`).map((word) => pattern(word, `${within}.without`)),
    structs: Object.entries(record(keys['structs'] ?? {}, `${within}.structs`)).map(([tag, wish]) =>
      struct(tag, wish, `${within}.structs.${tag}`),
    ),
  };
}

/**
 * Reads a configuration.
 * @param file its name, for error messages
 * @throws VirtioPmdError EOPTION
 */
export function parseConfig(json: string, file: string): readonly HeaderWish[] {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw wrong(file, `JSON is expected: ${(error as Error).message}`);
  }
  const { headers } = record(value, file, ['headers']);
  if (!Array.isArray(headers) || headers.length === 0) throw wrong(`${file}: headers`, 'a list of headers is expected');
  const wishes = headers.map((entry, i) => header(entry, `${file}: headers[${i}]`));
  for (const [i, { module, header, constants, structs }] of wishes.entries()) {
    const both = structs.find(({ name }) => constants.some((wish) => 'name' in wish && wish.name === name));
    if (both !== undefined) throw wrong(file, `${header}: a constant and a struct would both be called ${both.name}`);
    if (module === FIELDS_MODULE) throw wrong(file, `${header} would be written to ${module}, which all modules share`);
    const other = wishes.slice(0, i).find((earlier) => earlier.module === module);
    if (other !== undefined) throw wrong(file, `${other.header} and ${header} would both be written to ${module}`);
  }
  return wishes;
}
