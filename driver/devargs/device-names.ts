/** Names of vdevs: that of a driver with a number behind it, such as net_virtio_user0. Pure. */
import { aString, checkArguments, strings } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { nearest } from '../../native/nearest.js';
import { splitDevargs } from './kvargs.js';

const NUMBERED = /^(.*?)(\d+)$/;

/** The number at the end of a device's name, which begins with one of `names`; undefined for any other name. */
export function numberOf(device: string, names: readonly string[]): number | undefined {
  checkArguments('numberOf', { device: [device, aString], names: [names, strings] });
  const [, name, digits] = NUMBERED.exec(device) ?? [];
  return name !== undefined && names.includes(name) ? Number(digits) : undefined;
}

/** A test of device strings: whether the name is one of `names` with a number behind it. */
export function claimsNames(names: readonly string[]): (devargs: string) => boolean {
  checkArguments('claimsNames', { names: [names, strings] });
  return (devargs) => numberOf(splitDevargs(devargs).name, names) !== undefined;
}

/** The name with the next number, for a sentence. */
export function nextName(device: string): string {
  checkArguments('nextName', { device: [device, aString] });
  const [, name, digits] = NUMBERED.exec(device) ?? [device, device, -1];
  return `${name}${Number(digits) + 1}`;
}

/** `net_null<N> or net_pcap<N>` */
export function listNames(names: readonly string[]): string {
  checkArguments('listNames', { names: [names, strings] });
  const each = names.map((name) => `${name}<N>`);
  return each.length < 2 ? each.join('') : `${each.slice(0, -1).join(', ')} or ${each.at(-1)}`;
}

/** The error for a device that no driver knows, with the nearest name. @param names those of all drivers */
export function unknownDevice(device: string, names: readonly string[]): VirtioPmdError {
  checkArguments('unknownDevice', { device: [device, aString], names: [names, strings] });
  const [, name, digits] = NUMBERED.exec(device) ?? [device, device, '0'];
  const near = nearest(name!, names);
  return new VirtioPmdError(
    'EDEVARGS',
    `"${device}" names no device that this driver knows${near === undefined ? '' : `; did you mean "${near}${digits}"?`}: expected ${listNames(names)}, then its arguments`,
  );
}
