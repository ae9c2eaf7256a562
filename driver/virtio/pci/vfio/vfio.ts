/** A PCI function that is bound to vfio-pci: a file of the kernel gives access to all of it. */
import { VirtioPmdError } from '../../../../native/errors.js';
import type { Log } from '../../../eal/types.js';
import * as P from '../../../wire/linux/pci-regs.js';
import * as V from '../../../wire/linux/vfio.js';
import { FileRegisters, RegisterBar } from '../bar.js';
import { changeCommand, findMsixTable, isIoBar, type MsixTable } from '../config-space.js';
import { FunctionBars } from '../function-bars.js';
import type { Addressing, Bar, PciFunction, Width } from '../function.js';
import type { PciDevice } from '../sysfs.js';
import { attempt, type PciSystem } from '../system.js';
import type { Vfio, VfioHandle } from './group.js';
import { askDevice, askRegion, type Region } from './info.js';
import { VfioIrqs } from './irq.js';

/** Opens a function. @throws VirtioPmdError with the reason and what to do */
export function openVfio(device: PciDevice, vfio: Vfio, log: Log): PciFunction {
  const handle = vfio.open(device);
  try {
    return new VfioFunction(device.address, handle, vfio.system, log);
  } catch (error) {
    handle.close();
    throw error;
  }
}

class VfioFunction implements PciFunction {
  readonly bus: 'vfio' | 'vfio-noiommu';
  readonly addressing: Addressing;
  private readonly config: FileRegisters;
  private readonly msix: MsixTable | undefined;
  private readonly irqs: VfioIrqs;
  private readonly bars: FunctionBars;
  private readonly unmapDma: (() => void)[] = [];
  private gone = false;
  private closed = false;

  constructor(
    readonly name: string,
    private readonly handle: VfioHandle,
    private readonly system: PciSystem,
    private readonly log: Log,
  ) {
    const { fd, noIommu, container } = handle;
    this.bus = noIommu ? 'vfio-noiommu' : 'vfio';
    this.addressing = noIommu ? { kind: 'physical' } : { kind: 'iova', ranges: container.ranges() };
    const info = askDevice((bytes) => system.ioctl(fd, 'VFIO_DEVICE_GET_INFO', bytes));
    if ((info.flags & V.VFIO_DEVICE_FLAGS_PCI) === 0) {
      throw new VirtioPmdError('ECONFIG', `vfio says that ${name} is no PCI device: bind it to vfio-pci`);
    }
    this.bars = new FunctionBars(system, (index) => this.openBar(index));
    const region = this.region(V.VFIO_PCI_CONFIG_REGION_INDEX);
    this.config = new FileRegisters(system, fd, region.offset, region.byteLength);
    // if this reset fails, virtio's own reset follows anyway
    if ((info.flags & V.VFIO_DEVICE_FLAGS_RESET) !== 0) attempt(() => system.ioctl(fd, 'VFIO_DEVICE_RESET', 0));
    changeCommand(this, P.PCI_COMMAND_IO | P.PCI_COMMAND_MEMORY | P.PCI_COMMAND_MASTER, P.PCI_COMMAND_INTX_DISABLE);
    this.msix = findMsixTable(this);
    this.irqs = new VfioIrqs(system, name, fd, info.irqs);
  }

  get present(): boolean {
    if (this.gone || this.closed) return false;
    const lost = this.bars.lost ? 'its registers are gone' : undefined;
    const why = this.irqs.notice() ?? lost;
    if (why === undefined) return true;
    this.gone = true;
    this.log('warning', `${this.name}: ${why}`);
    this.giveUp();
    return false;
  }

  /** Releases the device for an unplug, which the kernel delays until then. Lcores may still write to its doorbells meanwhile. */
  private giveUp(): void {
    attempt(
      () => this.irqs.close(),
      () => changeCommand(this, 0, P.PCI_COMMAND_MASTER),
      ...this.bars.givingUp(),
      ...this.unmapDma.splice(0), // after bus mastering is off
      () => this.handle.release(),
    );
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
    if (!(index >= 0 && index < P.PCI_STD_NUM_BARS) || !this.present) return undefined;
    const { byteLength, offset, mappable } = this.region(index);
    if (byteLength === 0) return undefined;
    const { system } = this;
    const { fd } = this.handle;
    const mapped = mappable.map(([first, end]) =>
      this.bars.inMapping(first, system.map(fd, end - first, offset + first)),
    );
    const kind = isIoBar(this, index) ? 'io' : 'memory';
    const rest = this.bars.inFile(fd, offset, byteLength);
    return new RegisterBar(`BAR ${index} of ${this.name}`, kind, byteLength, [...mapped, rest]);
  }

  private region(index: number): Region {
    return askRegion(index, this.msix, (bytes) =>
      this.system.ioctl(this.handle.fd, 'VFIO_DEVICE_GET_REGION_INFO', bytes),
    );
  }

  // ---- DMA and interrupts ------------------------------------------------------------------------------------------------

  mapDma(userAddress: bigint, byteLength: number, deviceAddress: bigint): void {
    if (!this.present) throw new VirtioPmdError('EPEER', `${this.name}: the device is gone: detach it`);
    if (this.addressing.kind === 'physical') return;
    this.unmapDma.push(this.handle.container.map(userAddress, byteLength, deviceAddress));
  }

  get vectors(): number {
    return this.irqs.vectors;
  }

  setVectors(fds: readonly number[]): void {
    this.irqs.setVectors(fds);
  }

  lineInterrupt(): boolean {
    return this.irqs.lineInterrupt();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    attempt(
      () => this.irqs.close(),
      () => changeCommand(this, 0, P.PCI_COMMAND_MASTER),
      ...this.bars.closing(),
      () => this.config.close(),
      ...this.unmapDma, // after bus mastering is off
      () => this.handle.close(),
    );
  }
}
