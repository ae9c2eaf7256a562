/** A connected transport, before it becomes the device of a port. */
import type { PortArgs } from '../devargs/devargs.js';
import type { PortHost, ProbedDevice } from '../port/device.js';
import { VirtioDevice } from './device.js';
import type { Transport } from './transport.js';

export function probedVirtio(args: PortArgs, transport: Transport): ProbedDevice {
  return {
    open(host: PortHost) {
      try {
        return new VirtioDevice(host, args, transport);
      } catch (error) {
        transport.close();
        throw error;
      }
    },
    close: () => transport.close(),
  };
}
