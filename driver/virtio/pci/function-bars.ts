/** The BARs of a function on vfio or uio. A BAR is opened at its first use and closed with the function. */
import type { Mapping } from '../../../native/region.js';
import { FileRegisters, MappedRegisters } from './bar.js';
import type { Bar } from './function.js';
import type { PciSystem } from './system.js';

export class FunctionBars {
  private readonly opened = new Map<number, Bar | undefined>();
  private readonly mapped: MappedRegisters[] = [];
  private readonly unmapped: FileRegisters[] = [];

  constructor(
    private readonly system: PciSystem,
    private readonly open: (index: number) => Bar | undefined,
  ) {}

  bar(index: number): Bar | undefined {
    if (!this.opened.has(index)) this.opened.set(index, this.open(index));
    return this.opened.get(index);
  }

  /** Registers for `open`, from byte `first` of a BAR on. */
  inMapping(first: number, mapping: Mapping): MappedRegisters {
    const registers = new MappedRegisters(this.system, first, mapping);
    this.mapped.push(registers);
    return registers;
  }

  /** Registers for `open`, a whole BAR that begins at `base` of a file. */
  inFile(fd: number, base: number, byteLength: number): FileRegisters {
    const registers = new FileRegisters(this.system, fd, base, byteLength);
    this.unmapped.push(registers);
    return registers;
  }

  /** Whether the kernel has unmapped a BAR, as the device is gone. */
  get lost(): boolean {
    return this.mapped.some((registers) => registers.lost);
  }

  /** Steps of the clean-up for a device that is being removed. */
  givingUp(): (() => void)[] {
    return this.mapped.map((registers) => () => registers.giveUp());
  }

  /** Steps of the clean-up when the function is closed. */
  closing(): (() => void)[] {
    return [...this.mapped, ...this.unmapped].map((registers) => () => registers.close());
  }
}
