/** Names of devices from the text of pci.ids: a line for each vendor, followed by lines with a tab for its devices. */

/** Paths of pci.ids in distributions. */
export const pciIdsPaths: readonly string[] = ['/usr/share/misc/pci.ids', '/usr/share/hwdata/pci.ids'];

/** The name of a device, or `Device`, as in lspci, for an unknown one. */
export function deviceName(pciIds: string, vendor: string, device: string): string {
  const start = `\n${pciIds}`.indexOf(`\n${vendor}  `);
  if (start < 0) return 'Device';
  const fromVendor = pciIds.slice(start);
  const end = fromVendor.search(/\n[^\t#]/);
  const lines = (end < 0 ? fromVendor : fromVendor.slice(0, end)).split('\n');
  const line = lines.find((candidate) => candidate.startsWith(`\t${device}  `));
  return line === undefined ? 'Device' : line.slice(`\t${device}  `.length).trim();
}
