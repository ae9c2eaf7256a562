/** The device groups of dpdk-devbind.py, in its order, and which PCI devices belong to each. */

interface Match {
  /** The base class: first two digits of the class. */
  readonly base: string;
  readonly vendor?: string;
  readonly devices?: readonly string[];
}

export interface Group {
  /** The name in --status-dev. */
  readonly name: string;
  /** The heading in --status. */
  readonly title: string;
  readonly matches: readonly Match[];
}

const intel = '8086';
const cavium = '177d';
const hisilicon = '19e5';
const redHat = '1af4';
const list = (ids: string) => ids.split(' ');

export const groups: readonly Group[] = [
  {
    name: 'net',
    title: 'Network',
    matches: [
      { base: '02' },
      { base: '08', vendor: cavium, devices: list('a0dd a049') },
      { base: '05', vendor: redHat, devices: ['1110'] },
      { base: '12', vendor: intel, devices: ['0b30'] },
    ],
  },
  { name: 'baseband', title: 'Baseband', matches: [{ base: '12' }] },
  { name: 'crypto', title: 'Crypto', matches: [{ base: '10' }, { base: '0b', vendor: intel }] },
  {
    name: 'dma',
    title: 'DMA',
    matches: [
      { base: '08', vendor: cavium, devices: list('a081') },
      { base: '08', vendor: hisilicon, devices: ['a122'] },
      {
        base: '08',
        vendor: intel,
        devices: list('0b00 0b25 2021 6f20 6f21 6f22 6f23 6f24 6f25 6f26 6f27 6f2e 6f2f'),
      },
    ],
  },
  {
    name: 'event',
    title: 'Eventdev',
    matches: [
      { base: '08', vendor: cavium, devices: list('a04b a04d a051 a0f9 a0fa') },
      { base: '0b', vendor: intel, devices: list('270b 2710 2714') },
    ],
  },
  { name: 'mempool', title: 'Mempool', matches: [{ base: '08', vendor: cavium, devices: list('a053 a0fb a0fc') }] },
  { name: 'compress', title: 'Compress', matches: [{ base: '12', vendor: cavium, devices: ['a037'] }] },
  {
    name: 'misc',
    title: 'Misc (rawdev)',
    matches: [
      { base: '08', vendor: cavium, devices: list('a059 a060 a089 a0f0 a0f1') },
      { base: '06', vendor: intel, devices: list('201c 347e') },
      { base: '01', vendor: redHat, devices: list('1001 1042') },
    ],
  },
  { name: 'regex', title: 'Regex', matches: [{ base: '08', vendor: cavium, devices: ['a0f4'] }] },
];

/** The properties of a device that determine its groups, in hexadecimal digits. */
export interface Identity {
  readonly classCode: string;
  readonly vendor: string;
  readonly device: string;
}

export function belongs(group: Group, { classCode, vendor, device }: Identity): boolean {
  return group.matches.some(
    (match) =>
      classCode.startsWith(match.base) &&
      (match.vendor === undefined || match.vendor === vendor) &&
      (match.devices === undefined || match.devices.includes(device)),
  );
}
