import { checkTxSegments, MAX_BURST } from '../options/app-options.js';
import { failureOf } from './filters.js';
import type { Args, Row } from './grammar.js';
import { loadMode, locateMode } from '../engines/load-mode.js';
import { canRetry, findMode, modeNames, nameOf, type Mode } from '../engines/modes.js';
import type { Session } from '../session.js';
import type { Testpmd } from '../testpmd.js';
import { parseMac } from '../../../driver/wire/mac.js';
import { parseMask, parseNumberList, parseRangeList } from '../../common/values.js';

function setMode({ session }: Testpmd, mode: Mode, retry: boolean): void {
  const { settings } = session;
  settings.mode = mode;
  settings.retry = retry;
  session.print(`Set ${nameOf(mode)} packet forwarding mode${retry ? ' with retry' : ''}`);
}

/** Loads the mode's module as a check; the lcores load it again at `start`. */
async function setUserMode(testpmd: Testpmd, path: string, retry: boolean): Promise<void> {
  const mode = locateMode(path);
  await loadMode(mode);
  setMode(testpmd, mode, retry);
}

/** The first value that occurs twice, with both positions. */
function firstDuplicate(values: readonly number[]): { value: number; first: number; second: number } | undefined {
  for (let second = 1; second < values.length; second++) {
    const first = values.indexOf(values[second]!);
    if (first < second) return { value: values[second]!, first, second };
  }
  return undefined;
}

function setCores(session: Session, cores: readonly number[] | undefined, text: string): void {
  const { settings } = session;
  const { lcores } = session.eal;
  if (!cores || cores.length === 0) {
    session.complain(`Bad list of cores: ${text}`);
    return;
  }
  const duplicate = firstDuplicate(cores);
  if (duplicate) {
    session.complain(`duplicated core ${duplicate.value} at index ${duplicate.first} and ${duplicate.second}`);
    return;
  }
  for (const core of cores) {
    if (core === lcores.main) {
      session.complain(
        `lcore ${core} cannot be masked on for running packet forwarding, which is the main lcore and reserved for command line parsing only`,
      );
      return;
    }
    if (!lcores.workers.includes(core)) {
      session.complain(`lcore ${core} not enabled`);
      return;
    }
  }
  settings.coreList = cores;
  if (settings.coreCount !== cores.length) {
    session.print(
      `previous number of forwarding cores ${settings.coreCount} - changed to number of configured cores ${cores.length}`,
    );
    settings.coreCount = cores.length;
  }
}

function setPorts(session: Session, ports: readonly number[] | undefined, text: string): void {
  const { settings } = session;
  if (!ports || ports.length === 0) {
    session.complain(`Bad list of ports: ${text}`);
    return;
  }
  const duplicate = firstDuplicate(ports);
  if (duplicate) {
    session.complain(`duplicated port ${duplicate.value} at index ${duplicate.first} and ${duplicate.second}`);
    return;
  }
  const missing = ports.find((id) => !session.ports.has(id));
  if (missing !== undefined) {
    session.complain(`Invalid port ${missing}`);
    return;
  }
  const before = session.forwardingPorts.length;
  settings.portList = ports;
  settings.portCount = undefined;
  if (before !== ports.length) {
    session.print(
      `previous number of forwarding ports ${before} - changed to number of configured ports ${ports.length}`,
    );
  }
  warnOddPorts(session);
}

export function warnOddPorts(session: Session): void {
  if (!session.plan().oddPorts) return;
  session.complain(
    '\nWarning! port-topology=paired and odd forward ports number, the last port will pair with itself.\n',
  );
}

function setCoreCount(session: Session, count: number): void {
  const max = session.coreCandidates.length;
  if (count > max) {
    session.complain(`nb fwd cores ${count} > ${max} (max. number of configured lcores) - ignored`);
  } else if (count === 0) {
    session.complain('nb fwd cores 0 < 1 (one is needed) - ignored');
  } else {
    session.settings.coreCount = count;
    session.print(`Number of forwarding cores set to ${count}`);
  }
}

function setPortCount(session: Session, count: number): void {
  const max = session.portCandidates.length;
  if (count > max) {
    session.complain(`nb fwd ports ${count} > ${max} (number of configured ports) - ignored`);
    return;
  }
  session.settings.portCount = count;
  session.print(`Number of forwarding ports set to ${count}`);
}

function setBurst(session: Session, burst: number): void {
  if (burst > MAX_BURST) {
    session.complain(`nb pkt per burst: ${burst} > ${MAX_BURST} (maximum packet per burst)  ignored`);
  } else if (burst === 0) {
    session.complain('PMD does not recommend a burst size.\nUser provided value must be between 1 and 512');
  } else {
    session.settings.burst = burst;
    session.print(`Number of packets per burst set to ${burst}`);
  }
}

/** Checks that a packet fits a Tx ring, with dpdk-testpmd's error text. */
function checkRings({ ports, settings }: Session, segments: number): string | undefined {
  const sizes = [...ports.values()].map(({ port }) => settings.txDesc || port.info().queueSize);
  const least = Math.min(...sizes);
  return segments >= least ? `nb segments per TX packets=${segments} >= nb_txd(${least}) - ignored` : undefined;
}

function setTxPackets(session: Session, text: string): void {
  const segments = parseNumberList(text);
  if (!segments) {
    session.complain(`Bad list of lengths: ${text}`);
    return;
  }
  const bad = checkTxSegments(segments, session.mempool.dataRoom) ?? checkRings(session, segments.length);
  if (bad) session.complain(bad);
  else session.settings.packets = { ...session.settings.packets, segments };
}

function setPeer(session: Session, port: number, text: string): void {
  const mac = parseMac(text);
  if (!mac) session.complain(`Error: Invalid ethernet address: ${text}`);
  else if (!session.ports.has(port)) session.complain(`Error: Invalid port number ${port}`);
  else session.settings.ethPeers.set(port, mac);
}

function setRxMode(session: Session, args: Args): void {
  const promiscuous = args.text('what') === 'promisc';
  const on = args.text('state') === 'on';
  const mode = promiscuous ? 'promiscuous' : 'all-multicast';
  for (const { port } of session.select(args.port())) {
    const refused = failureOf(() => (promiscuous ? port.setPromiscuous(on) : port.setAllmulticast(on)));
    if (refused === undefined) continue;
    const why = port.lacks('filters') ?? refused;
    session.complain(`Error during ${on ? 'enabling' : 'disabling'} ${mode} mode for port ${port.id}: ${why} - ignore`);
  }
}

export const configCommands: readonly Row<Testpmd>[] = [
  {
    syntax: `set fwd mode:(${modeNames.filter(canRetry).join('|')}) [retry]`,
    help: 'Set the packet forwarding mode; with retry, what a full Tx queue refuses is offered again.',
    run: (testpmd, args) => setMode(testpmd, findMode(args.text('mode'))!.mode, args.has('retry')),
  },
  {
    syntax: `set fwd mode:(${['mac_retry', ...modeNames.filter((mode) => !canRetry(mode))].join('|')})`,
    help: 'Set the packet forwarding mode; mac_retry is the old name of `mac retry`.',
    run: (testpmd, args) => {
      const { mode, retry } = findMode(args.text('mode'))!;
      setMode(testpmd, mode, retry);
    },
  },
  {
    syntax: 'set fwd <path:module> [retry]',
    help: 'Set a packet forwarding mode of your own: the path of its module, such as ./my-mode.ts.',
    run: (testpmd, args) => setUserMode(testpmd, args.text('path'), args.has('retry')),
  },
  {
    syntax: 'set burst <packets:u16>',
    help: 'Set the number of packets per burst, 1 to 512.',
    run: ({ session }, args) => setBurst(session, args.number('packets')),
  },
  {
    syntax: 'set burst tx delay <microseconds:u32> retry <retries:u32>',
    help: 'Set how often to retry and how long to wait before each, for modes with retry.',
    run: ({ session }, args) => {
      session.settings.retryDelayUs = args.number('microseconds');
      session.settings.retries = args.number('retries');
    },
  },
  {
    syntax: 'set txpkts <lengths>',
    help: 'Set the bytes of each segment of generated packets: 64 or 64,128,256.',
    run: ({ session }, args) => setTxPackets(session, args.text('lengths')),
  },
  {
    syntax: 'set verbose <level:u16>',
    help: 'Show each burst received (1), sent (2), or both (3).',
    run: ({ session, forwarding }, args) => {
      const level = args.number('level');
      session.print(`Change verbose level from ${session.settings.verbose} to ${level}`);
      session.settings.verbose = level;
      forwarding.setVerbose(level);
    },
  },
  {
    syntax: 'set nbcore <cores:u16>',
    help: 'Set the number of forwarding cores.',
    run: ({ session }, args) => setCoreCount(session, args.number('cores')),
  },
  {
    syntax: 'set nbport <ports:u16>',
    help: 'Set the number of forwarding ports.',
    run: ({ session }, args) => setPortCount(session, args.number('ports')),
  },
  {
    syntax: 'set corelist <list>',
    help: 'Set the forwarding cores, in order: 1,3.',
    run: ({ session }, args) => setCores(session, parseRangeList(args.text('list')), args.text('list')),
  },
  {
    syntax: 'set coremask <mask>',
    help: 'Set the forwarding cores by a hexadecimal mask.',
    run: ({ session }, args) => setCores(session, parseMask(args.text('mask')), args.text('mask')),
  },
  {
    syntax: 'set portlist <list>',
    help: 'Set the forwarding ports, in order: 0,1.',
    run: ({ session }, args) => setPorts(session, parseRangeList(args.text('list')), args.text('list')),
  },
  {
    syntax: 'set portmask <mask>',
    help: 'Set the forwarding ports by a hexadecimal mask.',
    run: ({ session }, args) => setPorts(session, parseMask(args.text('mask')), args.text('mask')),
  },
  {
    syntax: 'set eth-peer <port:u16> <mac>',
    help: 'Set the MAC address that a port sends to.',
    run: ({ session }, args) => setPeer(session, args.number('port'), args.text('mac')),
  },
  {
    syntax: 'set flush_rx state:(on|off)',
    help: 'Throw away what waits in the Rx queues before forwarding starts, or not.',
    run: ({ session }, args) => {
      session.settings.flushRx = args.text('state') === 'on';
    },
  },
  {
    syntax: 'set what:(promisc|allmulti) <port:port> state:(on|off)',
    help: 'Set promiscuous or allmulticast mode of a port.',
    run: ({ session }, args) => setRxMode(session, args),
  },
];
