/** Filters of a device that has none: it is promiscuous for good, as DPDK says of such devices too. */
import { VirtioPmdError } from '../../native/errors.js';
import type { PortFilters } from './parts.js';

/** @param why a sentence about the device, such as "it makes its packets itself" */
export function receivesAll(mac: string, why: string): PortFilters {
  const refuse = (what: string): never => {
    throw new VirtioPmdError('ECONFIG', `${what} is not supported: the device receives everything, as ${why}`);
  };
  return {
    promiscuous: true,
    allmulticast: true,
    setPromiscuous: (on) => (on ? undefined : refuse('to leave promiscuous mode')),
    setAllmulticast: (on) => (on ? undefined : refuse('to leave allmulticast mode')),
    mac,
    macAddresses: [mac],
    multicastList: [],
    addMacAddress: () => refuse('another address'),
    removeMacAddress: () => undefined,
    setMulticastList: () => refuse('a list of multicast addresses'),
    setDefaultMac: () => refuse('another address'),
    vlanIds: [],
    vlanFilterEnabled: false,
    setVlanFiltering: (on) => (on ? refuse('a filter of VLANs') : undefined),
    setVlanFilter: () => refuse('a filter of VLANs'),
  };
}
