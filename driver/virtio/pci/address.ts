/** Addresses of PCI functions: domain:bus:device.function, in hexadecimal. */
import { VirtioPmdError } from '../../../native/errors.js';

const FORM = /^(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([01]?[0-9a-f])\.([0-7])$/i;

/**
 * An address as sysfs writes it, 0000:00:03.0; undefined when `text` is no address. The domain may be left out, as with
 * DPDK's -a.
 */
export function canonicalAddress(text: string): string | undefined {
  const match = FORM.exec(text);
  if (match === null) return undefined;
  const [, domain = '0', bus, device, fn] = match;
  const padded = (digits: string, width: number) => parseInt(digits, 16).toString(16).padStart(width, '0');
  return `${padded(domain, 4)}:${padded(bus!, 2)}:${padded(device!, 2)}.${fn}`;
}

/** The same. @throws VirtioPmdError EDEVARGS when it is no address */
export function checkAddress(text: string): string {
  const address = canonicalAddress(text);
  if (address !== undefined) return address;
  throw new VirtioPmdError(
    'EDEVARGS',
    `"${text}" is no PCI address: expected [domain:]bus:device.function in hex, 0000:00:03.0 for example (devbind --status lists them)`,
  );
}
