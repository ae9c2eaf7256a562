/** Kernel modules: which ones claim a device, and the message for a missing driver. Pure: texts in, texts out. */
import { globPattern } from './address.js';

/** Modules that claim a device by its modalias, from the text of modules.alias. */
export function modulesFor(modalias: string, modulesAlias: string): string[] {
  const vendor = modalias.slice(0, 'pci:v00000000'.length);
  const found = new Set<string>();
  for (const line of modulesAlias.split('\n')) {
    const [word, pattern, module] = line.split(' ');
    if (word !== 'alias' || module === undefined) continue;
    // most lines are of other vendors: skip them before making a pattern
    if (!pattern!.startsWith(vendor) && !pattern!.startsWith('pci:v*')) continue;
    if (globPattern(pattern!).test(modalias)) found.add(module);
  }
  return [...found];
}

export interface DriverFacts {
  /** PCI drivers that are registered. */
  readonly drivers: readonly string[];
  /** Names in /sys/module. */
  readonly loaded: readonly string[];
  readonly release: string;
  /** The text of modules.dep of that release, '' when there is none. */
  readonly modulesDep: string;
}

/** Module names and driver names differ in dashes and underscores; the kernel accepts both. */
const withUnderscores = (name: string) => name.replaceAll('-', '_');

/** One sentence: why no device can be bound to `driver`, and what to do. */
export function missingDriver(driver: string, { drivers, loaded, release, modulesDep }: DriverFacts): string {
  const same = drivers.find((name) => withUnderscores(name) === withUnderscores(driver));
  if (same !== undefined) return `Driver '${driver}' is not loaded; did you mean ${same}?`;
  if (loaded.some((name) => withUnderscores(name) === withUnderscores(driver))) {
    return `Driver '${driver}' is not a PCI driver, though a module of that name is loaded; /sys/bus/pci/drivers has those that are`;
  }
  const files = modulesDep.matchAll(/^(?:[^:\n]*\/)?([^/:\n]+)\.ko(?:\.\w+)?:/gm);
  for (const [, name] of files) {
    if (withUnderscores(name!) === withUnderscores(driver))
      return `Driver '${driver}' is not loaded; load it with: modprobe ${name}`;
  }
  const absent = `Driver '${driver}' is not loaded, and kernel ${release} has no module of that name`;
  return driver === 'igb_uio'
    ? `${absent}: build it from dpdk-kmods, then modprobe uio and insmod igb_uio.ko`
    : `${absent} in /lib/modules/${release}; install the package with all modules of this kernel`;
}
