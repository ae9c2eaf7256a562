/** virtio_user as a driver of ports. */
import { parseVirtioUser, VIRTIO_USER_NAMES } from '../../devargs/devargs.js';
import { numberOf } from '../../devargs/device-names.js';
import { splitDevargs } from '../../devargs/kvargs.js';
import type { PortDriver } from '../../port/device.js';
import { probedVirtio } from '../probed.js';
import { probeVirtioUser } from './probe.js';

export const virtioUser: PortDriver = {
  bus: 'vdev',
  names: VIRTIO_USER_NAMES,
  claims: (devargs) => numberOf(splitDevargs(devargs).name, VIRTIO_USER_NAMES) !== undefined,
  nameOf: (devargs) => parseVirtioUser(devargs).name,
  probe: async (eal, devargs, options) => {
    const args = parseVirtioUser(devargs);
    return probedVirtio(args, await probeVirtioUser(eal, args, options));
  },
};
