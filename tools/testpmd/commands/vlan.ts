/** VLANs: filtering, stripping and inserting. */
import { RX_OFFLOAD_VLAN_STRIP, TX_OFFLOAD_VLAN_INSERT } from '../../../driver/port/types.js';
import { failureOf } from './filters.js';
import { stoppedPort } from './offloads.js';
import type { Args, Row } from './grammar.js';
import type { PortEntry, Session } from '../session.js';
import type { Testpmd } from '../testpmd.js';
import { parseNumberList, U16_MAX } from '../../common/values.js';

const MAX_VLAN_ID = 4095;

const bit = (on: boolean) => (on ? 1 : 0);
const isOn = (args: Args) => args.text('state') === 'on';

function isVlanId(session: Session, id: number): boolean {
  if (id <= MAX_VLAN_ID) return true;
  session.complain(`Invalid vlan_id ${id} (must be < ${MAX_VLAN_ID + 1})`);
  return false;
}

// ---- receiving ---------------------------------------------------------------------------------------------------------

/** @returns whether it succeeded */
function changeVlan(session: Session, entry: PortEntry, id: number, on: boolean): boolean {
  if (!isVlanId(session, id)) return false;
  const why = failureOf(() => entry.port.filters.setVlanFilter(id, on));
  if (why === undefined) return true;
  session.complain(`rte_eth_dev_vlan_filter(port_pi=${entry.port.id}, vlan_id=${id}, on=${bit(on)}) failed: ${why}`);
  return false;
}

/** All of them one by one, as in DPDK; the first refusal ends it. */
function changeAllVlans(session: Session, entry: PortEntry, on: boolean): void {
  for (let id = 0; id <= MAX_VLAN_ID && changeVlan(session, entry, id, on); id++);
}

function setFiltering(session: Session, { port }: PortEntry, on: boolean): void {
  if (!on && port.lacks('filters') !== undefined) return;
  const why = failureOf(() => port.filters.setVlanFiltering(on));
  if (why !== undefined) session.complain(`rx_vlan_filter_set(port_pi=${port.id}, on=${bit(on)}) failed: ${why}`);
}

/** Stripping is part of the Rx paths: the port is configured again. */
function setStrip({ session, forwarding }: Testpmd, entry: PortEntry, on: boolean): void {
  const { port } = entry;
  const { config, started } = port;
  if (on && (port.info().rxOffloadCapa & RX_OFFLOAD_VLAN_STRIP) === 0) {
    session.complain(
      `rx_vlan_strip_set(port_pi=${port.id}, on=1) failed: the port does not offer the offload vlan_strip`,
    );
    return;
  }
  const strip = (offloads: number) => (on ? offloads | RX_OFFLOAD_VLAN_STRIP : offloads & ~RX_OFFLOAD_VLAN_STRIP);
  if (config !== undefined && strip(config.rxOffloads) !== config.rxOffloads) {
    if (forwarding.isForwarding(port.id)) {
      session.complain(`rx_vlan_strip_set(port_pi=${port.id}, on=${bit(on)}) failed: Please stop forwarding first`);
      return;
    }
    const done = session.attempt(() => {
      port.stop();
      port.configure({ ...config, rxOffloads: strip(config.rxOffloads) });
      if (started) port.start();
    });
    if (!done) return;
  }
  entry.rxOffloads = strip(entry.rxOffloads); // for later configurations
}

/** A setting that no port supports: off is always accepted, on is refused. */
function setUnknown(session: Session, { port }: PortEntry, what: string, on: boolean): void {
  if (!on) return;
  session.complain(`rx_vlan_${what}_set(port_pi=${port.id}, on=1) failed: ports here have no such offload`);
}

function setVlan(testpmd: Testpmd, args: Args): void {
  const on = isOn(args);
  const what = args.text('what');
  for (const entry of testpmd.session.select(args.number('port'))) {
    if (what === 'strip') setStrip(testpmd, entry, on);
    else if (what === 'filter') setFiltering(testpmd.session, entry, on);
    else setUnknown(testpmd.session, entry, what, on);
  }
}

function setStripOfQueue(session: Session, args: Args): void {
  const [port, queue, ...more] = parseNumberList(args.text('where'), U16_MAX) ?? [];
  if (port === undefined || queue === undefined || more.length > 0) {
    session.complain('must specify (port,queue_id)');
    return;
  }
  for (const { port: { id } } of session.select(port)) {
    session.complain(
      `rx_vlan_strip_set_on_queue(port_pi=${id}, queue_id=${queue}, on=${bit(isOn(args))}) failed: all queues of a port do the same (vlan set strip)`,
    );
  }
} // prettier-ignore

// ---- sending -----------------------------------------------------------------------------------------------------------

function setTxVlan(session: Session, args: Args): void {
  const entry = stoppedPort(session, args);
  if (entry === undefined || !isVlanId(session, args.number('vlan'))) return;
  if (args.has('outer')) {
    session.complain(`Error: qinq insert not supported by port ${entry.port.id}`);
    return;
  }
  if ((entry.port.info().txOffloadCapa & TX_OFFLOAD_VLAN_INSERT) === 0) {
    session.complain(`Error: vlan insert is not supported by port ${entry.port.id}`);
    return;
  }
  entry.txVlan = args.number('vlan');
  entry.txOffloads |= TX_OFFLOAD_VLAN_INSERT;
  entry.reconfigure = true;
}

function resetTxVlan(session: Session, args: Args): void {
  const entry = stoppedPort(session, args);
  if (entry === undefined) return;
  entry.txVlan = undefined;
  entry.txOffloads &= ~TX_OFFLOAD_VLAN_INSERT;
  entry.reconfigure = true;
}

export const vlanCommands: readonly Row<Testpmd>[] = [
  {
    syntax: 'rx_vlan what:(add|rm) all <port:u16>',
    help: 'Let packets of every VLAN through, or of none.',
    run: ({ session }, args) => {
      for (const entry of session.select(args.number('port'))) {
        changeAllVlans(session, entry, args.text('what') === 'add');
      }
    },
  },
  {
    syntax: 'rx_vlan what:(add|rm) <vlan:u16> <port:u16>',
    help: 'Let packets of a VLAN through, or not any more.',
    run: ({ session }, args) => {
      for (const entry of session.select(args.number('port'))) {
        changeVlan(session, entry, args.number('vlan'), args.text('what') === 'add');
      }
    },
  },
  {
    syntax: 'vlan set what:(strip|filter|qinq_strip|extend) state:(on|off) <port:u16>',
    help: 'Take VLAN tags off received packets, or let packets through by their VLAN (rx_vlan). There is no other.',
    run: setVlan,
  },
  {
    syntax: 'vlan set stripq state:(on|off) <where>',
    help: 'Take VLAN tags off the packets of one queue (port,queue): ports cannot.',
    run: ({ session }, args) => setStripOfQueue(session, args),
  },
  {
    syntax: 'tx_vlan set pvid <port:u16> <vlan:u16> state:(on|off)',
    help: 'Have the device insert a VLAN tag: devices cannot.',
    run: ({ session }, args) => {
      for (const { port } of session.select(args.number('port'))) {
        session.complain(
          `tx_vlan_pvid_set(port_pi=${port.id}) failed: ports here insert no tags of their own (tx_vlan set)`,
        );
      }
    },
  },
  {
    syntax: 'tx_vlan set <port:u16> <vlan:u16> [<outer:u16>]',
    help: 'Insert a VLAN tag into packets that a stopped port is to send, in the modes that make or rewrite packets.',
    run: ({ session }, args) => setTxVlan(session, args),
  },
  {
    syntax: 'tx_vlan reset <port:u16>',
    help: 'Insert no VLAN tag any more.',
    run: ({ session }, args) => resetTxVlan(session, args),
  },
];
