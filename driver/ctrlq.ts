/**
 * Commands of the control virtqueue (virtio 1.2 section 5.1.6.5): their bytes, and the answers of a device that is
 * emulated in this process, as virtio_user's is. How a command reaches the device is the transport's business.
 */

export const CTRL_RX = 0;
export const CTRL_RX_PROMISC = 0;
export const CTRL_RX_ALLMULTI = 1;
export const CTRL_MAC = 1;
export const CTRL_VLAN = 2;
export const CTRL_ANNOUNCE = 3;
export const CTRL_MQ = 4;
export const CTRL_MQ_VQ_PAIRS_SET = 0;

/** The device's answer, one byte. */
export const CTRL_OK = 0;
export const CTRL_ERR = 0xff;

/** A command before it is split into descriptors: header (class, command), then one descriptor per argument, then the answer. */
export interface ControlCommand {
  readonly class: number;
  readonly command: number;
  readonly args: readonly Uint8Array[];
}

/** Makes the device use the first `pairs` queue pairs. */
export function setPairsCommand(pairs: number): ControlCommand {
  return { class: CTRL_MQ, command: CTRL_MQ_VQ_PAIRS_SET, args: [Uint8Array.of(pairs & 0xff, pairs >> 8)] };
}

/** Switches promiscuous or all-multicast mode. */
export function rxModeCommand(command: typeof CTRL_RX_PROMISC | typeof CTRL_RX_ALLMULTI, on: boolean): ControlCommand {
  return { class: CTRL_RX, command, args: [Uint8Array.of(on ? 1 : 0)] };
}

/** What commands do to an emulated device. */
export interface EmulatedDevice {
  readonly maxQueuePairs: number;
  /** Enables pairs 0 to n - 1 and disables the others. */
  enablePairs(n: number): void;
  /** Why a command was refused, for the log. */
  refused(why: string): void;
}

/** Answers a command as virtio_user does: queue pairs are done, filters are accepted and ignored, the rest is refused. */
export function emulateControl(command: ControlCommand, device: EmulatedDevice): number {
  if (command.class === CTRL_RX || command.class === CTRL_MAC || command.class === CTRL_VLAN) return CTRL_OK;
  const [arg] = command.args;
  const isPairs = command.class === CTRL_MQ && command.command === CTRL_MQ_VQ_PAIRS_SET;
  if (!isPairs || command.args.length !== 1 || arg?.length !== 2) {
    device.refused(`control command ${command.class}/${command.command} is not emulated`);
    return CTRL_ERR;
  }
  const pairs = arg[0]! | (arg[1]! << 8);
  if (pairs === 0 || pairs > device.maxQueuePairs) {
    device.refused(`multi-q config ${pairs}, but only ${device.maxQueuePairs} supported`);
    return CTRL_ERR;
  }
  device.enablePairs(pairs);
  return CTRL_OK;
}
