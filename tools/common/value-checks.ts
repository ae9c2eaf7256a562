/** Checks of option values, with texts for error messages. */
import { parseUnsigned } from './values.js';

export interface Check {
  accepts(text: string): boolean;
  /** The valid values, in words that follow "must be". */
  readonly expected: string;
}

export const words = (...accepted: readonly string[]): Check => ({
  accepts: (text) => accepted.includes(text),
  expected: accepted.length > 1 ? `${accepted.slice(0, -1).join(', ')} or ${accepted.at(-1)}` : accepted[0]!,
});
export const number = (min: number, max: number): Check => ({
  accepts: (text) => parseUnsigned(text, min, max) !== undefined,
  expected: `a number from ${min} to ${max}`,
});
export const matching = (pattern: RegExp, expected: string): Check => ({
  accepts: (text) => pattern.test(text),
  expected,
});
export const parsed = (parse: (text: string) => unknown, expected: string): Check => ({
  accepts: (text) => parse(text) !== undefined,
  expected,
});
