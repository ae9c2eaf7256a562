/** virtio_user as a driver of ports. */
import { parseVirtioUser } from '../../devargs/devargs.js';
import { splitDevargs } from '../../devargs/kvargs.js';
import type { PortDriver } from '../../port/device.js';
import { probedVirtio } from '../probed.js';
import { probeVirtioUser } from './probe.js';

/** Claims `net_virtio_userN` and `virtio_userN`. */
export const virtioUser: PortDriver = {
  bus: 'vdev',
  claims: (devargs) => /^(?:net_)?virtio_user\d+$/.test(splitDevargs(devargs).name),
  nameOf: (devargs) => parseVirtioUser(devargs).name,
  probe: async (eal, devargs, options) => {
    const args = parseVirtioUser(devargs);
    return probedVirtio(args, await probeVirtioUser(eal, args, options));
  },
};
