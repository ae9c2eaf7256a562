/**
 * From a PCI function to a virtio-net device: which register layout it has, or why none of them can be used (virtio 1.2
 * section 4.1).
 */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Eal } from '../../eal/eal.js';
import type { Log } from '../../eal/types.js';
import type { Transport } from '../transport.js';
import { PCI_DEVICE_ID, PCI_VENDOR_ID } from '../../wire/linux/pci-regs.js';
import { virtio_net_config } from '../../wire/linux/virtio-net.js';
import { VIRTIO_PCI_CONFIG_OFF_MSIX } from '../../wire/linux/virtio-pci.js';
import { readCapabilities, type Capabilities } from './capabilities.js';
import type { PciFunction } from './function.js';
import { EXPECTED_IDS, formatIds, isVirtioNet, MODERN_NET, TRANSITIONAL_NET, VIRTIO_VENDOR } from './ids.js';
import { LegacyRegisters } from './legacy.js';
import { ModernRegisters } from './modern.js';
import type { VirtioRegisters } from './registers.js';
import { VirtioPci } from './device.js';

/** Registers, and the MAC address behind them. */
const LEGACY_LEAST = VIRTIO_PCI_CONFIG_OFF_MSIX + virtio_net_config.mac.width;

/** Options of `probeVirtioPci`. */
export interface PciProbeOptions {
  readonly log: Log;
  /** Reads of the status, 1 ms apart, before a reset counts as failed. */
  readonly resetAttempts?: number | undefined;
}

/**
 * Makes a device of a function. The device closes the function; when this throws, the function is closed too.
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
  // of a function that is used through its ports the memory is not mapped, and that is as it should be
  if (fn.bus !== 'ports') for (const why of rejected) log('warning', `${fn.name}: ${why}`);
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
    : `${formatIds({ vendor: VIRTIO_VENDOR, device: MODERN_NET })} never has one`;
  throw new VirtioPmdError(
    'EPEER',
    `${fn.name} has no modern interface (${whyNotModern(capabilities)}) and no legacy one (${whyNot}): it cannot be driven`,
  );
}

/** @returns whether the device may have the legacy interface */
function checkIds(fn: PciFunction): boolean {
  const vendor = fn.readConfig(PCI_VENDOR_ID, 2);
  const device = fn.readConfig(PCI_DEVICE_ID, 2);
  if (isVirtioNet({ vendor, device })) return device === TRANSITIONAL_NET;
  if (vendor === 0xffff || device === 0xffff) {
    throw new VirtioPmdError('EPEER', `${fn.name}: the device does not answer (all ones): it was removed`);
  }
  throw new VirtioPmdError(
    'ECONFIG',
    `${fn.name} is ${formatIds({ vendor, device })}; expected a virtio-net device, ${EXPECTED_IDS}`,
  );
}

function whyNotModern({ missing, rejected }: Capabilities): string {
  return [`missing: ${missing.join(', ')}`, ...rejected].join('; ');
}
