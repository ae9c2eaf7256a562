/**
 * A PCI function whose registers are in sysfs: the configuration space and the resources. Memory resources are mapped; I/O
 * ports are read and written through the file, so iopl is not needed. Interrupts, if there are any, come from elsewhere: uio.ts,
 * ports.ts.
 */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Log } from '../../eal/types.js';
import * as P from '../../wire/linux/pci-regs.js';
import { allOnes, FileRegisters, MAX_MAPPED, RegisterBar, type Registers } from './bar.js';
import { changeCommand } from './config-space.js';
import { FunctionBars } from './function-bars.js';
import type { Bar, PciFunction, Width } from './function.js';
import { pciFile, readResources, type PciResource } from './sysfs.js';
import { attempt, errnoOf, words, type PciSystem } from './system.js';

/** Milliseconds for which an answer that the function is present is used again. */
const LOOK_EVERY_MS = 200;

/** What differs between the ways to such a function. */
export interface SysfsWay {
  readonly bus: 'uio' | 'ports';
  /** Whether a resource is accessed: 0 to 5. */
  readonly uses: (resource: PciResource) => boolean;
  /** What may have happened when the function has vanished, for the log. */
  readonly loss: string;
  /** Why there are no interrupt vectors to give out, for a sentence: "..., which uio does not have". */
  readonly noVectors: string;
}

/** Opens a file of the function, or a device node. @throws VirtioPmdError ESYSTEM with what to do */
export function openFile(system: PciSystem, path: string): number {
  try {
    return system.open(path);
  } catch (error) {
    throw whyNot(error);
  }
}

function whyNot(error: unknown): VirtioPmdError {
  const remedy: Record<string, string> = {
    ENOENT: 'is this a container without the device?',
    EROFS: '/sys is mounted read-only here: mount it writable',
    EACCES: 'run as root',
    EPERM: 'run as root; Secure Boot (kernel lockdown) forbids it even then: use vfio-pci',
  };
  return new VirtioPmdError('ESYSTEM', `${words(error)}: ${remedy[errnoOf(error)] ?? 'see dmesg'}`);
}

/** Everything of such a function but its interrupts. Bus mastering is on once it is made. */
export abstract class SysfsFunction implements PciFunction {
  readonly bus: 'uio' | 'ports';
  readonly addressing = { kind: 'physical' } as const;
  readonly vectors = 0;
  private readonly config: FileRegisters;
  private readonly resources: readonly (PciResource | undefined)[];
  private readonly bars: FunctionBars;
  private readonly ports: number[] = [];
  private lastLook: number;
  private gone = false;
  protected closed = false;

  /** @param configFd of the configuration space; `close` closes it. */
  protected constructor(
    readonly name: string,
    protected readonly system: PciSystem,
    private readonly log: Log,
    private readonly configFd: number,
    private readonly way: SysfsWay,
  ) {
    this.bus = way.bus;
    this.bars = new FunctionBars(system, (index) => this.openBar(index));
    this.config = new FileRegisters(system, configFd, 0, P.PCI_CFG_SPACE_EXP_SIZE);
    this.resources = readResources(name, system.root);
    try {
      changeCommand(this, P.PCI_COMMAND_IO | P.PCI_COMMAND_MEMORY | P.PCI_COMMAND_MASTER);
    } catch (error) {
      throw whyNot(error); // kernel lockdown allows to open the file, and not to write to it
    }
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
    this.log('warning', `${this.name}: ${this.way.loss}`);
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
    if (resource === undefined || !this.way.uses(resource)) return undefined;
    const registers = this.openResource(index, resource);
    return new RegisterBar(`BAR ${index} of ${this.name}`, resource.kind, resource.byteLength, [registers]);
  }

  private openResource(index: number, { kind, byteLength }: PciResource): Registers {
    const fd = openFile(this.system, pciFile(this.name, `resource${index}`));
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
      `${this.name}: ${fds.length} interrupt vectors are needed, ${this.way.noVectors}: bind it to vfio-pci (devbind -b vfio-pci ${this.name})`,
    );
  }

  abstract lineInterrupt(): boolean;

  /** The last steps of `close`, once bus mastering is off. */
  protected abstract releasing(): (() => void)[];

  close(): void {
    if (this.closed) return;
    this.closed = true;
    attempt(
      () => changeCommand(this, P.PCI_COMMAND_INTX_DISABLE, P.PCI_COMMAND_MASTER),
      ...this.bars.closing(),
      () => this.config.close(),
      () => [...this.ports, this.configFd].forEach((fd) => this.system.close(fd)),
      ...this.releasing(),
    );
  }
}
