/**
 * What the kernel's sysfs says about PCI functions (the kernel's Documentation/ABI/testing/sysfs-bus-pci). It is read at every
 * call, as devbind and hot-plug change it. `root` is the path of the root folder: '' except in tests.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { PCI_STD_NUM_BARS } from '../../wire/linux/pci-regs.js';
import { isVirtioNet } from './ids.js';

/** A PCI function as sysfs describes it. */
export interface PciDevice {
  /** 0000:00:03.0 */
  readonly address: string;
  readonly vendor: number;
  readonly device: number;
  /** 24 bits: base class, subclass, programming interface. */
  readonly classCode: number;
  /** Undefined when the machine does not report one. */
  readonly numaNode: number | undefined;
  /** Name of the kernel driver it is bound to. */
  readonly driver: string | undefined;
  /** Number of its IOMMU group. */
  readonly iommuGroup: string | undefined;
}

/** The addresses of one base address register, as the kernel has assigned them. */
export interface PciResource {
  readonly kind: 'memory' | 'io';
  readonly byteLength: number;
}

const IORESOURCE_IO = 0x100n;
const IORESOURCE_MEM = 0x200n;

const devices = (root: string) => `${root}/sys/bus/pci/devices`;

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined; // the function may have been unplugged between two reads
  }
}

function linkName(path: string): string | undefined {
  try {
    return basename(readlinkSync(path));
  } catch {
    return undefined;
  }
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** A function by its address; undefined when there is none. */
export function readPciDevice(address: string, root = ''): PciDevice | undefined {
  const folder = `${devices(root)}/${address}`;
  const number = (file: string) => Number(text(`${folder}/${file}`) ?? NaN);
  const vendor = number('vendor');
  const device = number('device');
  if (Number.isNaN(vendor) || Number.isNaN(device)) return undefined;
  const node = number('numa_node');
  return {
    address,
    vendor,
    device,
    classCode: number('class') || 0,
    numaNode: node >= 0 ? node : undefined,
    driver: linkName(`${folder}/driver`),
    iommuGroup: linkName(`${folder}/iommu_group`),
  };
}

/** All virtio-net functions of the machine, ordered by address. */
export function listVirtioNet(root = ''): PciDevice[] {
  return names(devices(root))
    .map((address) => readPciDevice(address, root))
    .filter((device) => device !== undefined)
    .filter(isVirtioNet);
}

/** The bus driver for a function, by the kernel driver that it is bound to; undefined when there is none. */
export function busOf(device: Pick<PciDevice, 'driver'>): 'vfio' | 'uio' | undefined {
  switch (device.driver) {
    case 'vfio-pci':
      return 'vfio';
    case 'uio_pci_generic':
    case 'igb_uio':
      return 'uio';
    default:
      return undefined;
  }
}

/** BAR 0 to 5; undefined where there is none. */
export function readResources(address: string, root = ''): (PciResource | undefined)[] {
  const lines = (text(`${devices(root)}/${address}/resource`) ?? '').split('\n');
  return Array.from({ length: PCI_STD_NUM_BARS }, (_, bar) => parseResource(lines[bar] ?? ''));
}

/** First and last address, and flags: three numbers in hex. */
function parseResource(line: string): PciResource | undefined {
  const match = /^(0x[0-9a-f]+) (0x[0-9a-f]+) (0x[0-9a-f]+)$/i.exec(line.trim());
  if (match === null) return undefined;
  const [first, last, flags] = match.slice(1).map(BigInt) as [bigint, bigint, bigint];
  if (last <= first || (flags & (IORESOURCE_IO | IORESOURCE_MEM)) === 0n) return undefined;
  return { kind: (flags & IORESOURCE_IO) !== 0n ? 'io' : 'memory', byteLength: Number(last - first + 1n) };
}

/** Path of a file of a function in sysfs. */
export const pciFile = (address: string, file: string) => `/sys/bus/pci/devices/${address}/${file}`;

/** The name of a function's uio device, as uio0; undefined when it has none. */
export function uioName(address: string, root = ''): string | undefined {
  return names(`${devices(root)}/${address}/uio`).find((name) => /^uio\d+$/.test(name));
}

/** Whether vfio has made the group for a device that no IOMMU is in front of. */
export function isNoIommuGroup(group: string, root = ''): boolean {
  return text(`${root}/sys/kernel/iommu_groups/${group}/name`) === 'vfio-noiommu';
}

/** The functions of an IOMMU group. */
export function groupMembers(group: string, root = ''): PciDevice[] {
  return names(`${root}/sys/kernel/iommu_groups/${group}/devices`)
    .map((address) => readPciDevice(address, root))
    .filter((device) => device !== undefined);
}
