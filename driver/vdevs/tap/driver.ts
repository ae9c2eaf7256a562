/** net_tap: a port whose other end is a tap device, an interface of the kernel. */
import { claimsNames } from '../../devargs/device-names.js';
import type { PortDriver } from '../../port/device.js';
import { VdevDevice } from '../vdev.js';
import { parseTap } from './devargs.js';
import { TapVdev } from './port.js';

const NAMES = ['net_tap', 'eth_tap'] as const;

/** Claims `net_tapN` and `eth_tapN`. */
export const tap: PortDriver = {
  bus: 'vdev',
  names: NAMES,
  queueModule: TapVdev.module,
  claims: claimsNames(NAMES),
  nameOf: (devargs) => parseTap(devargs).name,
  // eslint-disable-next-line @typescript-eslint/require-await -- an error is a rejection
  probe: async (_, devargs) => {
    const vdev = new TapVdev(parseTap(devargs));
    return {
      open: (host) => {
        vdev.open(host);
        return new VdevDevice(host, vdev);
      },
      close: () => vdev.close(),
    };
  },
};
