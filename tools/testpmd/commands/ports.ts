import { MAX_BURST } from '../options/app-options.js';
import type { Args, Row } from './grammar.js';
import { ignoredAppOptions } from '../options/ignored-options.js';
import type { PortEntry, Session } from '../session.js';
import type { Testpmd } from '../testpmd.js';
import { mtuFor } from '../../common/mtu.js';
import { U16_MAX } from '../../common/values.js';

const MIN_PACKET_LENGTH = 64;

function configAll({ session }: Testpmd, what: string, value: number): void {
  const { settings } = session;
  const entries = session.select('all');
  if (entries.some(({ port }) => port.started)) {
    session.complain('Please stop all ports first');
    return;
  }
  if (what === 'burst') {
    if (value < 1 || value > MAX_BURST) session.complain(`burst must be >= 1 && <= ${MAX_BURST}`);
    else settings.burst = value;
    return;
  }
  if (value > U16_MAX) {
    session.complain('Bad arguments');
    return;
  }
  if (what === 'max-pkt-len') {
    setMaxPacketLength(session, value);
    return;
  }
  if (what === 'max-lro-pkt-size') {
    session.complain(`${what} is accepted and has no effect: ${ignoredAppOptions[what]!.why}`);
    return;
  }
  if (what === 'rxq' || what === 'txq') {
    if (value === 0) {
      session.complain('Warning: queues come in pairs here: neither Rx nor Tx queues can be 0');
      return;
    }
    const side = what === 'rxq' ? 'rx' : 'tx';
    for (const { port } of entries) {
      const max = side === 'rx' ? port.info().maxRxQueues : port.info().maxTxQueues;
      if (value <= max) continue;
      session.complain(
        `Fail: input ${what} (${value}) can't be greater than max_${side}_queues (${max}) of port ${port.id}`,
      );
      return;
    }
    settings[side === 'rx' ? 'rxQueues' : 'txQueues'] = value;
  } else {
    for (const { port } of entries) {
      const { minDesc, maxDesc } = port.info();
      const bound = value < minDesc ? `less than min_${what}s (${minDesc})` : `greater than max_${what}s (${maxDesc})`;
      if (value >= minDesc && value <= maxDesc) continue;
      session.complain(`Fail: input ${what} (${value}) can't be ${bound} of port ${port.id}`);
      return;
    }
    settings[what === 'rxd' ? 'rxDesc' : 'txDesc'] = value;
  }
  for (const entry of entries) entry.reconfigure = true;
}

/** @returns whether the port can have this MTU, as far as is known before it is configured again. */
function changeMtu(session: Session, entry: PortEntry, mtu: number): boolean {
  const { port } = entry;
  const { minMtu, maxMtu } = port.info();
  if (entry.reconfigure || !port.configured) {
    if (mtu < minMtu || mtu > maxMtu) {
      session.complain(`MTU should be between ${minMtu} and ${maxMtu}; ${mtu} was asked for`);
      return false;
    }
  } else if (!session.attempt(() => port.setMtu(mtu))) return false;
  entry.mtu = mtu;
  return true;
}

function setMtu({ session }: Testpmd, args: Args): void {
  for (const entry of session.select(args.number('port'))) changeMtu(session, entry, args.number('mtu'));
}

function setMaxPacketLength(session: Session, length: number): void {
  if (length < MIN_PACKET_LENGTH) {
    session.complain(`max-pkt-len can not be less than ${MIN_PACKET_LENGTH}`);
    return;
  }
  for (const entry of session.select('all')) {
    const mtu = mtuFor(length, entry.port.info());
    if (!changeMtu(session, entry, mtu)) session.complain(`Failed to set MTU to ${mtu} for port ${entry.port.id}`);
  }
}

export const portCommands: readonly Row<Testpmd>[] = [
  {
    syntax: 'port start <port:port>',
    help: 'Start a port, or all.',
    run: ({ ports, session }, args) => {
      if (!ports.start(args.port())) session.complain('Start ports failed');
    },
  },
  {
    syntax: 'port stop <port:port>',
    help: 'Stop a port, or all.',
    run: ({ ports }, args) => ports.stop(args.port()),
  },
  {
    syntax: 'port close <port:port>',
    help: 'Close a port, or all: it is gone then.',
    run: ({ ports }, args) => ports.close(args.port()),
  },
  {
    syntax: 'port reset <port:port>',
    help: 'Reset the device of a stopped port, or of all.',
    run: ({ ports }, args) => ports.reset(args.port()),
  },
  {
    syntax: 'port attach <devargs>',
    help: 'Attach a device: net_virtio_user1,path=/tmp/sock1, or 0000:00:04.0.',
    run: ({ ports, interrupted }, args) => ports.attach(args.text('devargs'), interrupted),
  },
  {
    syntax: 'port detach <port:u16>',
    help: 'Close a stopped port and detach its device.',
    run: ({ ports }, args) => ports.detach(args.number('port')),
  },
  {
    syntax: 'port config all what:(rxq|txq|rxd|txd|burst|max-pkt-len|max-lro-pkt-size) <value:u32>',
    help: 'Set the number of queues, descriptors or packets per burst, or the longest packet; ports must be stopped.',
    run: (testpmd, args) => configAll(testpmd, args.text('what'), args.number('value')),
  },
  {
    syntax: 'port config mtu <port:u16> <mtu:u16>',
    help: 'Set the MTU of a port, stopped or not.',
    run: (testpmd, args) => setMtu(testpmd, args),
  },
];
