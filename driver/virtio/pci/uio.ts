/**
 * A PCI function that is bound to uio_pci_generic or igb_uio. The interrupt is in /dev/uioN, all else in sysfs: the configuration
 * space and the resources. Memory resources are mapped; I/O ports are read and written through the file, so iopl is not needed.
 */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Log } from '../../eal/types.js';
import * as P from '../../wire/linux/pci-regs.js';
import { allOnes, FileRegisters, MAX_MAPPED, RegisterBar, type Registers } from './bar.js';
import { changeCommand } from './config-space.js';
import { FunctionBars } from './function-bars.js';
import type { Bar, PciFunction, Width } from './function.js';
import { pciFile, readResources, uioName, type PciDevice, type PciResource } from './sysfs.js';
import { attempt, errnoOf, words, type PciSystem } from './system.js';

/** Milliseconds for which an answer that the function is present is used again. */
const LOOK_EVERY_MS = 200;

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
    for (const path of [`/dev/${uio}`, pciFile(address, 'config')]) fds.push(open(system, path));
    return new UioFunction(device, system, log, fds[0]!, fds[1]!);
  } catch (error) {
    for (const fd of fds) system.close(fd);
    throw error;
  }
}

function open(system: PciSystem, path: string): number {
  try {
    return system.open(path);
  } catch (error) {
    const remedy: Record<string, string> = {
      ENOENT: 'is this a container without the device?',
      EACCES: 'run as root',
      EPERM: 'run as root; Secure Boot (kernel lockdown) forbids it even then: use vfio-pci',
    };
    throw new VirtioPmdError('ESYSTEM', `${words(error)}: ${remedy[errnoOf(error)] ?? 'see dmesg'}`);
  }
}

class UioFunction implements PciFunction {
  readonly name: string;
  readonly bus = 'uio';
  readonly addressing = { kind: 'physical' } as const;
  /** uio_pci_generic has none; the one of igb_uio is not used. */
  readonly vectors = 0;
  private readonly config: FileRegisters;
  private readonly resources: readonly (PciResource | undefined)[];
  private readonly bars: FunctionBars;
  private readonly ports: number[] = [];
  private readonly generic: boolean;
  private readonly event = new Uint8Array(4);
  private lastLook: number;
  private gone = false;
  private closed = false;

  constructor(
    { address, driver }: PciDevice,
    private readonly system: PciSystem,
    private readonly log: Log,
    private readonly uioFd: number,
    private readonly configFd: number,
  ) {
    this.name = address;
    this.generic = driver === 'uio_pci_generic';
    this.bars = new FunctionBars(system, (index) => this.openBar(index));
    this.config = new FileRegisters(system, configFd, 0, P.PCI_CFG_SPACE_EXP_SIZE);
    this.resources = readResources(address, system.root);
    changeCommand(this, P.PCI_COMMAND_IO | P.PCI_COMMAND_MEMORY | P.PCI_COMMAND_MASTER);
    this.enableLine();
    this.lastLook = system.now();
  }

  get present(): boolean {
    if (this.gone || this.closed) return false;
    const now = this.system.now();
    if (now - this.lastLook < LOOK_EVERY_MS) return true;
    this.lastLook = now;
    // sysfs reads as all ones here when the kernel has removed the function
    const vanished = this.readConfig(P.PCI_VENDOR_ID, 2) === allOnes(2);
    if (!vanished && !this.bars.lost) return true;
    this.gone = true;
    this.log('warning', `${this.name}: the device has been unplugged, or unbound from its uio driver`);
    return false;
  }

  // ---- registers -------------------------------------------------------------------------------------------------------

  readConfig(offset: number, width: Width): number {
    return this.config.read(offset, width);
  }

  writeConfig(offset: number, width: Width, value: number): void {
    this.config.write(offset, width, value);
  }

  bar(index: number): Bar | undefined {
    return this.bars.bar(index);
  }

  private openBar(index: number): Bar | undefined {
    const resource = this.resources[index];
    if (resource === undefined) return undefined;
    const registers = this.openResource(index, resource);
    return new RegisterBar(`BAR ${index} of ${this.name}`, resource.kind, resource.byteLength, [registers]);
  }

  private openResource(index: number, { kind, byteLength }: PciResource): Registers {
    const fd = open(this.system, pciFile(this.name, `resource${index}`));
    if (kind === 'io') {
      this.ports.push(fd);
      return this.bars.inFile(fd, 0, byteLength);
    }
    try {
      return this.bars.inMapping(0, this.system.map(fd, Math.min(byteLength, MAX_MAPPED), 0));
    } finally {
      this.system.close(fd);
    }
  }

  // ---- DMA and interrupts ------------------------------------------------------------------------------------------------

  /** Nothing to do: there is no IOMMU. */
  mapDma(): void {}

  setVectors(fds: readonly number[]): void {
    if (fds.length === 0) return;
    throw new VirtioPmdError(
      'ECONFIG',
      `${this.name}: ${fds.length} interrupt vectors are needed, which uio does not have: bind it to vfio-pci (devbind -b vfio-pci ${this.name})`,
    );
  }

  lineInterrupt(): boolean {
    if (this.closed) return false;
    try {
      if (this.system.read(this.uioFd, this.event) !== this.event.length) return false;
      this.enableLine();
      return true;
    } catch {
      return false; // a function without an interrupt, or one that is gone
    }
  }

  /** Both kernel drivers mask the interrupt when it fires: uio_pci_generic in the command register, igb_uio in its own way. */
  private enableLine(): void {
    if (this.generic) changeCommand(this, 0, P.PCI_COMMAND_INTX_DISABLE);
    else attempt(() => this.system.write(this.uioFd, new Uint8Array(Int32Array.of(1).buffer)));
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    attempt(
      () => changeCommand(this, P.PCI_COMMAND_INTX_DISABLE, P.PCI_COMMAND_MASTER),
      ...this.bars.closing(),
      () => this.config.close(),
      () => [...this.ports, this.configFd, this.uioFd].forEach((fd) => this.system.close(fd)),
    );
  }
}
