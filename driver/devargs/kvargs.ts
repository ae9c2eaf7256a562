/**
 * Parses device arguments, `net_virtio_user0,path=/tmp/vhost.sock,queues=2`, by a schema. The grammar is DPDK's kvargs.
 * Values are checked strictly, where DPDK reads `queues=abc` as 0 and ignores a key that is given twice. No I/O.
 */
import { anObject, aString, checkArgument, checkArguments } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { nearest } from '../../native/nearest.js';
import { isUnicast, macBytes, parseMac } from '../wire/mac.js';

/** How the value of one key is parsed. */
export interface DevargKey<T> {
  /** What is accepted, in words that follow "expected". */
  readonly accepts: string;
  /**
   * @param more the other texts of a key that was given several times
   * @returns undefined when the text is not accepted.
   */
  readonly parse: (text: string, ...more: string[]) => T | undefined;
  /** The value when the key is absent. */
  readonly fallback: T;
  readonly mandatory?: boolean;
  /** The key may be given several times. */
  readonly repeats?: boolean;
  /** What the key by itself means, without a value. Absent: it needs one. */
  readonly bare?: string;
}

export type DevargSchema = Readonly<Record<string, DevargKey<unknown>>>;
export type DevargValues<S extends DevargSchema> = {
  readonly [K in keyof S]: S[K] extends DevargKey<infer T> ? T : never;
};

function fail(message: string): VirtioPmdError {
  return new VirtioPmdError('EDEVARGS', message);
}

/** Splits a device string at its first comma into the device's name and its arguments. */
export function splitDevargs(text: string): { name: string; args: string } {
  checkArgument('splitDevargs', 'text', text, aString);
  const comma = text.indexOf(',');
  return comma < 0 ? { name: text, args: '' } : { name: text.slice(0, comma), args: text.slice(comma + 1) };
}

/**
 * Reads `key=value,key=value`. A value runs to the next comma outside square brackets (which stay part of it); empty
 * segments are skipped; blanks are characters like any other.
 * @param device the device's name, for the error message.
 * @throws VirtioPmdError EDEVARGS naming key, value and what is accepted.
 */
export function parseDevargs<S extends DevargSchema>(args: string, schema: S, device: string): DevargValues<S> {
  checkArguments('parseDevargs', { args: [args, aString], schema: [schema, anObject], device: [device, aString] });
  const keys = Object.keys(schema);
  const found = new Map<string, string[]>();
  for (const segment of splitSegments(args, device)) {
    const equals = segment.indexOf('=');
    const key = equals < 0 ? segment : segment.slice(0, equals);
    if (!Object.hasOwn(schema, key)) {
      const near = nearest(key, keys);
      const hint = near ? `; did you mean "${near}"?` : ':';
      throw fail(`${device}: unknown key "${key}"${hint} accepted keys are ${keys.join(', ')}`);
    }
    const { bare, repeats } = schema[key]!;
    if (equals < 0 && bare === undefined) {
      throw fail(`${device}: key "${key}" has no value: expected ${key}=<${schema[key]!.accepts}>`);
    }
    const value = equals < 0 ? bare! : segment.slice(equals + 1);
    const before = found.get(key);
    if (before === undefined) found.set(key, [value]);
    else if (repeats) before.push(value);
    else throw fail(`${device}: key "${key}" is given twice (${before[0]}, then ${value}): give it once`);
  }

  const values: Record<string, unknown> = {};
  for (const key of keys) {
    const { parse, accepts, fallback, mandatory } = schema[key]!;
    const texts = found.get(key);
    if (texts === undefined) {
      if (mandatory) throw fail(`${device}: key "${key}" is missing: add ${key}=<${accepts}>`);
      values[key] = fallback;
      continue;
    }
    const [first = '', ...more] = texts;
    const value = parse(first, ...more);
    if (value === undefined) {
      const wrong = texts.find((text) => parse(text) === undefined) ?? first;
      throw fail(`${device}: ${key}=${wrong} is not accepted: expected ${accepts}`);
    }
    values[key] = value;
  }
  return values as DevargValues<S>;
}

function splitSegments(args: string, device: string): string[] {
  const segments: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < args.length; at++) {
    const char = args[at];
    if (char === '[') depth++;
    else if (char === ']') depth = Math.max(0, depth - 1);
    else if (char === ',' && depth === 0) {
      segments.push(args.slice(start, at));
      start = at + 1;
    }
  }
  if (depth > 0) throw fail(`${device}: "${args.slice(start)}" has a "[" without its "]": close it`);
  segments.push(args.slice(start));
  return segments.filter((segment) => segment !== '');
}

// ---- kinds of values -----------------------------------------------------------------------------------------------

/** A whole number, decimal or 0x hexadecimal, without blanks and leading zeros (in DPDK those mean octal). */
export function integerKey(min: number, max: number, fallback: number): DevargKey<number> {
  return {
    accepts: `a whole number from ${min} to ${max}, decimal or 0x hexadecimal`,
    parse: (text) => {
      const value = parseWhole(text);
      return value !== undefined && value >= min && value <= max ? value : undefined;
    },
    fallback,
  };
}

export function flagKey(fallback: boolean): DevargKey<boolean> {
  return {
    accepts: '0 or 1',
    parse: (text) => {
      const value = parseWhole(text);
      return value === 0 ? false : value === 1 ? true : undefined;
    },
    fallback,
  };
}

/** Link speeds in Mb/s that DPDK's virtio drivers accept. */
const speeds = [10000, 20000, 25000, 40000, 50000, 56000, 100000, 200000, 400000, 800000];

/** A link speed in Mb/s; undefined: unknown, or from the device. */
export const speedKey: DevargKey<number | undefined> = {
  accepts: `one of ${speeds.join(', ')} (Mb/s)`,
  parse: (text) => {
    const value = parseWhole(text);
    return value !== undefined && speeds.includes(value) ? value : undefined;
  },
  fallback: undefined,
};

/** A MAC address, converted to upper case with colons. */
export const macKey: DevargKey<string | undefined> = {
  accepts: 'a unicast MAC address such as 02:00:00:00:00:01',
  parse: (text) => {
    const mac = parseMac(text);
    return mac !== undefined && isUnicast(macBytes(mac)) ? mac : undefined;
  },
  fallback: undefined,
};

export function textKey(accepts: string): DevargKey<string | undefined> {
  return { accepts, parse: (text) => (text === '' ? undefined : text), fallback: undefined };
}

/** Texts of a key that may be given several times, in their order. */
export function textsKey(accepts: string): DevargKey<readonly string[]> {
  return {
    accepts,
    parse: (...texts) => (texts.includes('') ? undefined : texts),
    fallback: [],
    repeats: true,
  };
}

function parseWhole(text: string): number | undefined {
  if (!/^(0|[1-9]\d*|0x[0-9a-f]+)$/i.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
