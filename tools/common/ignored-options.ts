/**
 * Options of DPDK's programs that have no meaning here. They are accepted, with one line each, so that command lines made for
 * them run unchanged; values that DPDK refuses are refused, as a command line with a slip in it should not run here to fail there.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { all, dashed, has, type Kind, type Values } from './parse.js';
import { number, type Check } from './value-checks.js';

export interface IgnoredOption {
  readonly kind: Kind;
  /** Why nothing happens. */
  readonly why: string;
  /** Of its value, where it has one. */
  readonly check?: Check;
  /** No line is printed for it. */
  readonly silent?: true;
}

/** By name, without dashes. */
export type IgnoredOptions = Readonly<Record<string, IgnoredOption>>;

export const flag = (why: string): IgnoredOption => ({ kind: 'flag', why });
export const value = (why: string, check: Check): IgnoredOption => ({ kind: 'value', why, check });
/** Its value may be left out. */
export const optional = (why: string, check: Check): IgnoredOption => ({
  kind: 'optional',
  why,
  check: { ...check, accepts: (text) => text === '' || check.accepts(text) },
});
export const silent = (option: IgnoredOption): IgnoredOption => ({ ...option, silent: true });

/** testpmd and l3fwd-power have it. */
export const ethLinkSpeed = value('the speed is the devarg speed=', number(0, 0x7fffffff));

/** @throws VirtioPmdError EOPTION: the first value that DPDK would not take */
export function checkIgnored(program: string, values: Values, options: IgnoredOptions): void {
  for (const [option, { check }] of Object.entries(options)) {
    if (check === undefined) continue;
    const bad = all(values, option).find((text) => !check.accepts(text));
    if (bad === undefined) continue;
    const typed = `${dashed(option)}${option.length === 1 ? ' ' : '='}${bad}`;
    throw new VirtioPmdError('EOPTION', `${program}: ${typed}: must be ${check.expected}`);
  }
}

/** One line for each that was given. */
export function ignoredNotes(program: string, values: Values, options: IgnoredOptions): string[] {
  const given = Object.entries(options).filter(([name, option]) => has(values, name) && option.silent !== true);
  return given.map(([name, { why }]) => `${program}: ${dashed(name)} is accepted and has no effect: ${why}`);
}
