/** What a port lets through: MAC addresses, multicast addresses, VLANs. */
import { isVirtioPmdError } from '../../native/errors.js';
import { RX_OFFLOAD_VLAN_STRIP } from '../../driver/types.js';
import type { Args, Row } from './grammar.js';
import type { PortEntry, Session } from './session.js';
import type { Testpmd } from './testpmd.js';
import { parseMac } from './values.js';

const MAX_VLAN_ID = 4095;

/** Why an action failed, when it did; for commands that have words of their own around the reason. */
export function failureOf(action: () => void): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!isVirtioPmdError(error)) throw error;
    return error.message;
  }
}

// ---- addresses -----------------------------------------------------------------------------------------------------

function macOf(session: Session, args: Args): string | undefined {
  const mac = parseMac(args.text('mac'));
  if (mac === undefined) session.print('Bad arguments');
  return mac;
}

function changeMac({ session }: Testpmd, args: Args): void {
  const mac = macOf(session, args);
  if (mac === undefined) return;
  const change = { add: 'addMacAddress', remove: 'removeMacAddress', set: 'setDefaultMac' } as const;
  const method = change[args.text('what') as keyof typeof change];
  for (const entry of session.select(args.number('port'))) {
    const why = failureOf(() => entry.port.filters[method](mac));
    if (why !== undefined) session.complain(`mac_addr_cmd error: (${why})`);
  }
}

function changeMulticast({ session }: Testpmd, args: Args): void {
  const mac = macOf(session, args);
  if (mac === undefined) return;
  if ((parseInt(mac.slice(0, 2), 16) & 1) === 0) {
    session.complain(`Invalid multicast addr ${mac}`);
    return;
  }
  const add = args.text('what') === 'add';
  for (const entry of session.select(args.number('port'))) {
    const list = entry.port.filters.multicastList;
    if (list.includes(mac) === add) {
      session.complain(
        add ? 'multicast address already filtered by port' : `multicast address not filtered by port ${entry.port.id}`,
      );
    } else {
      setMulticast(session, entry, add ? [...list, mac] : list.filter((other) => other !== mac));
    }
  }
}

function setMulticast(session: Session, entry: PortEntry, list: readonly string[]): void {
  const why = failureOf(() => entry.port.filters.setMulticastList(list));
  if (why === undefined) return;
  session.complain(`rte_eth_dev_set_mc_addr_list(port=${entry.port.id}, nb=${list.length}) failed. ${why}`);
}

export function formatAddresses(kind: 'macs' | 'mcast_macs', macs: readonly string[]): string {
  const what = kind === 'macs' ? 'MAC' : 'Multicast MAC';
  return [`Number of ${what} address added: ${macs.length}`, ...macs.map((mac) => `  ${mac}`)].join('\n');
}

function showAddresses({ session }: Testpmd, args: Args): void {
  const kind = args.text('what') as 'macs' | 'mcast_macs';
  for (const entry of session.select(args.number('port'))) {
    const { macAddresses, multicastList } = entry.port.filters;
    session.print(formatAddresses(kind, kind === 'macs' ? macAddresses : multicastList));
  }
}

// ---- VLANs ---------------------------------------------------------------------------------------------------------

/** @returns whether it went well */
function changeVlan(session: Session, entry: PortEntry, id: number, on: boolean): boolean {
  if (id > MAX_VLAN_ID) {
    session.complain(`Invalid vlan_id ${id} (must be < ${MAX_VLAN_ID + 1})`);
    return false;
  }
  const why = failureOf(() => entry.port.filters.setVlanFilter(id, on));
  if (why === undefined) return true;
  session.complain(`rte_eth_dev_vlan_filter(port_pi=${entry.port.id}, vlan_id=${id}, on=${on ? 1 : 0}) failed: ${why}`);
  return false;
}

/** All of them one by one, as in DPDK; the first refusal ends it. */
function changeAllVlans(session: Session, entry: PortEntry, on: boolean): void {
  for (let id = 0; id <= MAX_VLAN_ID && changeVlan(session, entry, id, on); id++);
}

function setVlanFiltering(session: Session, entry: PortEntry, on: boolean): void {
  const why = failureOf(() => entry.port.filters.setVlanFiltering(on));
  if (why === undefined) return;
  session.complain(`rx_vlan_filter_set(port_pi=${entry.port.id}, on=${on ? 1 : 0}) failed: ${why}`);
}

/** Stripping is in the code of the Rx paths: the port is configured anew. */
function setVlanStrip({ session, forwarding }: Testpmd, { port }: PortEntry, on: boolean): void {
  const { config, started } = port;
  if (config === undefined || ((config.rxOffloads & RX_OFFLOAD_VLAN_STRIP) !== 0) === on) return;
  if (forwarding.isForwarding(port.id)) {
    session.complain(`rx_vlan_strip_set(port_pi=${port.id}, on=${on ? 1 : 0}) failed: Please stop forwarding first`);
    return;
  }
  const rxOffloads = on ? config.rxOffloads | RX_OFFLOAD_VLAN_STRIP : config.rxOffloads & ~RX_OFFLOAD_VLAN_STRIP;
  session.attempt(() => {
    port.stop();
    port.configure({ ...config, rxOffloads });
    if (started) port.start();
  });
}

export const filterConfigCommands: readonly Row<Testpmd>[] = [
  {
    syntax: 'mac_addr what:(add|remove|set) <port:u16> <mac>',
    help: 'Add a MAC address to those that a port receives for, remove one, or set its own.',
    run: changeMac,
  },
  {
    syntax: 'mcast_addr what:(add|remove) <port:u16> <mac>',
    help: 'Add a multicast address to those that a port receives for, or remove one.',
    run: changeMulticast,
  },
  {
    syntax: 'mcast_addr flush <port:u16>',
    help: 'Remove all multicast addresses of a port.',
    run: ({ session }, args) => {
      for (const entry of session.select(args.number('port'))) setMulticast(session, entry, []);
    },
  },
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
    syntax: 'vlan set what:(strip|filter) state:(on|off) <port:u16>',
    help: 'Take VLAN tags off received packets, or let packets through by their VLAN (rx_vlan).',
    run: (testpmd, args) => {
      const on = args.text('state') === 'on';
      for (const entry of testpmd.session.select(args.number('port'))) {
        if (args.text('what') === 'strip') setVlanStrip(testpmd, entry, on);
        else setVlanFiltering(testpmd.session, entry, on);
      }
    },
  },
];

export const filterDisplayCommands: readonly Row<Testpmd>[] = [
  {
    syntax: 'show port <port:u16> what:(macs|mcast_macs)',
    help: 'Show the MAC addresses, or the multicast addresses, that a port receives for.',
    run: showAddresses,
  },
];
