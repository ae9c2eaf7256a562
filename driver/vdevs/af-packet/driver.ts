/** net_af_packet: a port that is an interface of the kernel, by packet sockets with rings in shared memory (packet(7)). */
import { openPacketSocket } from '../../../native/packet-socket.js';
import { closeFd } from '../../../native/region.js';
import { claimsNames } from '../../devargs/device-names.js';
import { Interface } from '../../netdev/interface.js';
import { netSystem } from '../../netdev/system.js';
import type { PortDriver } from '../../port/device.js';
import { VdevDevice } from '../vdev.js';
import { parseAfPacket } from './devargs.js';
import { AfPacketVdev } from './port.js';
import { whyNoSocket } from './socket.js';

const NAMES = ['net_af_packet', 'eth_af_packet'] as const;

/** Claims `net_af_packetN` and `eth_af_packetN`. */
export const afPacket: PortDriver = {
  bus: 'vdev',
  names: NAMES,
  queueModule: AfPacketVdev.module,
  claims: claimsNames(NAMES),
  nameOf: (devargs) => parseAfPacket(devargs).name,
  // eslint-disable-next-line @typescript-eslint/require-await -- an error is a rejection
  probe: async (_, devargs) => {
    const args = parseAfPacket(devargs);
    checkCapability();
    const device = new Interface(netSystem, args.iface);
    return {
      open: (host) => {
        try {
          return new VdevDevice(host, new AfPacketVdev(host, args, device));
        } catch (error) {
          device.close();
          throw error;
        }
      },
      close: () => device.close(),
    };
  },
};

/** @throws VirtioPmdError ESYSTEM without CAP_NET_RAW */
function checkCapability(): void {
  try {
    closeFd(openPacketSocket());
  } catch (error) {
    throw whyNoSocket(error);
  }
}
