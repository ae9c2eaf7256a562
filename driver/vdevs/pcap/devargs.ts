/** The arguments of a net_pcap device: those of DPDK. No I/O. */
import { VirtioPmdError } from '../../../native/errors.js';
import { flagKey, parseDevargs, splitDevargs, textKey, textsKey } from '../../devargs/kvargs.js';

export interface PcapDevargs {
  readonly name: string;
  /** The number at the end of the name. */
  readonly index: number;
  /** A file for each Rx queue. */
  readonly rx: readonly string[];
  /** A file for each Tx queue. */
  readonly tx: readonly string[];
  /** The files are received again and again. */
  readonly infiniteRx: boolean;
}

/** RTE_PMD_PCAP_MAX_QUEUES. */
const MAX_QUEUES = 16;

/** Keys of DPDK's that need libpcap and a network interface. */
const interfaces = ['rx_iface', 'rx_iface_in', 'tx_iface', 'iface'] as const;
const interfaceKey = textKey('the name of a network interface');

const schema = {
  rx_pcap: textsKey('a capture file'),
  tx_pcap: textsKey('a file to write to'),
  infinite_rx: flagKey(false),
  phy_mac: flagKey(false),
  ...{ rx_iface: interfaceKey, rx_iface_in: interfaceKey, tx_iface: interfaceKey, iface: interfaceKey },
};

function fail(message: string): VirtioPmdError {
  return new VirtioPmdError('EDEVARGS', message);
}

/** Reads a vdev string such as `net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap`. @throws VirtioPmdError EDEVARGS */
export function parsePcap(text: string): PcapDevargs {
  const { name, args } = splitDevargs(text);
  const index = /^(?:net|eth)_pcap(\d+)$/.exec(name)?.[1];
  if (index === undefined) {
    throw fail(`"${name}" is not the name of a net_pcap device: expected net_pcap<N>, such as net_pcap0`);
  }
  const values = parseDevargs(args, schema, name);
  for (const key of interfaces) {
    if (values[key] === undefined) continue;
    throw fail(
      `${name}: ${key}=${values[key]} is not accepted: this driver has files only; for a network interface use --vdev net_af_packet${index},iface=${values[key]}`,
    );
  }
  if (values.phy_mac) {
    throw fail(`${name}: phy_mac=1 is not accepted: it takes the address of iface=, and a file has none; leave it out`);
  }
  const { rx_pcap: rx, tx_pcap: tx, infinite_rx: infiniteRx } = values;
  if (rx.length + tx.length === 0) throw fail(`${name}: no file is given: add rx_pcap=<file>, tx_pcap=<file>, or both`);
  for (const [key, files] of Object.entries({ rx_pcap: rx, tx_pcap: tx })) {
    if (files.length <= MAX_QUEUES) continue;
    throw fail(`${name}: ${key} is given ${files.length} times: expected ${MAX_QUEUES} at most, one for each queue`);
  }
  if (infiniteRx && rx.length === 0) throw fail(`${name}: infinite_rx=1 needs rx_pcap=<file>: add it`);
  return { name, index: Number(index), rx, tx, infiniteRx };
}
