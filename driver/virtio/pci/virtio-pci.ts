/** From a PCI function to a virtio-net device: which register layout it has, or why it has none that can be used. */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Eal } from '../../eal/eal.js';
import type { LogLevel } from '../../eal/types.js';
import type { Transport } from '../transport.js';
import { PCI_DEVICE_ID, PCI_VENDOR_ID } from '../../wire/linux/pci-regs.js';
import { readCapabilities, type Capabilities } from './capabilities.js';
import type { PciFunction } from './function.js';
import { LEGACY_CONFIG_MSIX, LegacyRegisters } from './legacy.js';
import { ModernRegisters } from './modern.js';
import type { VirtioRegisters } from './registers.js';
import { VirtioPci } from './device.js';

const VENDOR = 0x1af4;
/** A transitional or legacy virtio-net device. */
const TRANSITIONAL_NET = 0x1000;
/** A modern one: 0x1040 and the device type. */
const MODERN_NET = 0x1041;
/** Registers, and the MAC address behind them. */
const LEGACY_LEAST = LEGACY_CONFIG_MSIX + 6;

export interface PciProbeOptions {
  readonly log: (level: LogLevel, line: string) => void;
  /** Reads of the status, 1 ms apart, before a reset counts as failed. */
  readonly resetAttempts?: number | undefined;
}

/**
 * Makes a device of a function, which belongs to the device from here on: it is closed with it, and when this throws.
 * @throws VirtioPmdError ECONFIG: not a virtio-net device; EPEER, ETIMEOUT: one that cannot be used
 */
export function probeVirtioPci(eal: Eal, fn: PciFunction, options: PciProbeOptions): Transport {
  try {
    const device = new VirtioPci(eal, fn, findRegisters(fn, options.log));
    device.survey(options.resetAttempts);
    return device;
  } catch (error) {
    fn.close();
    throw error;
  }
}

function findRegisters(fn: PciFunction, log: PciProbeOptions['log']): VirtioRegisters {
  const transitional = checkIds(fn);
  const capabilities = readCapabilities(fn);
  const { modern, rejected, msix } = capabilities;
  for (const why of rejected) log('warning', `${fn.name}: ${why}`);
  if (modern !== undefined) {
    log('info', 'found modern virtio pci device.');
    log('info', 'modern virtio pci detected.');
    return new ModernRegisters(fn, modern);
  }
  log('info', 'no modern virtio pci device found.');
  log('info', 'trying with legacy virtio pci.');
  const bar = fn.bar(0);
  if (transitional && bar?.kind === 'io' && bar.byteLength >= LEGACY_LEAST) return new LegacyRegisters(fn, bar, msix);
  const whyNot = transitional
    ? `its BAR 0 is not an I/O BAR of ${LEGACY_LEAST} bytes or more`
    : `1af4:${id(MODERN_NET)} never has one`;
  throw new VirtioPmdError(
    'EPEER',
    `${fn.name} has no modern interface (${whyNotModern(capabilities)}) and no legacy one (${whyNot}): it cannot be driven`,
  );
}

/** @returns whether the device may have the legacy interface */
function checkIds(fn: PciFunction): boolean {
  const vendor = fn.readConfig(PCI_VENDOR_ID, 2);
  const device = fn.readConfig(PCI_DEVICE_ID, 2);
  if (vendor === VENDOR && (device === TRANSITIONAL_NET || device === MODERN_NET)) return device === TRANSITIONAL_NET;
  if (vendor === 0xffff || device === 0xffff) {
    throw new VirtioPmdError('EPEER', `${fn.name}: the device does not answer (all ones): it was removed`);
  }
  throw new VirtioPmdError(
    'ECONFIG',
    `${fn.name} is ${id(vendor)}:${id(device)}; expected a virtio-net device, ${id(VENDOR)}:${id(TRANSITIONAL_NET)} or ${id(VENDOR)}:${id(MODERN_NET)}`,
  );
}

function whyNotModern({ missing, rejected }: Capabilities): string {
  return [`missing: ${missing.join(', ')}`, ...rejected].join('; ');
}

const id = (value: number) => value.toString(16).padStart(4, '0');
