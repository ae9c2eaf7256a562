/** The arguments of net_af_packet. */
import { aString, checkArgument } from '../../../native/arguments.js';
import { PAGE_SIZE } from '../../../native/region.js';
import { flagKey, integerKey, parseDevargs, splitDevargs, textKey } from '../../devargs/kvargs.js';
import { checkInterfaceName } from '../../netdev/ifreq.js';
import { frameLayout, type FrameLayout } from './layout.js';

/** RTE_PMD_AF_PACKET_MAX_RINGS. */
const MAX_QUEUES = 16;
const MAX_INT = 0x7fffffff;

export interface AfPacketDevargs {
  readonly name: string;
  readonly iface: string;
  /** The most queues in each direction. */
  readonly qpairs: number;
  readonly layout: FrameLayout;
  /** Sends around the interface's queueing discipline. */
  readonly qdiscBypass: boolean;
}

const schema = {
  iface: { ...textKey('the name of a network interface'), mandatory: true },
  qpairs: integerKey(1, MAX_QUEUES, 1),
  blocksz: integerKey(1, MAX_INT, PAGE_SIZE),
  framesz: integerKey(1, MAX_INT, 2048),
  framecnt: integerKey(1, MAX_INT, 512),
  qdisc_bypass: flagKey(true),
};

/** Reads `net_af_packet0,iface=eth0,qpairs=2`. @throws VirtioPmdError EDEVARGS */
export function parseAfPacket(text: string): AfPacketDevargs {
  checkArgument('parseAfPacket', 'text', text, aString);
  const { name, args } = splitDevargs(text);
  const values = parseDevargs(args, schema, name);
  const iface = values.iface!;
  checkInterfaceName(iface);
  return {
    name,
    iface,
    qpairs: values.qpairs,
    layout: frameLayout(values, name),
    qdiscBypass: values.qdisc_bypass,
  };
}
