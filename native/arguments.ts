/**
 * Checks the types of the API's arguments, for callers in plain JavaScript. An error names the function, the key, what is
 * accepted, what was found, and the nearest known key. Not for functions that are called per burst.
 *
 * The functions themselves check the values.
 */
import { VirtioPmdError } from './errors.js';
import { didYouMean } from './nearest.js';

/** What an argument may be. */
export interface Kind {
  /** What is accepted, in words that follow "expected". */
  readonly accepts: string;
  readonly fits: (value: unknown) => boolean;
  /** Whether it may be left out. */
  readonly optional?: boolean;
  /** Of an object: the kinds of its own options. */
  readonly kinds?: Readonly<Record<string, Kind>>;
}

export const aNumber: Kind = { accepts: 'a number', fits: (value) => typeof value === 'number' };
export const aWhole: Kind = {
  accepts: 'a whole number of 0 or more',
  fits: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
};
export const aSize: Kind = {
  accepts: 'a whole number above 0',
  fits: (value) => Number.isSafeInteger(value) && (value as number) > 0,
};
export const aBigint: Kind = { accepts: 'a bigint', fits: (value) => typeof value === 'bigint' };
export const aBoolean: Kind = { accepts: 'true or false', fits: (value) => typeof value === 'boolean' };
export const aString: Kind = { accepts: 'a string', fits: (value) => typeof value === 'string' };
export const aFunction: Kind = { accepts: 'a function', fits: (value) => typeof value === 'function' };
export const anObject: Kind = { accepts: 'an object', fits: isObject };
export const anArray: Kind = { accepts: 'an array', fits: Array.isArray };
export const aSharedBuffer: Kind = anInstance('a SharedArrayBuffer', SharedArrayBuffer);
export const numbers: Kind = {
  accepts: 'an array of numbers',
  fits: (value) => Array.isArray(value) && value.every((each) => typeof each === 'number'),
};

export const strings: Kind = {
  accepts: 'an array of strings',
  fits: (value) => Array.isArray(value) && value.every((each) => typeof each === 'string'),
};

/** The kinds of all options of type `T`. */
export type OptionKinds<T> = { readonly [K in keyof Required<T>]: Kind };

/** An instance of `Class`. @param accepts its name in the error message. */
export function anInstance(accepts: string, Class: abstract new (...args: never) => unknown): Kind {
  return { accepts, fits: (value) => value instanceof Class };
}

/** An object whose keys are checked too: see `checkOptions`. */
export function withOptions(kinds: Readonly<Record<string, Kind>>): Kind {
  return { ...anObject, kinds };
}

export function oneOf(...words: readonly string[]): Kind {
  return { accepts: `one of ${words.join(', ')}`, fits: (value) => words.includes(value as string) };
}

/** Plain data made by another function: an object that has these keys. */
export function madeBy(maker: string, ...keys: readonly string[]): Kind {
  return { accepts: `what ${maker} returns`, fits: (value) => isObject(value) && keys.every((key) => key in value) };
}

export function optional(kind: Kind): Kind {
  return { ...kind, optional: true };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** How an error message names a value that does not fit. */
function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
    case 'function':
      return 'a function';
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object';
    default:
      return String(value);
  }
}

function fail(where: string, why: string): VirtioPmdError {
  return new VirtioPmdError('ECONFIG', `${where}: ${why}`);
}

/** Checks one argument. @param where the function's name. @throws VirtioPmdError ECONFIG */
export function checkArgument(where: string, name: string, value: unknown, kind: Kind): void {
  if (value === undefined && kind.optional) return;
  if (value === undefined) throw fail(where, `${name} is missing: expected ${kind.accepts}`);
  if (!kind.fits(value)) throw fail(where, `${name} is ${shown(value)}: expected ${kind.accepts}`);
  if (kind.kinds !== undefined) checkOptions(`${where}, ${name}`, value, kind.kinds);
}

/** Checks several arguments, by name, in the function's order. @throws VirtioPmdError ECONFIG */
export function checkArguments(where: string, given: Readonly<Record<string, readonly [unknown, Kind]>>): void {
  for (const [name, [value, kind]] of Object.entries(given)) checkArgument(where, name, value, kind);
}

/**
 * Checks an object of options: every key is known, the mandatory ones are there, and each value is of its kind.
 * @throws VirtioPmdError ECONFIG
 */
export function checkOptions(where: string, options: unknown, kinds: Readonly<Record<string, Kind>>): void {
  const keys = Object.keys(kinds);
  const needed = keys.filter((key) => !kinds[key]!.optional);
  if (!isObject(options)) {
    const found = options === undefined ? 'nothing was given' : `${shown(options)} was given`;
    const least = needed.length > 0 ? ` with ${needed.join(', ')}` : '';
    throw fail(where, `${found}: expected an object${least} (known options: ${keys.join(', ')})`);
  }
  for (const key of Object.keys(options)) {
    if (Object.hasOwn(kinds, key)) continue;
    throw fail(where, `unknown option "${key}"${didYouMean(key, keys)} (known options: ${keys.join(', ')})`);
  }
  for (const key of keys) checkArgument(where, key, (options as Record<string, unknown>)[key], kinds[key]!);
}
