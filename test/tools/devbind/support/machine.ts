/**
 * A machine for devbind: /sys and /proc in a temporary folder, and a kernel that answers to what is written there as Linux does, with
 * the same refusals.
 */
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { devbind } from '../../../../tools/devbind/devbind.js';
import { machineAt, type Machine } from '../../../../tools/devbind/machine.js';
import { temporaryDirectory, type Scope } from '../../../support/peers.js';

export interface FakeDevice {
  /** As in sysfs, `0x020000`; an Ethernet controller unless given. */
  readonly classCode?: string;
  /** `1af4:1041` unless given. */
  readonly id?: string;
  readonly driver?: string;
  /** Drivers with a table of devices that have this one in theirs; `driver` is one of them. */
  readonly knownTo?: readonly string[];
  readonly override?: string;
  readonly iommuGroup?: number;
  /** Interfaces that there are while `driver` has the device, in its folder or in that of its virtio device. */
  readonly interfaces?: readonly FakeInterface[];
  readonly virtio?: string;
}

export interface FakeInterface {
  readonly name: string;
  /** IFF_UP or not; undefined: the file is not there. */
  readonly flags?: string;
  readonly operstate?: string;
}

export interface FakeSetup {
  readonly devices: Readonly<Record<string, FakeDevice>>;
  readonly drivers?: readonly string[];
  /** Other files: path and text. */
  readonly files?: Readonly<Record<string, string>>;
}

export const RELEASE = '6.1.0-test';
export const NOIOMMU = '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode';
export const up = (name: string): FakeInterface => ({ name, flags: '0x1003', operstate: 'up' });
export const down = (name: string): FakeInterface => ({ name, flags: '0x1002', operstate: 'down' });

const generic = ['vfio-pci', 'uio_pci_generic', 'igb_uio'];

export class FakeMachine {
  readonly root: string;
  /** What was written, in order: `path: text` without the folders that all paths share. */
  readonly writes: string[] = [];
  /** Paths whose next writes fail with this errno, and those that the kernel ignores. */
  readonly failures = new Map<string, string>();
  readonly ignored = new Set<string>();
  /** Its files, without its kernel. */
  readonly files: Machine;

  constructor(
    scope: Scope,
    private readonly setup: FakeSetup,
  ) {
    this.root = temporaryDirectory(scope);
    this.files = machineAt(this.root);
    this.file('/proc/sys/kernel/osrelease', `${RELEASE}\n`);
    for (const driver of setup.drivers ?? ['virtio-pci', 'vfio-pci']) {
      for (const name of ['bind', 'unbind']) this.file(`/sys/bus/pci/drivers/${driver}/${name}`, '');
    }
    for (const [path, text] of Object.entries(setup.files ?? {})) this.file(path, text);
    for (const [address, device] of Object.entries(setup.devices)) this.makeDevice(address, device);
  }

  /** Runs devbind on this machine. */
  run(...argv: string[]): { code: number; out: string; err: string } {
    let out = '';
    let err = '';
    const machine: Machine = { ...this.files, write: (path, text) => this.write(path, text) };
    const code = devbind(argv, machine, { out: (text) => (out += text), err: (text) => (err += text) });
    return { code, out, err };
  }

  driverOf(address: string): string | undefined {
    const link = join(this.folder(address), 'driver');
    return existsSync(link) ? basename(readlinkSync(link)) : undefined;
  }

  overrideOf(address: string): string {
    return this.text(`/sys/bus/pci/devices/${address}/driver_override`);
  }

  text(path: string): string {
    return readFileSync(join(this.root, path), 'utf8').trim();
  }

  /** A link in the folder of a device. */
  link(address: string, name: string, target: string): void {
    symlinkSync(target, join(this.folder(address), name));
  }

  private file(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  private folder(address: string): string {
    return join(this.root, '/sys/devices/pci0000:00', address);
  }

  private makeDevice(address: string, device: FakeDevice): void {
    const [vendor, id] = (device.id ?? '1af4:1041').split(':');
    const classCode = device.classCode ?? '0x020000';
    const path = `/sys/devices/pci0000:00/${address}`;
    const modalias = `pci:v0000${vendor!.toUpperCase()}d0000${id!.toUpperCase()}sv00001AF4sd00001100bc02sc00i00`;
    this.file(`${path}/class`, `${classCode}\n`);
    this.file(`${path}/vendor`, `0x${vendor}\n`);
    this.file(`${path}/device`, `0x${id}\n`);
    this.file(`${path}/modalias`, `${modalias}\n`);
    this.file(`${path}/driver_override`, `${device.override ?? '(null)'}\n`);
    mkdirSync(join(this.root, '/sys/bus/pci/devices'), { recursive: true });
    symlinkSync(`../../../devices/pci0000:00/${address}`, join(this.root, '/sys/bus/pci/devices', address));
    if (device.iommuGroup !== undefined) {
      symlinkSync(`../../../kernel/iommu_groups/${device.iommuGroup}`, join(this.folder(address), 'iommu_group'));
    }
    if (device.driver !== undefined) this.attach(address, device.driver);
  }

  private attach(address: string, driver: string): void {
    const device = this.setup.devices[address]!;
    symlinkSync(`../../../bus/pci/drivers/${driver}`, join(this.folder(address), 'driver'));
    if (driver !== device.driver) return;
    for (const { name, flags, operstate } of device.interfaces ?? []) {
      const path = `/sys/devices/pci0000:00/${address}/${device.virtio ? `${device.virtio}/` : ''}net/${name}`;
      mkdirSync(join(this.root, path), { recursive: true });
      if (flags !== undefined) this.file(`${path}/flags`, `${flags}\n`);
      if (operstate !== undefined) this.file(`${path}/operstate`, `${operstate}\n`);
    }
  }

  /** The file is written, as on a real machine, then the kernel answers. */
  write(path: string, text: string): void {
    this.writes.push(`${path.replace('/sys/bus/pci/', '')}: ${text.trim()}`);
    const failure = this.failures.get(path);
    if (failure !== undefined) throw errno(failure);
    this.files.write(path, text);
    if (this.ignored.has(path)) return;
    const [, driver, door] = /^\/sys\/bus\/pci\/drivers\/([^/]+)\/(\w+)$/.exec(path) ?? [];
    if (door === 'bind') this.bind(text, driver!);
    else if (door === 'unbind') this.unbind(text, driver!);
    else if (path.endsWith('/driver_override')) this.file(path, text.trim() === '' ? '(null)\n' : `${text.trim()}\n`);
    else if (path === NOIOMMU) this.file(path, text === '1' ? 'Y\n' : 'N\n');
  }

  private bind(address: string, driver: string): void {
    const device = this.setup.devices[address];
    if (!device) throw errno('ENODEV');
    if (this.driverOf(address) !== undefined) throw errno('EBUSY');
    const override = this.overrideOf(address);
    const known = generic.includes(driver) ? false : (device.knownTo ?? [device.driver]).includes(driver);
    if (override === '(null)' ? !known : override !== driver) throw errno('ENODEV');
    const noiommu = existsSync(join(this.root, NOIOMMU)) && this.text(NOIOMMU) === 'Y';
    if (driver === 'vfio-pci' && device.iommuGroup === undefined && !noiommu) throw errno('EINVAL');
    this.attach(address, driver);
  }

  private unbind(address: string, driver: string): void {
    if (this.driverOf(address) !== driver) throw errno('ENODEV');
    rmSync(join(this.folder(address), 'driver'));
    const { virtio } = this.setup.devices[address]!;
    rmSync(join(this.folder(address), virtio ?? 'net'), { recursive: true, force: true });
  }
}

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: a failure of the test's`), { code });
}

export const NIC = '0000:00:03.0';

/** A virtio NIC of the kernel's, with an interface that is down, behind an IOMMU. */
export const nic = (changes: FakeDevice = {}): FakeDevice => ({
  driver: 'virtio-pci',
  knownTo: ['virtio-pci'],
  virtio: 'virtio0',
  interfaces: [down('eth0')],
  iommuGroup: 7,
  ...changes,
});

/** One without a driver, and one that is behind no IOMMU either. */
export const free: FakeDevice = { knownTo: ['virtio-pci'], iommuGroup: 7 };
export const bare: FakeDevice = { knownTo: ['virtio-pci'] };

/** A machine with one device, NIC, and whatever else the test is about. */
export function machineWith(scope: Scope, device: FakeDevice, files: Record<string, string> = {}): FakeMachine {
  const drivers = ['virtio-pci', 'vfio-pci', 'uio_pci_generic', 'e1000e'];
  return new FakeMachine(scope, { devices: { [NIC]: device }, drivers, files });
}
