/**
 * The qtest bus: QEMU's own virtio-net-pci as a PCI function for our driver, without a guest, an IOMMU or real hardware. QEMU
 * emulates a machine whose processor has halted. Configuration space and registers are accessed through its qtest socket, and
 * its RAM is a file that we map.
 */
import { VirtioPmdError } from '../../../../native/errors.js';
import type { Doorbell } from '../../../../paths/guest/queue.js';
import * as P from '../../../wire/linux/pci-regs.js';
import { allOnes } from '../bar.js';
import { readCapabilities, type Capabilities } from '../capabilities.js';
import type { Addressing, Bar, PciFunction, Width } from '../function.js';
import { assignBars, type BarRegion } from './bars.js';
import type { QtestDevargs } from './devargs.js';
import { QtestMachine, type Claim, type MachineOptions } from './machine.js';
import { startQtestQemu, whyNoSocket } from './qemu.js';
import { MAX_VECTORS } from './shared.js';

/**
 * Opens the function that the devargs name. When the file of the socket does not exist, a QEMU is started, which ends with the
 * last of its functions, or with this process.
 * @throws VirtioPmdError ESOCKET, ECONFIG, EPEER, ETIMEOUT
 */
export async function openQtest(args: QtestDevargs, options: MachineOptions = {}): Promise<QtestFunction> {
  const nobody = whyNoSocket(args.socket);
  if (nobody === '' && args.startsQemu) {
    options.log?.(`${args.name}: there is a QEMU already: qemu=, netdev=, nics= and machine= have no effect`);
  }
  const qemu = nobody === '' ? undefined : await startQtestQemu({ ...args.qemu, socket: args.socket, ram: args.ram });
  if (qemu !== undefined) options.log?.(`${args.name}: ${nobody}: QEMU started (process ${qemu.pid})`);
  try {
    const machine = QtestMachine.open(args.socket, args.ram, options);
    if (qemu !== undefined) machine.atEnd(() => qemu.kill());
    try {
      return new QtestFunction(machine, machine.claim(args.address));
    } finally {
      machine.closeIfUnused();
    }
  } catch (error) {
    qemu?.kill();
    throw error;
  }
}

/** A function of an emulated machine. */
export class QtestFunction implements PciFunction {
  readonly name: string;
  readonly bus = 'qtest';
  readonly addressing: Addressing;
  readonly vectors: number;

  private readonly regions: readonly (BarRegion | undefined)[];
  private readonly msix: Capabilities['msix'];
  /** By register. A doorbell stays the same as long as the function is open. */
  private readonly doorbells = new Map<string, Doorbell>();
  private removed = false;
  private closed = false;

  /** Use `openQtest`. @throws VirtioPmdError ECONFIG, EPEER; the claim is released then */
  constructor(
    private readonly machine: QtestMachine,
    private readonly claim: Claim,
  ) {
    this.name = `qtest:${machine.socketPath}:${claim.address}`;
    this.addressing = { kind: 'file', ...machine.ram };
    try {
      this.regions = assignBars(claim.config, claim.window, this.name);
      this.msix = readCapabilities(this).msix;
      this.vectors = Math.min(this.msix?.vectors ?? 0, MAX_VECTORS);
    } catch (error) {
      machine.unclaim(claim);
      throw error;
    }
  }

  get present(): boolean {
    return !this.removed && !this.machine.gone;
  }

  // ---- registers -----------------------------------------------------------------------------------------------------

  readConfig(offset: number, width: Width): number {
    if (!this.present) return allOnes(width);
    const value = this.claim.config.readConfig(offset, width);
    if (value === allOnes(width)) this.lookWhetherThere();
    return value;
  }

  writeConfig(offset: number, width: Width, value: number): void {
    if (this.present) this.claim.config.writeConfig(offset, width, value);
  }

  bar(index: number): Bar | undefined {
    const region = this.regions[index];
    if (region === undefined) return undefined;
    const { kind, address, byteLength } = region;
    const at = (offset: number, width: number) => {
      if (offset >= 0 && offset + width <= byteLength) return address + offset;
      throw new VirtioPmdError('ECONFIG', `${this.name}: BAR ${index} has ${byteLength} bytes, none at ${offset}`);
    };
    return {
      kind,
      byteLength,
      read: (offset, width) => this.read(kind, at(offset, width), width),
      write: (offset, width, value) => {
        if (this.present) this.machine.write(kind, at(offset, width), width, value);
      },
      doorbell: (offset, virtqueue, notificationData) => {
        if (!notificationData) return this.doorbell(kind, at(offset, 2), virtqueue);
        throw new VirtioPmdError(
          'ECONFIG',
          `${this.name}: an eventfd carries no NOTIFICATION_DATA, which QEMU's own network device does not offer`,
        );
      },
    };
  }

  private read(kind: Bar['kind'], address: number, width: Width): number {
    if (!this.present) return allOnes(width);
    const value = this.machine.read(kind, address, width);
    // at addresses without a device QEMU reads 0 from memory; only the configuration space shows that the function is gone
    if (value === 0 || value === allOnes(width)) this.lookWhetherThere();
    return this.present ? value : allOnes(width);
  }

  private lookWhetherThere(): void {
    if (this.claim.config.readConfig(P.PCI_VENDOR_ID, 2) === 0xffff) this.removed = true;
  }

  private doorbell(kind: Bar['kind'], address: number, value: number): Doorbell {
    const key = `${kind} ${address} ${value}`;
    let doorbell = this.doorbells.get(key);
    if (doorbell === undefined) {
      doorbell = { kind: 'eventfd', fd: this.machine.doorbell(this.claim, kind, address, value) };
      this.doorbells.set(key, doorbell);
    }
    return doorbell;
  }

  // ---- DMA and interrupts --------------------------------------------------------------------------------------------

  mapDma(_userAddress: bigint, byteLength: number, deviceAddress: bigint): void {
    const { base, byteLength: all } = this.machine.ram;
    if (deviceAddress >= base && deviceAddress + BigInt(byteLength) <= base + BigInt(all)) return;
    throw new VirtioPmdError(
      'EMEMORY',
      `${this.name}: the packet memory is not in the RAM of QEMU's machine: attach this device before any mempool is made`,
    );
  }

  setVectors(fds: readonly number[]): void {
    const { msix, machine, claim } = this;
    if (fds.length > this.vectors) {
      throw new VirtioPmdError(
        'ECONFIG',
        `${this.name} has ${this.vectors} MSI-X vectors, ${fds.length} are needed: give the device vectors=${fds.length}, or use fewer queues`,
      );
    }
    if (msix === undefined) return;
    const flags = msix.at + P.PCI_MSIX_FLAGS;
    const off = this.readConfig(flags, 2) & ~(P.PCI_MSIX_FLAGS_ENABLE | P.PCI_MSIX_FLAGS_MASKALL);
    this.writeConfig(flags, 2, off);
    machine.setVectors(claim, fds);
    if (fds.length === 0) return;
    const where = this.readConfig(msix.at + P.PCI_MSIX_TABLE, 4);
    const table = this.bar(where & P.PCI_MSIX_TABLE_BIR);
    if (table === undefined)
      throw new VirtioPmdError('EPEER', `${this.name}: the BAR of its MSI-X table does not exist`);
    for (let i = 0; i < this.vectors; i++) {
      const entry = (where & P.PCI_MSIX_TABLE_OFFSET) + i * P.PCI_MSIX_ENTRY_SIZE;
      const used = i < fds.length && fds[i]! >= 0;
      table.write(entry + P.PCI_MSIX_ENTRY_LOWER_ADDR, 4, claim.messages.address + 4 * i);
      table.write(entry + P.PCI_MSIX_ENTRY_UPPER_ADDR, 4, 0);
      table.write(entry + P.PCI_MSIX_ENTRY_DATA, 4, i + 1); // any value but 0
      table.write(entry + P.PCI_MSIX_ENTRY_VECTOR_CTRL, 4, used ? 0 : P.PCI_MSIX_ENTRY_CTRL_MASKBIT);
    }
    this.writeConfig(flags, 2, off | P.PCI_MSIX_FLAGS_ENABLE);
  }

  lineInterrupt(): boolean {
    return this.present && (this.readConfig(P.PCI_STATUS, 2) & P.PCI_STATUS_INTERRUPT) !== 0 && this.present;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    try {
      this.setVectors([]);
      this.writeConfig(P.PCI_COMMAND, 2, 0);
    } catch {
      // QEMU has sent an invalid answer: it is given up, and there is nothing to disable
    }
    this.machine.unclaim(this.claim);
  }
}
