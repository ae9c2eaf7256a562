/** A port whose device takes commands through the control queue: shared by filters and RSS. */
import { VirtioPmdError } from '../../native/errors.js';
import type { LogLevel } from '../eal/types.js';
import type { PortHost } from '../port/device.js';
import { featureName } from '../wire/virtio-features.js';
import { CTRL_OK, type ControlCommand } from './control/commands.js';
import { has } from './features.js';
import type { Plan } from './plan.js';
import type { Transport } from './transport.js';

export interface CommandedPort {
  readonly portId: number;
  /** Feature bits that the device offers. */
  readonly offered: bigint;
  /** Negotiated feature bits. @throws VirtioPmdError ESTATE before the port is configured, as do the next three */
  readonly acknowledged: bigint;
  /** RX_OFFLOAD_* */
  readonly rxOffloads: number;
  readonly rxQueues: number;
  readonly txQueues: number;
  /** Transport.control */
  readonly control: (command: ControlCommand) => number;
  readonly readConfig: (offset: number, length: number) => Uint8Array;
  readonly writeConfig: (offset: number, bytes: Uint8Array) => void;
  readonly log: (level: LogLevel, line: string) => void;
  /** Transport.openUntilTold */
  readonly openUntilTold: boolean;
}

/** @param offered, plan return the current values; `plan` throws ESTATE while there is none */
export function commandedPort(
  host: PortHost,
  transport: Transport,
  offered: () => bigint,
  plan: () => Plan,
): CommandedPort {
  return {
    portId: host.id,
    openUntilTold: transport.openUntilTold ?? false,
    control: (command) => transport.control(command),
    readConfig: (offset, length) => transport.readConfig(offset, length),
    writeConfig: (offset, bytes) => transport.writeConfig(offset, bytes),
    log: (level, line) => host.log(level, line),
    get offered() {
      return offered();
    },
    get acknowledged() {
      return plan().negotiation.acknowledged;
    },
    get rxOffloads() {
      return plan().config.rxOffloads;
    },
    get rxQueues() {
      return plan().config.rxQueues;
    },
    get txQueues() {
      return plan().config.txQueues;
    },
  };
}

/** A command to repeat after a reset, because the device has forgotten it, and its description. */
export type Memory = readonly [command: ControlCommand, what: string];

/** @param words the beginning of the message. @throws VirtioPmdError ECONFIG when the feature was not negotiated */
export function need(port: CommandedPort, feature: bigint, words: string): void {
  if (has(port.acknowledged, feature)) return;
  const why = has(port.offered, feature)
    ? 'was not negotiated (cq=1 asks for a control queue, path() has the reason)'
    : 'is not offered by the device';
  throw new VirtioPmdError('ECONFIG', `${words}: ${featureName(feature)} ${why}`);
}

/** Runs a command. @throws VirtioPmdError EPEER when the device refuses */
export function run(port: CommandedPort, command: ControlCommand, failure: string): void {
  const answer = port.control(command);
  if (answer === CTRL_OK) return;
  throw new VirtioPmdError('EPEER', `${failure}: the device answered ${answer} instead of 0`);
}

/** Repeats commands. A refusal is logged. @throws VirtioPmdError EPEER, ETIMEOUT when the device does not answer */
export function tellAgain(port: CommandedPort, memories: readonly Memory[]): void {
  for (const [command, what] of memories) {
    const answer = port.control(command);
    if (answer === CTRL_OK) continue;
    port.log('error', `port ${port.portId}: ${what} is lost: after its reset the device answered ${answer}`);
  }
}
