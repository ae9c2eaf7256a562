/** virtio NICs on PCI as a driver of ports. */
import type { PortDriver } from '../../port/device.js';
import { probedVirtio } from '../probed.js';
import { isPci, parsePci, probePci } from './probe.js';

/** Claims PCI addresses and `qtest:SOCKET`. */
export const virtioPci: PortDriver = {
  bus: 'pci',
  names: [],
  claims: isPci,
  nameOf: (devargs) => parsePci(devargs).name,
  probe: async (eal, devargs, { log }) => probedVirtio(parsePci(devargs), await probePci(eal, devargs, log)),
};
