/**
 * Where a virtio device has its registers: the walk over the PCI capability list, and the checks of its entries (virtio 1.2
 * section 4.1.4). It only reads the configuration space, and trusts none of its bytes.
 */
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_ID_VNDR,
  PCI_CAP_LIST_NEXT,
  PCI_CAPABILITY_LIST,
  PCI_CFG_SPACE_SIZE,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_QSIZE,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
  PCI_STD_NUM_BARS,
} from '../../wire/linux/pci-regs.js';
import {
  VIRTIO_PCI_CAP_BAR,
  VIRTIO_PCI_CAP_CFG_TYPE,
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_LEN,
  VIRTIO_PCI_CAP_LENGTH,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_OFFSET,
  VIRTIO_PCI_CAP_SIZEOF,
  VIRTIO_PCI_COMMON_CFG_SIZEOF,
  VIRTIO_PCI_NOTIFY_CAP_MULT,
  VIRTIO_PCI_NOTIFY_CAP_SIZEOF,
} from '../../wire/linux/virtio-pci.js';
import { virtio_net_config } from '../../wire/linux/virtio-net.js';
import { hex } from '../../../native/hex.js';
import type { PciFunction } from './function.js';

/** A structure of registers: `length` bytes from `offset` of a BAR. */
export interface Structure {
  readonly bar: number;
  readonly offset: number;
  readonly length: number;
}

/** The structure of the notification registers (virtio 1.2 section 4.1.4.4). */
export interface NotifyStructure extends Structure {
  /** notify_off_multiplier: bytes between the registers of two successive values of queue_notify_off. */
  readonly multiplier: number;
}

/** The structures that the driver of a modern device needs. */
export interface ModernLayout {
  readonly common: Structure;
  readonly notify: NotifyStructure;
  readonly isr: Structure;
  readonly device: Structure;
}

/** What the list has. */
export interface Capabilities {
  /** Undefined when a structure is missing. */
  readonly modern: ModernLayout | undefined;
  /** Names of the structures that are missing. */
  readonly missing: readonly string[];
  /** Sentences about capabilities that were ignored. */
  readonly rejected: readonly string[];
  /** The MSI-X capability: where it is in the configuration space, and its table's size. */
  readonly msix: { readonly at: number; readonly vectors: number } | undefined;
}

/** The part of a function that the walk reads. */
export type ConfigSpace = Pick<PciFunction, 'readConfig' | 'bar'>;

interface StructureType {
  readonly key: keyof ModernLayout;
  readonly name: string;
  /** The least length in bytes; it may be longer. */
  readonly least: number;
  readonly align: number;
}

const TYPES: ReadonlyMap<number, StructureType> = new Map([
  [
    VIRTIO_PCI_CAP_COMMON_CFG,
    { key: 'common', name: 'common configuration', least: VIRTIO_PCI_COMMON_CFG_SIZEOF, align: 4 },
  ],
  [VIRTIO_PCI_CAP_NOTIFY_CFG, { key: 'notify', name: 'notification', least: 2, align: 2 }],
  [VIRTIO_PCI_CAP_ISR_CFG, { key: 'isr', name: 'ISR status', least: 1, align: 1 }],
  // of virtio_net_config only the MAC address exists in every device
  [
    VIRTIO_PCI_CAP_DEVICE_CFG,
    { key: 'device', name: 'device configuration', least: virtio_net_config.mac.width, align: 4 },
  ],
]);

/**
 * Finds the structures of a virtio device. Of several valid ones of a type it takes the first: a device lists them in its order
 * of preference (section 4.1.4.1; DPDK takes the last). Never throws: what is wrong is in `warnings`.
 */
export function readCapabilities(fn: ConfigSpace): Capabilities {
  const rejected: string[] = [];
  const found: { -readonly [key in keyof ModernLayout]?: NotifyStructure } = {};
  let msix: Capabilities['msix'];
  for (const at of listCapabilities(fn, rejected)) {
    const id = fn.readConfig(at, 1);
    if (id === PCI_CAP_ID_MSIX) {
      msix ??= { at, vectors: (fn.readConfig(at + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1 };
    }
    if (id !== PCI_CAP_ID_VNDR) continue;
    // other types exist (PCI configuration access, shared memory), and more may be added: not used here
    const type = TYPES.get(fn.readConfig(at + VIRTIO_PCI_CAP_CFG_TYPE, 1));
    if (type === undefined || found[type.key] !== undefined) continue;
    const structure = readStructure(fn, at, type);
    if (typeof structure !== 'string') found[type.key] = structure;
    else rejected.push(`${type.name} capability at ${hex(at)}: ${structure}`);
  }
  const missing = [...TYPES.values()].filter(({ key }) => found[key] === undefined).map(({ name }) => name);
  const { common, notify, isr, device } = found;
  const complete = common !== undefined && notify !== undefined && isr !== undefined && device !== undefined;
  return { modern: complete ? { common, notify, isr, device } : undefined, missing, rejected, msix };
}

/** Whether MSI-X is switched on now. */
export function msixEnabled(fn: Pick<ConfigSpace, 'readConfig'>, msix: Capabilities['msix']): boolean {
  return msix !== undefined && (fn.readConfig(msix.at + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE) !== 0;
}

/** Offsets of the capabilities, in the order of the list, which ends at the first invalid link. */
function listCapabilities(fn: ConfigSpace, rejected: string[]): Iterable<number> {
  const list = new Set<number>();
  if ((fn.readConfig(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST) === 0) return list;
  let at = fn.readConfig(PCI_CAPABILITY_LIST, 1);
  while (at !== 0) {
    if (at < PCI_STD_HEADER_SIZEOF || at % 4 !== 0) {
      rejected.push(`the capability list leads to ${hex(at)}, where none can be`);
      break;
    }
    if (list.has(at)) {
      rejected.push(`the capability list leads back to ${hex(at)}`);
      break;
    }
    list.add(at);
    at = fn.readConfig(at + PCI_CAP_LIST_NEXT, 1);
  }
  return list;
}

/**
 * The structure that the capability at `at` describes, or a sentence about what is wrong; DPDK's checks, in its words and
 * order.
 */
function readStructure(fn: ConfigSpace, at: number, type: StructureType): NotifyStructure | string {
  const size = type.key === 'notify' ? VIRTIO_PCI_NOTIFY_CAP_SIZEOF : VIRTIO_PCI_CAP_SIZEOF;
  const capLength = fn.readConfig(at + VIRTIO_PCI_CAP_LEN, 1);
  if (capLength < size) return `${capLength} bytes long, at least ${size} are needed`;
  if (at + size > PCI_CFG_SPACE_SIZE) return `it does not fit into the configuration space`;

  const bar = fn.readConfig(at + VIRTIO_PCI_CAP_BAR, 1);
  const offset = fn.readConfig(at + VIRTIO_PCI_CAP_OFFSET, 4);
  const length = fn.readConfig(at + VIRTIO_PCI_CAP_LENGTH, 4);
  if (bar >= PCI_STD_NUM_BARS) return `invalid bar: ${bar}`;
  if (offset + length > 0xffff_ffff) return `offset(${offset}) + length(${length}) overflows`;
  const mapped = fn.bar(bar);
  if (mapped === undefined) return `bar ${bar} base addr is NULL`;
  if (offset + length > mapped.byteLength) {
    return `invalid cap: overflows bar space: ${offset + length} > ${mapped.byteLength}`;
  }
  if (length < type.least) return `a structure of ${length} bytes, at least ${type.least} are needed`;
  if (offset % type.align !== 0) return `offset ${offset} is not a multiple of ${type.align}`;

  const multiplier = type.key === 'notify' ? fn.readConfig(at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4) : 0;
  if (multiplier % 2 !== 0) return `notify_off_multiplier ${multiplier} is odd, registers of 2 bytes are not`;
  return { bar, offset, length, multiplier };
}
