/** The addresses for which a port receives, as in ethdev: the port's own first. Pure; the error texts are ethdev's. */
import { VirtioPmdError } from '../../native/errors.js';
import { macTableCommand, type ControlCommand } from './control/commands.js';

/** VIRTIO_MAX_MAC_ADDRS, for each list. */
const MAX_MAC_ADDRS = 64;

export interface MacTable {
  /** The port's own address, such as 02:00:00:00:00:0A, in capitals. */
  readonly own: string;
  /** Added addresses, which may include multicast ones. */
  readonly added: readonly string[];
  /** The multicast list, which is set as a whole. */
  readonly multicast: readonly string[];
}

function fail(message: string): VirtioPmdError {
  return new VirtioPmdError('ECONFIG', message);
}

/** An address in the table's format. @throws VirtioPmdError ECONFIG */
export function normalizeMac(mac: string): string {
  if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) return mac.toUpperCase();
  throw fail(`MAC address ${mac}: expected six bytes such as 02:00:00:00:00:01`);
}

/** Tests the group bit, which the broadcast address has too. */
function isMulticast(mac: string): boolean {
  return (parseInt(mac.slice(0, 2), 16) & 1) !== 0;
}

function isZero(mac: string): boolean {
  return /^[0:]+$/.test(mac);
}

/** All addresses but the multicast list, the port's own first. */
export function addressesOf({ own, added }: MacTable): readonly string[] {
  return [own, ...added];
}

/** @returns the same table when it has the address. @throws VirtioPmdError ECONFIG */
export function addAddress(table: MacTable, mac: string, portId: number): MacTable {
  const address = normalizeMac(mac);
  if (isZero(address)) throw fail(`Port ${portId}: Cannot add NULL MAC address`);
  const known = addressesOf(table);
  if (known.includes(address)) return table;
  if (known.length >= MAX_MAC_ADDRS) {
    throw fail(`Port ${portId}: MAC address array full: it holds ${MAX_MAC_ADDRS}, remove one first`);
  }
  return { ...table, added: [...table.added, address] };
}

/** @returns the same table when it lacks the address. @throws VirtioPmdError ECONFIG for the port's own */
export function removeAddress(table: MacTable, mac: string, portId: number): MacTable {
  const address = normalizeMac(mac);
  if (address === table.own) throw fail(`Port ${portId}: Cannot remove default MAC address`);
  if (!table.added.includes(address)) return table;
  return { ...table, added: table.added.filter((other) => other !== address) };
}

/** @throws VirtioPmdError ECONFIG for an address that is not valid for a port, or that was added already */
export function setOwnAddress(table: MacTable, mac: string, portId: number): MacTable {
  const address = normalizeMac(mac);
  if (isZero(address) || isMulticast(address)) {
    throw fail(
      `Port ${portId}: ${address} cannot be the address of a port: expected a unicast address that is not zero`,
    );
  }
  if (table.added.includes(address)) {
    throw fail(`New default address for port ${portId} was already in the address list. Please remove it first.`);
  }
  return { ...table, own: address };
}

/** @throws VirtioPmdError ECONFIG for unicast addresses, or too many */
export function setMulticast(table: MacTable, macs: readonly string[], portId: number): MacTable {
  const multicast = [...new Set(macs.map(normalizeMac))];
  const unicast = multicast.find((address) => !isMulticast(address));
  if (unicast !== undefined) throw fail(`Invalid multicast addr ${unicast}`);
  if (multicast.length > MAX_MAC_ADDRS) {
    throw fail(`Port ${portId}: a list of ${multicast.length} multicast addresses: at most ${MAX_MAC_ADDRS} fit`);
  }
  return { ...table, multicast };
}

/** True when the table has only the port's own address. */
export function isTrivial({ added, multicast }: MacTable): boolean {
  return added.length === 0 && multicast.length === 0;
}

/**
 * The table for the device, without the port's own address, for which devices always receive (virtio 1.2 section 5.1.6.5.2).
 * DPDK includes it, and an address that was replaced stays there.
 */
export function tableCommand({ added, multicast }: MacTable): ControlCommand {
  const unicast = added.filter((address) => !isMulticast(address));
  const groups = new Set([...added.filter(isMulticast), ...multicast]);
  return macTableCommand(unicast, [...groups]);
}
