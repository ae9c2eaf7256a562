/** The command line of devbind: that of dpdk-devbind.py. */
import arg from 'arg';
import { VirtioPmdError } from '../../native/errors.js';
import { groups } from './groups.js';

export interface DevbindOptions {
  /** Names of the groups to show, or none. */
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
  -h, --help

A DEVICE is a PCI address, domain:bus:slot.func or bus:slot.func, also with wildcards, or the name of a network interface.
With --unbind, dpdk is every device that a driver of DPDK's has.

  devbind --status-dev net
  devbind --bind=vfio-pci eth1
  devbind -b virtio-pci 02:00.0 02:00.1
`;

const spec = {
  '--status': Boolean,
  '-s': '--status' as const,
  '--status-dev': String,
  '--bind': String,
  '-b': '--bind' as const,
  '--unbind': Boolean,
  '-u': '--unbind' as const,
  '--noiommu-mode': Boolean,
  '--force': Boolean,
  '--help': Boolean,
  '-h': '--help' as const,
};

/** @returns options, or a text to print and be done. @throws VirtioPmdError EOPTION with one sentence. */
export function parseOptions(argv: readonly string[]): DevbindOptions | string {
  let given;
  try {
    given = arg(spec, { argv: argv.flatMap(detachDriver) });
  } catch (error) {
    throw new VirtioPmdError('EOPTION', `${error instanceof Error ? error.message : String(error)}; see --help`);
  }
  if (given['--help']) return usage;
  const group = given['--status-dev'];
  const names = groups.map(({ name }) => name);
  if (group !== undefined && !names.includes(group)) {
    throw new VirtioPmdError('EOPTION', `--status-dev ${group}: expected one of ${[...names].sort().join(', ')}`);
  }
  const driver = given['--bind'];
  const unbind = given['--unbind'] ?? false;
  if (driver !== undefined && unbind) {
    throw new VirtioPmdError('EOPTION', '--unbind and --bind exclude each other; see --help');
  }
  const status = given['--status'] ? names : group === undefined ? [] : [group];
  const action =
    unbind || driver?.toLowerCase() === 'none'
      ? { kind: 'unbind' as const }
      : driver
        ? { kind: 'bind' as const, driver }
        : undefined;
  if (action === undefined && status.length === 0) {
    throw new VirtioPmdError(
      'EOPTION',
      'No action specified for devices. Please give a --bind, --unbind or --status option',
    );
  }
  if (action !== undefined && given._.length === 0) throw new VirtioPmdError('EOPTION', 'No devices specified.');
  return {
    status,
    action,
    force: given['--force'] ?? false,
    noiommuMode: given['--noiommu-mode'] ?? false,
    devices: given._,
  };
}

/** `-bvfio-pci` and `-b=vfio-pci`, which arg takes for a row of one-letter options. */
function detachDriver(word: string): string[] {
  const attached = /^-b=?(.+)$/.exec(word);
  return attached ? ['-b', attached[1]!] : [word];
}
