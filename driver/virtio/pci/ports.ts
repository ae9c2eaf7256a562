/**
 * A legacy or transitional function that no kernel driver is bound to, through its I/O ports: DPDK's "port IO when the UIO module
 * is not available". The ports are in the file resource0, the kernel enables the device through the file `enable`. There are no
 * interrupts.
 */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Log } from '../../eal/types.js';
import * as P from '../../wire/linux/pci-regs.js';
import { changeCommand } from './config-space.js';
import type { PciFunction } from './function.js';
import { TRANSITIONAL_NET } from './ids.js';
import { openFile, SysfsFunction, type SysfsWay } from './sysfs-function.js';
import { pciFile, readResources, type PciDevice, type PciResource } from './sysfs.js';
import { attempt, errnoOf, words, type PciSystem } from './system.js';

const PORTS: SysfsWay = {
  bus: 'ports',
  // as DPDK: memory is mapped only by way of a driver that takes care of it
  uses: ({ kind }) => kind === 'io',
  loss: 'the device has been unplugged',
  noVectors: 'which a device that no driver is bound to does not have',
};

/** Whether a function can be used without a driver. @param resources BAR 0 to 5. */
export function hasPorts(
  { driver, device }: Pick<PciDevice, 'driver' | 'device'>,
  resources: readonly (PciResource | undefined)[],
): boolean {
  return driver === undefined && device === TRANSITIONAL_NET && resources[0]?.kind === 'io';
}

/** `hasPorts` of a function of this machine. */
export function isPortDevice(device: PciDevice, root: string): boolean {
  return hasPorts(device, readResources(device.address, root));
}

/** Opens a function. @throws VirtioPmdError with the reason and what to do */
export function openPorts({ address }: PciDevice, system: PciSystem, log: Log): PciFunction {
  // opened first: without it the device would have to be switched off again
  const configFd = openFile(system, pciFile(address, 'config'));
  let enabled = false;
  try {
    switchDevice(system, address, true);
    enabled = true;
    const fn = new PortFunction(address, system, log, configFd);
    log('warning', warning(address));
    return fn;
  } catch (error) {
    if (enabled) attempt(() => switchDevice(system, address, false));
    system.close(configFd);
    throw error;
  }
}

const warning = (address: string) =>
  `${address} is bound to no driver: it is used through its I/O ports, without interrupts (link changes are polled); if this process is killed, the device goes on writing to memory, which vfio-pci and uio prevent`;

/** The kernel counts who has enabled a device, and wakes it from its sleep. @throws VirtioPmdError ESYSTEM, ECONFIG */
function switchDevice(system: PciSystem, address: string, on: boolean): void {
  const fd = openFile(system, pciFile(address, 'enable'));
  try {
    system.write(fd, new TextEncoder().encode(on ? '1' : '0'));
  } catch (error) {
    if (errnoOf(error) === 'EBUSY') {
      throw new VirtioPmdError('ECONFIG', `${address} has just been bound to a driver: see devbind --status`);
    }
    const remedy = errnoOf(error) === 'EPERM' ? 'run as root (CAP_SYS_ADMIN)' : 'see dmesg';
    throw new VirtioPmdError('ESYSTEM', `the kernel does not enable ${address} (${words(error)}): ${remedy}`);
  } finally {
    system.close(fd);
  }
}

class PortFunction extends SysfsFunction {
  constructor(address: string, system: PciSystem, log: Log, configFd: number) {
    super(address, system, log, configFd, PORTS);
    // nobody would handle the line interrupt, and the kernel would disable the line for all devices on it
    changeCommand(this, P.PCI_COMMAND_INTX_DISABLE);
  }

  lineInterrupt(): boolean {
    return false;
  }

  protected releasing(): (() => void)[] {
    return [() => switchDevice(this.system, this.name, false)];
  }
}
