/** Address filters of ports: MAC addresses, multicast addresses. */
import { isVirtioPmdError } from '../../../native/errors.js';
import type { Args, Row } from './grammar.js';
import type { PortEntry, Session } from '../session.js';
import type { Testpmd } from '../testpmd.js';
import { parseMac } from '../../../driver/wire/mac.js';

/** Why an action failed; undefined when it did not. For commands with their own text around the reason. */
export function failureOf(action: () => void): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!isVirtioPmdError(error)) throw error;
    return error.message;
  }
}

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
    const list = multicastOf(entry);
    if (list.includes(mac) === add) {
      session.complain(
        add ? 'multicast address already filtered by port' : `multicast address not filtered by port ${entry.port.id}`,
      );
    } else {
      setMulticast(session, entry, add ? [...list, mac] : list.filter((other) => other !== mac));
    }
  }
}

/** A port that cannot filter has no list; whatever is added is refused. */
const multicastOf = ({ port }: PortEntry) => (port.lacks('filters') === undefined ? port.filters.multicastList : []);

const addressesOf = ({ port }: PortEntry) =>
  port.lacks('filters') === undefined ? port.filters.macAddresses : [port.mac];

function setMulticast(session: Session, entry: PortEntry, list: readonly string[]): void {
  const why = failureOf(() => entry.port.filters.setMulticastList(list));
  if (why === undefined) return;
  session.complain(`rte_eth_dev_set_mc_addr_list(port=${entry.port.id}, nb=${list.length}) failed. ${why}`);
}

function formatAddresses(kind: 'macs' | 'mcast_macs', macs: readonly string[]): string {
  const what = kind === 'macs' ? 'MAC' : 'Multicast MAC';
  return [`Number of ${what} address added: ${macs.length}`, ...macs.map((mac) => `  ${mac}`)].join('\n');
}

function showAddresses({ session }: Testpmd, args: Args): void {
  const kind = args.text('what') as 'macs' | 'mcast_macs';
  for (const entry of session.select(args.number('port'))) {
    session.print(formatAddresses(kind, kind === 'macs' ? addressesOf(entry) : multicastOf(entry)));
  }
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
];

export const filterDisplayCommands: readonly Row<Testpmd>[] = [
  {
    syntax: 'show port <port:u16> what:(macs|mcast_macs)',
    help: 'Show the MAC addresses, or the multicast addresses, that a port receives for.',
    run: showAddresses,
  },
];
