/** Performs the writes that plan.ts decided, and checks their effect. */
import { VirtioPmdError } from '../../native/errors.js';
import { readDevice, type PciDevice } from './devices.js';
import type { Machine } from './machine.js';
import { bindWrites, restoreWrites, unbindWrite, type Write } from './plan.js';

/** @throws VirtioPmdError ESYSTEM; the device then has its old driver again, or the message says that it has not */
export function bindDevice(machine: Machine, device: PciDevice, driver: string): void {
  try {
    for (const write of bindWrites(device, driver)) perform(machine, write);
    const now = readDevice(machine, device.address).driver;
    if (now !== driver) throw new VirtioPmdError('ESYSTEM', `the kernel left it with ${now ?? 'no driver'}`);
  } catch (error) {
    const outcome = restore(machine, device);
    throw new VirtioPmdError(
      'ESYSTEM',
      `bind failed for ${device.address} - Cannot bind to driver ${driver}: ${(error as Error).message}; ${outcome}`,
      { cause: error },
    );
  }
}

/** @throws VirtioPmdError ESYSTEM */
export function unbindDevice(machine: Machine, device: PciDevice, driver: string): void {
  try {
    perform(machine, unbindWrite(device.address, driver));
    if (readDevice(machine, device.address).driver !== undefined) {
      throw new VirtioPmdError('ESYSTEM', `the kernel left it with ${driver}`);
    }
  } catch (error) {
    throw new VirtioPmdError('ESYSTEM', `unbind failed for ${device.address} - ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** @returns which driver the device has now, for the end of a sentence */
function restore(machine: Machine, before: PciDevice): string {
  let why = '';
  try {
    for (const write of restoreWrites(readDevice(machine, before.address), before)) perform(machine, write);
  } catch (error) {
    why = ` (${(error as Error).message})`;
  }
  const now = readDevice(machine, before.address).driver;
  const state = now === undefined ? 'has no driver' : `is with ${now}`;
  return now === before.driver && why === ''
    ? `the device ${state}, as before`
    : `the device ${state} now, it was with ${before.driver ?? 'no driver'} before${why}`;
}

/** @throws VirtioPmdError ESYSTEM */
export function perform(machine: Machine, { path, text }: Write): void {
  try {
    machine.write(path, text);
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code ?? String(error);
    const reason = explanations[errno];
    throw new VirtioPmdError('ESYSTEM', `cannot write to ${path}: ${reason ? `${reason} [${errno}]` : errno}`, {
      cause: error,
    });
  }
}

/** What these errors mean for writes to these files. */
const explanations: Record<string, string> = {
  EACCES: 'permission denied, run as root',
  EPERM: 'permission denied, run as root',
  EROFS: '/sys is mounted read-only here',
  ENOENT: 'no such file',
  ENODEV: 'the driver does not take this device',
  EBUSY: 'the device is in use',
  EINVAL: 'the driver refused it, dmesg says why',
};
