/** PCI functions that nobody has: a /sys and a /dev in a folder that goes with the test. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { temporaryDirectory, type Scope } from '../../../../support/peers.js';

export interface FakePci {
  /** 0000:00:03.0 */
  readonly address: string;
  readonly vendor?: number;
  /** Default: a modern virtio-net device. */
  readonly device?: number;
  readonly driver?: string;
  /** Its IOMMU group. */
  readonly group?: string;
  /** vfio-noiommu */
  readonly groupName?: string;
  readonly numaNode?: number;
  /** Lines of the file `resource`. */
  readonly resources?: readonly string[];
  /** uio0 */
  readonly uio?: string;
  /** Other files, by name. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

export const VIRTIO = 0x1af4;
export const MODERN_NET = 0x1041;

function put(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

function link(path: string, target: string): void {
  mkdirSync(target, { recursive: true });
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(target, path);
}

/** Adds a function to the tree at `root`. */
export function addPci(root: string, pci: FakePci): void {
  const folder = join(root, 'sys/bus/pci/devices', pci.address);
  const hex = (value: number) => `0x${value.toString(16).padStart(4, '0')}\n`;
  put(join(folder, 'vendor'), hex(pci.vendor ?? VIRTIO));
  put(join(folder, 'device'), hex(pci.device ?? MODERN_NET));
  put(join(folder, 'class'), '0x020000\n');
  put(join(folder, 'numa_node'), `${pci.numaNode ?? -1}\n`);
  if (pci.driver !== undefined) link(join(folder, 'driver'), join(root, 'sys/bus/pci/drivers', pci.driver));
  if (pci.group !== undefined) {
    const group = join(root, 'sys/kernel/iommu_groups', pci.group);
    link(join(folder, 'iommu_group'), group);
    link(join(group, 'devices', pci.address), folder);
    if (pci.groupName !== undefined) put(join(group, 'name'), `${pci.groupName}\n`);
  }
  if (pci.resources !== undefined) put(join(folder, 'resource'), `${pci.resources.join('\n')}\n`);
  if (pci.uio !== undefined) mkdirSync(join(folder, 'uio', pci.uio), { recursive: true });
  for (const [name, content] of Object.entries(pci.files ?? {})) put(join(folder, name), content);
}

/** A tree with these functions. @returns its root */
export function pciTree(scope: Scope, functions: readonly FakePci[]): string {
  const root = temporaryDirectory(scope);
  mkdirSync(join(root, 'sys/bus/pci/devices'), { recursive: true });
  mkdirSync(join(root, 'dev'), { recursive: true });
  for (const pci of functions) addPci(root, pci);
  return root;
}

/** A configuration space: ids, the base address registers given, and an MSI-X capability where one is wanted. */
export function configSpace(
  bars: readonly number[] = [],
  msix?: { bar: number; offset: number; vectors: number; enabled?: boolean },
): Uint8Array {
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, VIRTIO, true);
  view.setUint16(2, MODERN_NET, true);
  bars.forEach((value, index) => view.setUint32(0x10 + 4 * index, value, true));
  if (msix !== undefined) {
    view.setUint16(6, 0x10, true); // there is a list of capabilities
    bytes[0x34] = 0x40;
    bytes.set([0x09, 0x98, 16, 0], 0x40); // a vendor's, before it
    bytes.set([0x11, 0], 0x98);
    view.setUint16(0x9a, (msix.vectors - 1) | (msix.enabled ? 0x8000 : 0), true);
    view.setUint32(0x9c, msix.offset | msix.bar, true);
  }
  return bytes;
}
