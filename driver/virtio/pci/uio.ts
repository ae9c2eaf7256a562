/**
 * A PCI function that is bound to uio_pci_generic or igb_uio. The interrupt is in /dev/uioN, all else in sysfs.
 *
 * uio_pci_generic has the line interrupt. igb_uio enables one when its device is opened: MSI-X with one vector by default, the
 * line with intr_mode=legacy. The configuration space tells which (the parameter does not, as igb_uio falls back to the line).
 */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Log } from '../../eal/types.js';
import * as P from '../../wire/linux/pci-regs.js';
import { changeCommand, msixIsEnabled } from './config-space.js';
import type { PciFunction } from './function.js';
import { openFile, SysfsFunction, type SysfsWay } from './sysfs-function.js';
import { pciFile, uioName, type PciDevice } from './sysfs.js';
import { attempt, type PciSystem } from './system.js';

const UIO: SysfsWay = {
  bus: 'uio',
  uses: () => true,
  loss: 'the device has been unplugged, or unbound from its uio driver',
  noVectors: 'which uio does not have',
};

/** Opens a function. @throws VirtioPmdError with the reason and what to do */
export function openUio(device: PciDevice, system: PciSystem, log: Log): PciFunction {
  const { address, driver } = device;
  const uio = uioName(address, system.root);
  if (uio === undefined) {
    throw new VirtioPmdError(
      'ECONFIG',
      `${address} is bound to ${driver}, which has made no uio device of it: bind it anew (devbind -b ${driver} ${address})`,
    );
  }
  const fds: number[] = [];
  try {
    // the uio device first: igb_uio enables the interrupt then
    for (const path of [`/dev/${uio}`, pciFile(address, 'config')]) fds.push(openFile(system, path));
    return new UioFunction(device, system, log, fds[0]!, fds[1]!);
  } catch (error) {
    for (const fd of fds) system.close(fd);
    throw error;
  }
}

class UioFunction extends SysfsFunction {
  readonly singleVector: boolean;
  private readonly generic: boolean;
  private readonly event = new Uint8Array(4);

  constructor(
    { address, driver }: PciDevice,
    system: PciSystem,
    log: Log,
    private readonly uioFd: number,
    configFd: number,
  ) {
    super(address, system, log, configFd, UIO);
    this.generic = driver === 'uio_pci_generic';
    this.singleVector = !this.generic && msixIsEnabled(this);
    this.enableInterrupt();
  }

  lineInterrupt(): boolean {
    if (this.closed) return false;
    try {
      if (this.system.read(this.uioFd, this.event) !== this.event.length) return false;
      this.enableInterrupt();
      return true;
    } catch {
      return false; // a function without an interrupt, or one that is gone
    }
  }

  /** Both kernel drivers mask the line when it fires: uio_pci_generic in the command register, igb_uio in its own way. */
  private enableInterrupt(): void {
    if (this.generic) changeCommand(this, 0, P.PCI_COMMAND_INTX_DISABLE);
    else attempt(() => this.system.write(this.uioFd, new Uint8Array(Int32Array.of(1).buffer)));
  }

  protected releasing(): (() => void)[] {
    return [() => this.system.close(this.uioFd)];
  }
}
