/** The command line of devbind: that of dpdk-devbind.py. */
import { VirtioPmdError } from '../../native/errors.js';
import { has, last, parseWords, table } from '../common/parse.js';
import { versionText } from '../common/version.js';
import { groups } from './groups.js';

export interface DevbindOptions {
  /** Names of the groups to show; empty without --status. */
  readonly status: readonly string[];
  readonly action: { readonly kind: 'bind'; readonly driver: string } | { readonly kind: 'unbind' } | undefined;
  readonly force: boolean;
  readonly noiommuMode: boolean;
  readonly devices: readonly string[];
}

export const usage = `devbind: which driver has a NIC, and giving it to another; the options and the output of dpdk-devbind.py

  devbind [options] [DEVICE ...]

  -s, --status          show all known devices with their drivers; after a bind or unbind, as they are then
  --status-dev GROUP    show one group of devices: ${groups
    .map(({ name }) => name)
    .sort()
    .join(', ')}
  -b, --bind DRIVER     give the devices to a driver; none takes them from theirs
  -u, --unbind          take the devices from their drivers (the same as -b none)
  --noiommu-mode        where there is no IOMMU, let VFIO do without: the device can then write anywhere in memory
  --force               also devices whose interface is up or has routes. WARNING: connections through it are lost
  -h, --help; -v, --version

A DEVICE is a PCI address, domain:bus:slot.func or bus:slot.func, also with wildcards, or the name of a network interface.
With --unbind, dpdk is every device that a driver of DPDK's has.

  devbind --status-dev net
  devbind --bind=vfio-pci eth1
  devbind -b virtio-pci 02:00.0 02:00.1
`;

const devbindTable = table(
  ['status', 'unbind', 'noiommu-mode', 'force', 'help', 'version'],
  ['status-dev', 'bind'],
  [],
  {
    s: 'status',
    b: 'bind',
    u: 'unbind',
    h: 'help',
    v: 'version',
  },
);

const fail = (sentence: string) => new VirtioPmdError('EOPTION', sentence);

/** @returns options, or a text that is all there is to print. @throws VirtioPmdError EOPTION with one sentence. */
export function parseOptions(argv: readonly string[]): DevbindOptions | string {
  const { values, others } = parseWords('', devbindTable, argv);
  if (has(values, 'help')) return usage;
  if (has(values, 'version')) return versionText('devbind');
  const group = last(values, 'status-dev');
  const names = groups.map(({ name }) => name);
  if (group !== undefined && !names.includes(group)) {
    throw fail(`--status-dev ${group}: expected one of ${[...names].sort().join(', ')}`);
  }
  // argparse accepts -b=DRIVER, too
  const driver = last(values, 'bind')?.replace(/^=/, '');
  // an address instead of a driver gets DPDK's message: see devbind.ts
  if (driver && !/^[\w-]*\w$|^[0-9a-f:]+:[0-9a-f]+\.[0-7]$/i.test(driver)) {
    throw fail(`--bind ${driver}: the name of a driver is expected, such as vfio-pci, or none`);
  }
  const unbind = has(values, 'unbind');
  if (driver !== undefined && unbind) {
    throw fail('--unbind and --bind exclude each other: give one of them');
  }
  const status = has(values, 'status') ? names : group === undefined ? [] : [group];
  const action =
    unbind || driver?.toLowerCase() === 'none'
      ? { kind: 'unbind' as const }
      : driver
        ? { kind: 'bind' as const, driver }
        : undefined;
  if (action === undefined && status.length === 0) {
    throw fail('No action specified for devices. Please give a --bind, --unbind or --status option');
  }
  if (action !== undefined && others.length === 0) throw fail('No devices specified.');
  return {
    status,
    action,
    force: has(values, 'force'),
    noiommuMode: has(values, 'noiommu-mode'),
    devices: others,
  };
}
