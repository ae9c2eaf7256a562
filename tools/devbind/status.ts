/** The text of --status, exactly in the layout of dpdk-devbind.py, because scripts parse it. */
import { dpdkDrivers, type PciDevice } from './devices.js';
import { belongs, type Group } from './groups.js';
import { modulesFor } from './modules.js';
import { deviceName } from './names.js';

/** Input for the status besides the devices. */
export interface StatusFacts {
  readonly pciIds: string;
  readonly modulesAlias: string;
  /** PCI drivers that are registered. */
  readonly drivers: readonly string[];
  readonly routed: ReadonlySet<string>;
}

export function statusText(groups: readonly Group[], devices: readonly PciDevice[], facts: StatusFacts): string {
  return groups
    .map((group) => {
      const members = devices.filter((device) => belongs(group, device));
      return groupText(group, members, facts);
    })
    .join('');
}

function groupText(group: Group, members: readonly PciDevice[], facts: StatusFacts): string {
  if (members.length === 0) return heading(`No '${group.title}' devices detected`);
  const forDpdk = members.filter(({ driver }) => driver !== undefined && dpdkDrivers.includes(driver));
  const forKernel = members.filter(({ driver }) => driver !== undefined && !dpdkDrivers.includes(driver));
  const others = members.filter(({ driver }) => driver === undefined);
  const unused = (device: PciDevice) => `unused=${unusedModules(device, facts).join(',')}`;
  return (
    section(`${group.title} devices using DPDK-compatible driver`, forDpdk, facts, (device) => [
      `drv=${device.driver}`,
      unused(device),
    ]) +
    section(`${group.title} devices using kernel driver`, forKernel, facts, (device) => {
      const names = device.interfaces.map(({ name }) => name);
      return [
        ...(group.name === 'net' ? [`if=${names.join(',')}`] : []),
        `drv=${device.driver}`,
        unused(device),
        group.name === 'net' && names.some((name) => facts.routed.has(name)) ? '*Active*' : '',
      ];
    }) +
    section(`Other ${group.title} devices`, others, facts, (device) => [unused(device)])
  );
}

function section(
  title: string,
  devices: readonly PciDevice[],
  { pciIds }: StatusFacts,
  fields: (device: PciDevice) => string[],
): string {
  if (devices.length === 0) return '';
  const lines = devices.map((device) => {
    const name = `'${deviceName(pciIds, device.vendor, device.device)} ${device.device}'`;
    return `${[device.address, name, ...fields(device)].join(' ')}\n`;
  });
  return heading(title) + lines.sort().join('');
}

function heading(title: string): string {
  return `\n${title}\n${'='.repeat(title.length)}\n`;
}

/** Modules that claim the device, then DPDK's drivers that are loaded, without the device's current driver. */
function unusedModules(device: PciDevice, { modulesAlias, drivers }: StatusFacts): string[] {
  const modules = modulesFor(device.modalias, modulesAlias);
  const loaded = dpdkDrivers.filter((driver) => drivers.includes(driver));
  return [...new Set([...modules, ...loaded])].filter((name) => name !== device.driver);
}
