/**
 * Assigns addresses to the BARs of a PCI function. On other machines the firmware does that, but an emulated machine that only
 * halts has none. It uses the configuration space only.
 */
import { VirtioPmdError } from '../../../../native/errors.js';
import * as P from '../../../wire/linux/pci-regs.js';
import type { Width } from '../function.js';
import { hex } from '../../../../native/hex.js';

/** Configuration space of one function. */
export interface ConfigSpace {
  readConfig(offset: number, width: Width): number;
  writeConfig(offset: number, width: Width, value: number): void;
}

/** The addresses that a BAR was assigned. */
export interface BarRegion {
  readonly kind: 'memory' | 'io';
  readonly address: number;
  readonly byteLength: number;
}

/** The addresses that are free for the BARs of a function. */
export interface Window {
  readonly memory: number;
  readonly memoryBytes: number;
  readonly io: number;
  readonly ioBytes: number;
}

/**
 * Assigns all BARs, and enables decoding and bus mastering.
 * @returns by BAR number; undefined for a BAR that does not exist, and for the upper half of a 64-bit BAR.
 * @throws VirtioPmdError ECONFIG when they need more room
 */
export function assignBars(config: ConfigSpace, window: Window, name: string): (BarRegion | undefined)[] {
  config.writeConfig(P.PCI_COMMAND, 2, 0); // no decoding while the addresses change
  const regions: (BarRegion | undefined)[] = Array.from({ length: P.PCI_STD_NUM_BARS });
  const next = { memory: window.memory, io: window.io };
  const end = { memory: window.memory + window.memoryBytes, io: window.io + window.ioBytes };
  for (let index = 0; index < P.PCI_STD_NUM_BARS; index++) {
    const at = P.PCI_BASE_ADDRESS_0 + 4 * index;
    config.writeConfig(at, 4, 0xffffffff);
    const low = config.readConfig(at, 4);
    if (low === 0) continue;
    const kind = low & P.PCI_BASE_ADDRESS_SPACE_IO ? 'io' : 'memory';
    const wide = kind === 'memory' && (low & P.PCI_BASE_ADDRESS_MEM_TYPE_64) !== 0;
    let mask = BigInt((low & (kind === 'io' ? ~3 : ~15)) >>> 0);
    if (wide) {
      config.writeConfig(at + 4, 4, 0xffffffff);
      mask |= BigInt(config.readConfig(at + 4, 4)) << 32n;
    } else {
      mask |= 0xffffffff_00000000n;
      // I/O BARs may decode 16 bits only
      if (kind === 'io') mask |= 0xffff0000n;
    }
    const byteLength = Number(BigInt.asUintN(64, ~mask + 1n));
    const address = Math.ceil(next[kind] / byteLength) * byteLength;
    if (byteLength === 0 || address + byteLength > end[kind]) {
      throw new VirtioPmdError(
        'ECONFIG',
        `${name}: BAR ${index} wants ${hex(byteLength)} bytes of ${kind} space, more than the ${hex(end[kind] - next[kind])} left for this function`,
      );
    }
    next[kind] = address + byteLength;
    config.writeConfig(at, 4, address);
    regions[index] = { kind, address, byteLength };
    if (wide) {
      config.writeConfig(at + 4, 4, 0);
      index++;
    }
  }
  config.writeConfig(P.PCI_COMMAND, 2, P.PCI_COMMAND_IO | P.PCI_COMMAND_MEMORY | P.PCI_COMMAND_MASTER);
  return regions;
}
