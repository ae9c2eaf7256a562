/** Offloads of ports at run time, and how the csum mode uses them. */
import { TX_OFFLOAD_TCP_TSO } from '../../../driver/port/types.js';
import type { Args, Row } from './grammar.js';
import { offloadBit, offloadWords, type Direction } from '../names/offloads.js';
import type { PortEntry, Session } from '../session.js';
import type { Testpmd } from '../testpmd.js';

const isOn = (args: Args) => args.text('state') === 'on';

/** Layers of `csum set` and `csum show`, with the Tx offload of each, by dpdk-testpmd's names. */
const layers: readonly (readonly [word: string, shown: string, offload: string])[] = [
  ['ip', 'IP', 'ipv4_cksum'],
  ['udp', 'UDP', 'udp_cksum'],
  ['tcp', 'TCP', 'tcp_cksum'],
  ['sctp', 'SCTP', 'sctp_cksum'],
  ['outer-ip', 'Outer-Ip', 'outer_ipv4_cksum'],
  ['outer-udp', 'Outer-Udp', 'outer_udp_cksum'],
];

/** The port of a command that changes the configuration for the next start; undefined when it must not be changed. */
export function stoppedPort(session: Session, args: Args): PortEntry | undefined {
  const [entry] = session.select(args.number('port'));
  if (!entry?.port.started) return entry;
  session.complain(`Please stop port ${entry.port.id} first`);
  return undefined;
}

function setOffload(entry: PortEntry, direction: Direction, bit: number, on: boolean): void {
  const key = direction === 'rx' ? 'rxOffloads' : 'txOffloads';
  entry[key] = on ? entry[key] | bit : entry[key] & ~bit;
  entry.reconfigure = true;
}

function configureOffload(session: Session, direction: Direction, args: Args): void {
  const [entry] = session.select(args.number('port'));
  if (!entry) return;
  if (entry.port.started) {
    session.complain(`Error: Can't config offload when Port ${entry.port.id} is not stopped`);
    return;
  }
  setOffload(entry, direction, offloadBit(direction, args.text('offload')), isOn(args));
}

function formatChecksums({ txOffloads, parseTunnel }: Pick<PortEntry, 'txOffloads' | 'parseTunnel'>): string {
  const where = (offload: string) => ((txOffloads & offloadBit('tx', offload)) !== 0 ? 'hw' : 'sw');
  const lines = layers.map(([, shown, offload]) => `${shown} checksum offload is ${where(offload)}`);
  return [`Parse tunnel is ${parseTunnel ? 'on' : 'off'}`, ...lines].join('\n');
}

function setChecksum(session: Session, args: Args): void {
  const entry = stoppedPort(session, args);
  if (entry === undefined) return;
  const [word, shown, offload] = layers.find(([layer]) => layer === args.text('layer'))!;
  const bit = offloadBit('tx', offload);
  const hardware = args.text('where') === 'hw';
  if (hardware && (entry.port.info().txOffloadCapa & bit) === 0) {
    // dpdk-testpmd spells this name differently here than in its other output
    const name = word.startsWith('outer') ? shown.replace('-', ' ').replace('Ip', 'IP').replace('Udp', 'UDP') : shown;
    session.complain(`${name} checksum offload is not supported by port ${entry.port.id}`);
  } else setOffload(entry, 'tx', bit, hardware);
  session.print(formatChecksums(entry));
}

function setParseTunnel(session: Session, args: Args): void {
  for (const entry of session.select(args.number('port'))) {
    entry.parseTunnel = isOn(args);
    if (entry.parseTunnel) session.complain('Tunnels are not parsed: checksums inside of them stay as they are');
    session.print(formatChecksums(entry));
  }
}

function showTso(session: Session, { tsoSegsz }: PortEntry): void {
  session.print(
    tsoSegsz === 0
      ? 'TSO for non-tunneled packets is disabled'
      : `TSO segment size for non-tunneled packets is ${tsoSegsz}`,
  );
}

function setTso(session: Session, args: Args): void {
  const entry = stoppedPort(session, args);
  if (entry === undefined) return;
  const size = args.number('size');
  if (size !== 0 && (entry.port.info().txOffloadCapa & TX_OFFLOAD_TCP_TSO) === 0) {
    session.complain(`Error: TSO is not supported by port ${entry.port.id}`);
    return;
  }
  entry.tsoSegsz = size;
  setOffload(entry, 'tx', TX_OFFLOAD_TCP_TSO, size !== 0);
  showTso(session, entry);
}

export const offloadConfigCommands: readonly Row<Testpmd>[] = [
  {
    syntax: `csum set layer:(${layers.map(([word]) => word).join('|')}) where:(hw|sw) <port:u16>`,
    help: 'Have a stopped port make checksums of packets that the csum mode sends (hw), or the mode itself (sw).',
    run: ({ session }, args) => setChecksum(session, args),
  },
  {
    syntax: 'csum show <port:u16>',
    help: 'Show which checksums the port makes, and which the csum mode. SCTP has none made; a UDP checksum of 0 stays.',
    run: ({ session }, args) => {
      for (const entry of session.select(args.number('port'))) session.print(formatChecksums(entry));
    },
  },
  {
    syntax: 'csum parse-tunnel state:(on|off) <port:u16>',
    help: 'Look into tunnels: accepted for scripts made for DPDK; the csum mode sees the outer headers alone.',
    run: ({ session }, args) => setParseTunnel(session, args),
  },
  {
    syntax: 'csum mac-swap state:(on|off) <port:u16>',
    help: 'Have the csum mode write the MAC addresses of port and peer, as it does at first, from its next start on.',
    run: ({ session }, args) => {
      for (const entry of session.select(args.number('port'))) entry.macSwap = isOn(args);
    },
  },
  {
    syntax: 'tso set <size:u16> <port:u16>',
    help: 'Have a stopped port cut long TCP packets of the csum mode into segments of so many bytes of payload; 0: not.',
    run: ({ session }, args) => setTso(session, args),
  },
  {
    syntax: 'tso show <port:u16>',
    help: 'Show how long packets are cut.',
    run: ({ session }, args) => {
      for (const entry of session.select(args.number('port'))) showTso(session, entry);
    },
  },
];

export const offloadPortCommands: readonly Row<Testpmd>[] = (['rx', 'tx'] as const).map((direction) => ({
  syntax: `port config <port:u16> ${direction}_offload offload:(${offloadWords(direction).join('|')}) state:(on|off)`,
  help: `Switch an ${direction === 'rx' ? 'Rx' : 'Tx'} offload of a stopped port on or off; show port N ${direction}_offload capabilities says which it has.`,
  run: ({ session }, args) => configureOffload(session, direction, args),
}));
