/** What the bus drivers need of a function's configuration space (PCI Local Bus specification). */
import * as P from '../../wire/linux/pci-regs.js';
import type { PciFunction } from './function.js';

type Config = Pick<PciFunction, 'readConfig' | 'writeConfig'>;

/** Sets and clears bits of the command register (PCI_COMMAND_*). */
export function changeCommand(config: Config, set: number, clear = 0): void {
  const command = config.readConfig(P.PCI_COMMAND, 2);
  config.writeConfig(P.PCI_COMMAND, 2, (command | set) & ~clear & 0xffff);
}

/** Whether a BAR has I/O ports. @param bar 0 to 5. */
export function isIoBar(config: Config, bar: number): boolean {
  return (config.readConfig(P.PCI_BASE_ADDRESS_0 + 4 * bar, 4) & P.PCI_BASE_ADDRESS_SPACE_IO) !== 0;
}

/** Where the table of MSI-X vectors is, which the kernel manages. */
export interface MsixTable {
  readonly bar: number;
  readonly first: number;
  readonly end: number;
}

/** The most capabilities that there is room for: they come after the header, at multiples of 4. */
const MOST_CAPABILITIES = (P.PCI_CFG_SPACE_SIZE - P.PCI_STD_HEADER_SIZEOF) / 4;

/** Where the MSI-X capability is; undefined when there is none. */
function findMsix(config: Config): number | undefined {
  if ((config.readConfig(P.PCI_STATUS, 2) & P.PCI_STATUS_CAP_LIST) === 0) return undefined;
  let at = config.readConfig(P.PCI_CAPABILITY_LIST, 1) & ~3;
  for (let i = 0; i < MOST_CAPABILITIES && at >= P.PCI_STD_HEADER_SIZEOF; i++) {
    if (config.readConfig(at, 1) === P.PCI_CAP_ID_MSIX) return at;
    at = config.readConfig(at + P.PCI_CAP_LIST_NEXT, 1) & ~3;
  }
  return undefined;
}

/** The table of a function; undefined when it has no MSI-X. */
export function findMsixTable(config: Config): MsixTable | undefined {
  const at = findMsix(config);
  if (at === undefined) return undefined;
  const vectors = (config.readConfig(at + P.PCI_MSIX_FLAGS, 2) & P.PCI_MSIX_FLAGS_QSIZE) + 1;
  const table = config.readConfig(at + P.PCI_MSIX_TABLE, 4);
  const first = (table & P.PCI_MSIX_TABLE_OFFSET) >>> 0;
  return { bar: table & P.PCI_MSIX_TABLE_BIR, first, end: first + vectors * P.PCI_MSIX_ENTRY_SIZE };
}

/** Whether the kernel has enabled MSI-X. */
export function msixIsEnabled(config: Config): boolean {
  const at = findMsix(config);
  return at !== undefined && (config.readConfig(at + P.PCI_MSIX_FLAGS, 2) & P.PCI_MSIX_FLAGS_ENABLE) !== 0;
}
