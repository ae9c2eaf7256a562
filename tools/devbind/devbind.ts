/** The main function of devbind, for any machine: options, then the devices one after the other, then the status. */
import { isVirtioPmdError, VirtioPmdError } from '../../native/errors.js';
import { errorLine, exitCodeOf } from '../common/program.js';
import { resolveDevice } from './address.js';
import { DRIVERS, dpdkDrivers, readDevices, type PciDevice } from './devices.js';
import { belongs, groups } from './groups.js';
import type { Machine } from './machine.js';
import { missingDriver } from './modules.js';
import { pciIdsPaths } from './names.js';
import { parseOptions, type DevbindOptions } from './options.js';
import { bindDevice, perform, unbindDevice } from './perform.js';
import { noiommu, NOIOMMU_PARAMETER, refusal } from './plan.js';
import { routedInterfaces } from './routes.js';
import { statusText } from './status.js';

export interface Printer {
  out(text: string): void;
  err(text: string): void;
}

/** @returns the exit code: 1 when anything was refused or failed, 2 for an invalid command line */
export function devbind(argv: readonly string[], machine: Machine, print: Printer): number {
  try {
    const options = parseOptions(argv);
    if (typeof options === 'string') {
      print.out(options);
      return 0;
    }
    const failures = options.action ? act(options, options.action, machine, print) : 0;
    if (options.status.length > 0) print.out(status(options.status, machine));
    return failures > 0 ? 1 : 0;
  } catch (error) {
    printError(error, print);
    return exitCodeOf(error);
  }
}

/** Finds all devices before it changes the first. A device that fails does not stop the others. @returns how many failed */
function act(
  options: DevbindOptions,
  action: NonNullable<DevbindOptions['action']>,
  machine: Machine,
  print: Printer,
): number {
  const all = readDevices(machine);
  const usable = all.filter((device) => groups.some((group) => belongs(group, device)));
  if (action.kind === 'bind') checkDriver(action.driver, usable, all, machine);
  const find = (word: string) =>
    word === 'dpdk' && action.kind === 'unbind'
      ? usable.filter(({ driver }) => driver !== undefined && dpdkDrivers.includes(driver))
      : resolveDevice(word, usable, all);
  const chosen = new Set(options.devices.flatMap(find));
  if (chosen.size === 0) print.err("Notice: no device is with one of DPDK's drivers\n");
  const routed = readRoutes(machine);
  let failures = 0;
  for (const device of chosen) {
    try {
      if (action.kind === 'bind') bind(device, action.driver, options, routed, machine, print);
      else unbind(device, options, routed, machine, print);
    } catch (error) {
      printError(error, print);
      failures++;
    }
  }
  return failures;
}

function bind(
  device: PciDevice,
  driver: string,
  options: DevbindOptions,
  routed: ReadonlySet<string>,
  machine: Machine,
  print: Printer,
): void {
  if (device.driver === driver) {
    print.err(`Notice: ${device.address} already bound to driver ${driver}, skipping\n`);
    return;
  }
  checkInUse(device, options, routed);
  const mode = noiommu(device, driver, machine.read(NOIOMMU_PARAMETER), options.noiommuMode);
  if ('reason' in mode) throw new VirtioPmdError('ECONFIG', mode.reason);
  if (mode.enable) {
    perform(machine, { path: NOIOMMU_PARAMETER, text: '1' });
    print.err('Warning: enabling unsafe no IOMMU mode for VFIO drivers\n');
  }
  bindDevice(machine, device, driver);
}

function unbind(
  device: PciDevice,
  options: DevbindOptions,
  routed: ReadonlySet<string>,
  machine: Machine,
  print: Printer,
): void {
  if (device.driver === undefined) {
    print.err(`Notice: ${device.address} is not currently managed by any driver\n`);
    return;
  }
  checkInUse(device, options, routed);
  unbindDevice(machine, device, device.driver);
}

function checkInUse(device: PciDevice, { force }: DevbindOptions, routed: ReadonlySet<string>): void {
  const sentence = force ? undefined : refusal(device, routed);
  if (sentence !== undefined) throw new VirtioPmdError('ECONFIG', sentence);
}

/** @throws VirtioPmdError ECONFIG when the driver does not exist */
function checkDriver(driver: string, usable: readonly PciDevice[], all: readonly PciDevice[], machine: Machine): void {
  const drivers = machine.list(DRIVERS);
  if (drivers.includes(driver)) return;
  if (isDevice(driver, usable, all)) {
    throw new VirtioPmdError(
      'ECONFIG',
      `Driver '${driver}' does not look like a valid driver. Did you forget to specify the driver to bind devices to?`,
    );
  }
  const release = kernelRelease(machine);
  const modulesDep = machine.read(`/lib/modules/${release}/modules.dep`) ?? '';
  const facts = { drivers, loaded: machine.list('/sys/module'), release, modulesDep };
  throw new VirtioPmdError('ECONFIG', missingDriver(driver, facts));
}

function isDevice(word: string, usable: readonly PciDevice[], all: readonly PciDevice[]): boolean {
  try {
    return resolveDevice(word, usable, all).length > 0;
  } catch {
    return false;
  }
}

function status(names: readonly string[], machine: Machine): string {
  const pciIds = pciIdsPaths.map((path) => machine.read(path)).find((text) => text !== undefined);
  const facts = {
    pciIds: pciIds ?? '',
    modulesAlias: machine.read(`/lib/modules/${kernelRelease(machine)}/modules.alias`) ?? '',
    drivers: machine.list(DRIVERS),
    routed: readRoutes(machine),
  };
  const shown = groups.filter(({ name }) => names.includes(name));
  return statusText(shown, readDevices(machine), facts);
}

function readRoutes(machine: Machine): Set<string> {
  return routedInterfaces(machine.read('/proc/net/route') ?? '', machine.read('/proc/net/ipv6_route') ?? '');
}

function kernelRelease(machine: Machine): string {
  return (machine.read('/proc/sys/kernel/osrelease') ?? '').trim();
}

function printError(error: unknown, print: Printer): void {
  if (!isVirtioPmdError(error)) throw error;
  print.err(`${errorLine(error)}\n`);
}
