/**
 * Options of DPDK's programs that have no effect here. They are accepted, with one line each, so that command lines for DPDK
 * run unchanged. Values that DPDK refuses are refused here too, so that mistakes do not show only with DPDK.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { all, dashed, has, type Kind, type Values } from './parse.js';
import { number, type Check } from './value-checks.js';

export interface IgnoredOption {
  readonly kind: Kind;
  /** Why it has no effect. */
  readonly why: string;
  /** Check of its value, if it has one. */
  readonly check?: Check;
  /** No line is printed for it. */
  readonly silent?: true;
}

/** Options by name, without dashes. */
export type IgnoredOptions = Readonly<Record<string, IgnoredOption>>;

export const flag = (why: string): IgnoredOption => ({ kind: 'flag', why });
export const value = (why: string, check: Check): IgnoredOption => ({ kind: 'value', why, check });
/** An option whose value may be omitted. */
export const optional = (why: string, check: Check): IgnoredOption => ({
  kind: 'optional',
  why,
  check: { ...check, accepts: (text) => text === '' || check.accepts(text) },
});
export const silent = (option: IgnoredOption): IgnoredOption => ({ ...option, silent: true });

/** An option of both testpmd and l3fwd-power. */
export const ethLinkSpeed = value('the speed is the devarg speed=', number(0, 0x7fffffff));

/** Checks the values. @throws VirtioPmdError EOPTION for the first one that DPDK does not accept */
export function checkIgnored(program: string, values: Values, options: IgnoredOptions): void {
  for (const [option, { check }] of Object.entries(options)) {
    if (check === undefined) continue;
    const bad = all(values, option).find((text) => !check.accepts(text));
    if (bad === undefined) continue;
    const typed = `${dashed(option)}${option.length === 1 ? ' ' : '='}${bad}`;
    throw new VirtioPmdError('EOPTION', `${program}: ${typed}: must be ${check.expected}`);
  }
}

/** One line for each ignored option that was given. */
export function ignoredNotes(program: string, values: Values, options: IgnoredOptions): string[] {
  const given = Object.entries(options).filter(([name, option]) => has(values, name) && option.silent !== true);
  return given.map(([name, { why }]) => `${program}: ${dashed(name)} is accepted and has no effect: ${why}`);
}
