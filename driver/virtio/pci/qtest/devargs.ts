/**
 * The arguments of a device on the qtest bus: `qtest:SOCKET,ram=FILE[,addr=SS.F]` and those of every PCI device. When there is no
 * QEMU at SOCKET, one is started with `[,qemu=OPTIONS][,netdev=OPTIONS][,nics=N][,machine=NAME]`. No I/O.
 */
import { VirtioPmdError } from '../../../../native/errors.js';
import { pciArgs, pciSchema, type PciDevargs } from '../../../devargs/devargs.js';
import { integerKey, parseDevargs, splitDevargs, textKey, type DevargKey } from '../../../devargs/kvargs.js';
import type { QemuDevice } from './qemu.js';

/** The arguments of a function on the qtest bus. */
export interface QtestDevargs extends PciDevargs {
  /** Path of QEMU's -qtest socket. */
  readonly socket: string;
  /** Path of the file that is the machine's RAM. */
  readonly ram: string;
  /** Device and function number on bus 0, as in `04.0`; undefined: the first network function that no port uses. */
  readonly address: string | undefined;
  /** The options of a QEMU that is started. */
  readonly qemu: { readonly machine: 'q35' | 'pc'; readonly nics: readonly QemuDevice[] };
  /** True when one of the keys for starting a QEMU was given. */
  readonly startsQemu: boolean;
}

const PREFIX = 'qtest:';
/** The network functions of a QEMU that we start are connected by a hub, unless `netdev=` names something else. */
const DEFAULT_NETDEV = 'hubport,hubid=0';

const addressKey: DevargKey<string | undefined> = {
  accepts: 'a device and function number on bus 0, such as 04.0',
  parse: (text) => {
    const [, device, fn = '0'] = /^([01]?[0-9a-f])(?:\.([0-7]))?$/i.exec(text) ?? [];
    return device === undefined ? undefined : `${device.toLowerCase().padStart(2, '0')}.${fn}`;
  },
  fallback: undefined,
};

/** A list for QEMU, with `;` in place of `,`, as a comma would end the devarg. */
function qemuKey(what: string): DevargKey<string | undefined> {
  const text = textKey(`${what}, with ; between them`);
  return { ...text, parse: (value) => text.parse(value)?.replaceAll(';', ',') };
}

const machineKey: DevargKey<'q35' | 'pc' | undefined> = {
  accepts: 'q35 or pc',
  parse: (text) => (text === 'q35' || text === 'pc' ? text : undefined),
  fallback: undefined,
};

const schema = {
  ...pciSchema,
  ram: { ...textKey("the file that is QEMU's RAM, such as /dev/shm/q.mem"), mandatory: true },
  addr: addressKey,
  qemu: qemuKey('options of virtio-net-pci such as packed=on'),
  netdev: qemuKey('a -netdev without its id'),
  nics: integerKey(0, 8, 0),
  machine: machineKey,
};

/** Whether a device string is for the qtest bus. */
export function isQtest(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** Reads the arguments. @throws VirtioPmdError EDEVARGS */
export function parseQtest(text: string): QtestDevargs {
  const { name, args } = splitDevargs(text);
  const socket = name.slice(PREFIX.length);
  if (!isQtest(name) || socket === '') {
    throw new VirtioPmdError(
      'EDEVARGS',
      `"${name}" names no device on the qtest bus: expected qtest:SOCKET,ram=FILE with the socket of QEMU's -qtest option`,
    );
  }
  const values = parseDevargs(args, schema, name);
  const { addr, qemu, netdev, nics, machine } = values;
  const nic = { device: qemu ?? '', netdev: netdev ?? DEFAULT_NETDEV };
  return {
    // a second function of the same machine needs a name of its own
    ...pciArgs(addr === undefined ? name : `${name}:${addr}`, values),
    socket,
    ram: values.ram!,
    address: addr,
    qemu: { machine: machine ?? 'q35', nics: Array.from({ length: nics || 1 }, () => nic) },
    startsQemu: qemu !== undefined || netdev !== undefined || nics > 0 || machine !== undefined,
  };
}
