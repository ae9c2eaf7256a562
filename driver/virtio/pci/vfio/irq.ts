/** Interrupts of a vfio device, each of which signals an eventfd. */
import { VirtioPmdError } from '../../../../native/errors.js';
import * as V from '../../../wire/linux/vfio.js';
import { attempt, errnoOf, type PciSystem } from '../system.js';
import { askIrqs, irqSet, irqUnmask } from './info.js';

/** Interrupts by which the bus reports something about the device, and their meaning. */
const NOTICES: readonly (readonly [index: number, meaning: string])[] = [
  [V.VFIO_PCI_REQ_IRQ_INDEX, 'the kernel wants the device back: it is being unplugged, or unbound from vfio-pci'],
  [V.VFIO_PCI_ERR_IRQ_INDEX, 'the bus reports an error of the device that cannot be put right'],
];

/** The interrupts of one device. */
export class VfioIrqs {
  /** Number of MSI-X vectors. */
  readonly vectors: number;
  private msix = false;
  private lines: number;
  /** Eventfd of the line interrupt, while it is in use. The kernel allows one kind of interrupt at a time. */
  private lineFd: number | undefined;
  private readonly notices: { readonly fd: number; readonly meaning: string }[] = [];

  /** @param kinds number of kinds of interrupt that the device has. @throws SystemError */
  constructor(
    private readonly system: PciSystem,
    private readonly name: string,
    private readonly fd: number,
    kinds: number,
  ) {
    const count = (index: number) => (index < kinds ? this.count(index) : 0);
    this.vectors = count(V.VFIO_PCI_MSIX_IRQ_INDEX);
    this.lines = count(V.VFIO_PCI_INTX_IRQ_INDEX);
    try {
      for (const [index, meaning] of NOTICES)
        if (count(index) > 0) this.notices.push({ fd: this.wire(index), meaning });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  private count(index: number): number {
    try {
      return askIrqs(index, (bytes) => this.system.ioctl(this.fd, 'VFIO_DEVICE_GET_IRQ_INFO', bytes));
    } catch (error) {
      if (errnoOf(error) === 'EINVAL') return 0; // a kind that this kernel, or this device, does not have
      throw error;
    }
  }

  /** @returns the kernel's answer: 0, or the number of vectors that it can provide when these are too many */
  private set(index: number, fds: readonly number[]): number {
    const request = irqSet(index, V.VFIO_IRQ_SET_ACTION_TRIGGER, fds);
    return this.system.ioctl(this.fd, 'VFIO_DEVICE_SET_IRQS', request);
  }

  /** A new eventfd for the only interrupt of a kind. */
  private wire(index: number): number {
    const fd = this.system.createEventFd();
    try {
      this.set(index, [fd]);
      return fd;
    } catch (error) {
      this.system.close(fd);
      throw error;
    }
  }

  /** See PciFunction.setVectors. @throws VirtioPmdError ECONFIG, SystemError; MSI-X is disabled then */
  setVectors(fds: readonly number[]): void {
    if (fds.length > this.vectors) throw this.tooMany(fds.length, this.vectors);
    if (this.msix) {
      this.msix = false;
      this.set(V.VFIO_PCI_MSIX_IRQ_INDEX, []);
    }
    if (fds.length === 0) return;
    this.stopLine();
    const available = this.set(V.VFIO_PCI_MSIX_IRQ_INDEX, fds);
    if (available > 0) throw this.tooMany(fds.length, available);
    this.msix = true;
  }

  private tooMany(wanted: number, available: number): VirtioPmdError {
    return new VirtioPmdError(
      'ECONFIG',
      `${this.name}: ${wanted} interrupt vectors are needed, ${available} are available: use fewer queues, or give the device more (QEMU: vectors=${wanted})`,
    );
  }

  /** See PciFunction.lineInterrupt. The first call without MSI-X enables it. */
  lineInterrupt(): boolean {
    if (this.msix || this.lines === 0) return false;
    try {
      this.lineFd ??= this.wire(V.VFIO_PCI_INTX_IRQ_INDEX);
      if (!this.system.drain(this.lineFd)) return false;
      this.system.ioctl(this.fd, 'VFIO_DEVICE_SET_IRQS', irqUnmask(V.VFIO_PCI_INTX_IRQ_INDEX));
      return true;
    } catch {
      this.lines = 0; // a pin that is not connected, or a device that is gone
      return false;
    }
  }

  private stopLine(): void {
    const fd = this.lineFd;
    if (fd === undefined) return;
    this.lineFd = undefined;
    attempt(
      () => this.set(V.VFIO_PCI_INTX_IRQ_INDEX, []),
      () => this.system.close(fd),
    );
  }

  /** Why the device must be given up; undefined when it need not. */
  notice(): string | undefined {
    return this.notices.find(({ fd }) => this.system.drain(fd))?.meaning;
  }

  close(): void {
    if (this.msix) attempt(() => this.setVectors([]));
    this.stopLine();
    for (const { fd } of this.notices) this.system.close(fd);
    this.notices.length = 0;
    this.lines = 0;
  }
}
