/** Finds the devices that a user names: by addresses in several formats, wildcards, interface names. */
import { VirtioPmdError } from '../../native/errors.js';
import { canonicalAddress } from '../../driver/virtio/pci/address.js';
import type { PciDevice } from './devices.js';

/** A shell pattern (`*`, `?`, `[a-f]`) as a regular expression for a whole text. With a reversed range it matches nothing. */
export function globPattern(glob: string, flags = ''): RegExp {
  const source = glob.replace(/\[(?![!^]\])[^\]]+\]|[^]/g, (part) => {
    if (part === '*') return '.*';
    if (part === '?') return '.';
    if (part.length > 1) return part.replaceAll('\\', '\\\\').replace(/^\[!/, '[^');
    return part.replace(/[\\^$.|+(){}[\]]/, '\\$&');
  });
  try {
    return new RegExp(`^${source}$`, flags);
  } catch {
    return /(?!)/;
  }
}

/**
 * The devices for `word`: one for an address or an interface name, any number for a pattern.
 * @param usable the devices that may be selected: those that --status lists
 * @throws VirtioPmdError ECONFIG when there is none
 */
export function resolveDevice(word: string, usable: readonly PciDevice[], all: readonly PciDevice[]): PciDevice[] {
  const address = canonicalAddress(word);
  if (address !== undefined) {
    const device = usable.find((candidate) => candidate.address === address);
    if (device) return [device];
    const other = all.find((candidate) => candidate.address === address);
    if (other) {
      throw unknown(
        `${address} is of PCI class 0x${other.classCode}, which is none of the devices that --status lists`,
      );
    }
    throw unknown(`Unknown device: ${word}; no PCI device has the address ${address}, see --status`);
  }
  const named = usable.filter((device) => device.interfaces.some(({ name }) => name === word));
  if (named.length > 0) return named;
  if (/[*?[]/.test(word)) {
    const patterns = [globPattern(word, 'i'), globPattern(`0000:${word}`, 'i')];
    const matching = patterns.map((pattern) => usable.filter((device) => pattern.test(device.address)));
    const first = matching.find((devices) => devices.length > 0);
    if (first) return first;
  }
  throw unknown(`Unknown device: ${word}. Please specify device in "bus:slot.func" format`);
}

function unknown(sentence: string): VirtioPmdError {
  return new VirtioPmdError('ECONFIG', sentence);
}
