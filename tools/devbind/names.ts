/** Names of devices from the text of pci.ids: a line for each vendor and, indented by a tab below it, one for each of its devices. */

/** Where distributions keep it. */
export const pciIdsPaths: readonly string[] = ['/usr/share/misc/pci.ids', '/usr/share/hwdata/pci.ids'];

/** The name of a device, or `Device`, which is what lspci says of one that it does not know. */
export function deviceName(pciIds: string, vendor: string, device: string): string {
  const start = `\n${pciIds}`.indexOf(`\n${vendor}  `);
  if (start < 0) return 'Device';
  const fromVendor = pciIds.slice(start);
  const end = fromVendor.search(/\n[^\t#]/);
  const lines = (end < 0 ? fromVendor : fromVendor.slice(0, end)).split('\n');
  const line = lines.find((candidate) => candidate.startsWith(`\t${device}  `));
  return line === undefined ? 'Device' : line.slice(`\t${device}  `.length).trim();
}
