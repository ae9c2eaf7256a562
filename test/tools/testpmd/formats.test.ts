/** Output, compared with what dpdk-testpmd 22.11 printed in the same situation. */
import test from 'ava';
import type { PathReport, PortInfo, PortStats } from '../../../driver/port/types.js';
import { formatCores, formatForwarding, formatRxTx, formatTxPackets } from '../../../tools/testpmd/show/config.js';
import * as info from '../../../tools/testpmd/show/info.js';
import { formatPath } from '../../../tools/testpmd/show/path.js';
import {
  formatForwardStats,
  formatPortStats,
  formatXstats,
  noRates,
  ratesBetween,
} from '../../../tools/testpmd/show/stats.js';
import { planForwarding } from '../../../tools/testpmd/topology.js';
import * as link from '../../../tools/common/link.js';
import { defaultPeer } from '../../../tools/common/values.js';

const nothing: PortStats = {
  ipackets: 0,
  opackets: 0,
  ibytes: 0,
  obytes: 0,
  imissed: 0,
  ierrors: 0,
  oerrors: 0,
  rxNombuf: 0,
};

test('show port stats', (t) => {
  const stats = { ...nothing, ipackets: 177856, ibytes: 11382784, opackets: 178112, obytes: 11399168 };
  const rates = { rxPackets: 369697, rxBits: 189285336, txPackets: 370230, txBits: 189557784 };
  t.is(
    formatPortStats(0, stats, rates),
    `
  ######################## NIC statistics for port 0  ########################
  RX-packets: 177856     RX-missed: 0          RX-bytes:  11382784
  RX-errors: 0
  RX-nombuf:  0         
  TX-packets: 178112     TX-errors: 0          TX-bytes:  11399168

  Throughput (since last show)
  Rx-pps:       369697          Rx-bps:    189285336
  Tx-pps:       370230          Tx-bps:    189557784
  ############################################################################`,
  );
});

test('rates: per second, bits for bytes, zero when counters went back', (t) => {
  const before = { ...nothing, ipackets: 100, ibytes: 6400, opackets: 50 };
  const now = { ...nothing, ipackets: 300, ibytes: 19200, opackets: 0 };
  t.deepEqual(ratesBetween(before, now, 2), { rxPackets: 100, rxBits: 51200, txPackets: 0, txBits: 0 });
  t.deepEqual(ratesBetween(before, now, 0), noRates);
});

test('show port xstats', (t) => {
  const xstats = [
    { name: 'rx_good_packets', value: 0 },
    { name: 'rx_q0_size_64_packets', value: 12 },
  ];
  t.is(
    formatXstats(0, xstats),
    '###### NIC extended statistics for port 0 \nrx_good_packets: 0\nrx_q0_size_64_packets: 12',
  );
});

test('the summary of stop', (t) => {
  const stats = { ...nothing, ipackets: 130464, opackets: 130496 };
  t.is(
    formatForwardStats([{ portId: 0, stats, txDropped: 0 }], []),
    `
  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 130464         RX-dropped: 0             RX-total: 130464
  TX-packets: 130496         TX-dropped: 0             TX-total: 130496
  ----------------------------------------------------------------------------

  +++++++++++++++ Accumulated forward statistics for all ports+++++++++++++++
  RX-packets: 130464         RX-dropped: 0             RX-total: 130464
  TX-packets: 130496         TX-dropped: 0             TX-total: 130496
  ++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++`,
  );
});

test('the summary of stop with more streams than ports, drops and missing mbufs', (t) => {
  const stats = { ...nothing, ipackets: 20, imissed: 3, opackets: 15, ierrors: 2, rxNombuf: 7 };
  const stream = (q: number) => ({ rxPort: 0, rxQueue: q, txPort: 0, txQueue: q });
  const text = formatForwardStats(
    [{ portId: 0, stats, txDropped: 5 }],
    [
      { stream: stream(0), counts: { rxPackets: 88928, txPackets: 89056, txDropped: 0 } },
      { stream: stream(1), counts: { rxPackets: 0, txPackets: 0, txDropped: 0 } },
    ],
  );
  t.is(
    text,
    `
  ------- Forward Stats for RX Port= 0/Queue= 0 -> TX Port= 0/Queue= 0 -------
  RX-packets: 88928          TX-packets: 89056          TX-dropped: 0             

  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 20             RX-dropped: 3             RX-total: 23
  RX-error: 2
  RX-nombufs: 7             
  TX-packets: 15             TX-dropped: 5             TX-total: 20
  ----------------------------------------------------------------------------

  +++++++++++++++ Accumulated forward statistics for all ports+++++++++++++++
  RX-packets: 20             RX-dropped: 3             RX-total: 23
  TX-packets: 15             TX-dropped: 5             TX-total: 20
  RX-nombufs: 7             
  ++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++`,
  );
});

test('the summary of stop in csum mode', (t) => {
  const stats = { ...nothing, ipackets: 2, opackets: 4 };
  const stream = (q: number) => ({ rxPort: 0, rxQueue: q, txPort: 0, txQueue: q });
  const counts = { rxPackets: 1, txPackets: 2, txDropped: 0 };
  const streams = [0, 1].map((q) => ({ stream: stream(q), counts, badL4: q }));
  const text = formatForwardStats([{ portId: 0, stats, txDropped: 0, badL4: 1 }], streams);
  t.true(
    text.startsWith(`
  ------- Forward Stats for RX Port= 0/Queue= 0 -> TX Port= 0/Queue= 0 -------
  RX-packets: 1              TX-packets: 2              TX-dropped: 0               RX- bad IP checksum: 0               Rx- bad L4 checksum: 0              Rx- bad outer L4 checksum: 0             
 RX- bad outer IP checksum: 0             
`),
  );
  t.true(
    text.includes(`
  RX-packets: 2              RX-dropped: 0             RX-total: 2
  Bad-ipcsum: 0              Bad-l4csum: 1             Bad-outer-l4csum: 0             
  Bad-outer-ipcsum: 0             
  TX-packets: 4              TX-dropped: 0             TX-total: 4
`),
  );
});

const twoPorts = planForwarding({
  ports: [0, 1],
  rxQueues: 1,
  txQueues: 1,
  lcores: [1, 2],
  topology: 'paired',
  shape: 'forward',
});

test('show config fwd', (t) => {
  const text = { mode: 'io', retry: false, retries: 64, retryDelayUs: 1, plan: twoPorts, peerOf: defaultPeer } as const;
  t.is(
    formatForwarding(text),
    `io packet forwarding - ports=2 - cores=2 - streams=2 - NUMA support enabled, MP allocation mode: native
Logical Core 1 (socket 0) forwards packets on 1 streams:
  RX P=0/Q=0 (socket 0) -> TX P=1/Q=0 (socket 0) peer=02:00:00:00:00:01
Logical Core 2 (socket 0) forwards packets on 1 streams:
  RX P=1/Q=0 (socket 0) -> TX P=0/Q=0 (socket 0) peer=02:00:00:00:00:00
`,
  );
  const none = { ...twoPorts, ports: [], lcores: [], streams: [] };
  t.is(
    formatForwarding({ ...text, mode: 'mac', retry: true, plan: none }),
    `mac packet forwarding with retry - ports=0 - cores=0 - streams=0 - NUMA support enabled, MP allocation mode: native
TX retry num: 64, delay between TX retries: 1us
`,
  );
});

test('show config rxtx', (t) => {
  const port = {
    portId: 0,
    rxQueues: 2,
    txQueues: 1,
    rxDesc: 512,
    txDesc: 0,
    rxFreeThresh: 0,
    txFreeThresh: 0,
    rxOffloads: 0,
    txOffloads: 0,
  };
  const config = { mode: 'txonly', retry: false, burst: 32, txSegments: [64], cores: 2, forwardingPorts: 2 } as const;
  t.is(
    formatRxTx({ ...config, ports: [port] }),
    `  txonly packet forwarding packets/burst=32
  packet len=64 - nb packet segments=1
  nb forwarding cores=2 - nb forwarding ports=2
  port 0: RX queue number: 2 Tx queue number: 1
    Rx offloads=0x0 Tx offloads=0x0
    RX queue: 0
      RX desc=512 - RX free threshold=0
      RX threshold registers: pthresh=0 hthresh=0  wthresh=0
      RX Offloads=0x0
    TX queue: 0
      TX desc=0 - TX free threshold=0
      TX threshold registers: pthresh=0 hthresh=0  wthresh=0
      TX offloads=0x0 - TX RS bit threshold=0`,
  );
  t.true(
    formatRxTx({ ...config, mode: 'io', ports: [] }).startsWith(
      '  io packet forwarding packets/burst=32\n  nb forwarding',
    ),
  );
});

test('show config cores, show config txpkts', (t) => {
  t.is(formatCores([1]), 'List of forwarding lcores:  1');
  t.is(formatTxPackets([64, 128, 256]), 'Number of segments: 3\nSegment sizes: 64,128,256\nSplit packet: off');
});

const portInfo: PortInfo = {
  portId: 0,
  name: 'net_virtio_user0',
  driver: 'net_virtio_user',
  devargs: 'path=/tmp/s0,queues=2,queue_size=256',
  mac: '1e:e6:8b:71:ee:6b',
  mtu: 1500,
  minMtu: 68,
  maxMtu: 9698,
  promiscuous: true,
  allmulticast: false,
  maxMacAddrs: 64,
  rss: { keySize: 0, retaSize: 0, flowTypes: 0n },
  minRxBufSize: 64,
  maxRxPktLen: 9728,
  maxRxQueues: 2,
  maxTxQueues: 2,
  rxQueues: 2,
  txQueues: 2,
  minDesc: 32,
  maxDesc: 32768,
  queueSize: 256,
  rxOffloadCapa: 0x2001,
  txOffloadCapa: 0x8001,
  rxOffloads: 0,
  txOffloads: 0x8000,
  started: true,
  privateInfo: [],
};
const up = { up: true, speed: undefined };

test('show port info', (t) => {
  t.is(
    info.formatPortInfo(portInfo, up),
    `
********************* Infos for port 0  *********************
MAC address: 1E:E6:8B:71:EE:6B
Device name: net_virtio_user0
Driver name: net_virtio_user
Firmware-version: not available
Devargs: path=/tmp/s0,queues=2,queue_size=256
Connect to socket: 0
memory allocation on the socket: 0
Link status: up
Link speed: Unknown
Link duplex: full-duplex
Autoneg status: On
MTU: 1500
Promiscuous mode: enabled
Allmulticast mode: disabled
Maximum number of MAC addresses: 64
Maximum number of MAC addresses of hash filtering: 0
VLAN offload: 
  strip off, filter off, extend off, qinq strip off
No RSS offload flow type is supported.
Minimum size of RX buffer: 64
Maximum configurable length of RX packet: 9728
Maximum configurable size of LRO aggregated packet: 0
Current number of RX queues: 2
Max possible RX queues: 2
Max possible number of RXDs per queue: 32768
Min possible number of RXDs per queue: 32
RXDs number alignment: 1
Current number of TX queues: 2
Max possible TX queues: 2
Max possible number of TXDs per queue: 32768
Min possible number of TXDs per queue: 32
TXDs number alignment: 1
Max segment number per packet: 65535
Max segment number per MTU/TSO: 65535
Device capabilities: 0x0( )
Device error handling mode: none`,
  );
  t.regex(
    info.formatPortInfo({ ...portInfo, privateInfo: [['vtnet_hdr_size', '12']] }, up),
    /Device private info:\n {2}vtnet_hdr_size: 12$/,
  );
});

test('show port summary', (t) => {
  const port = { portId: 0, mac: '96:07:91:8a:80:f7', name: 'net_virtio_user3', driver: 'net_virtio_user' };
  t.is(
    info.formatSummary(1, [{ ...port, link: { up: false, speed: undefined } }]),
    `Number of available ports: 1
Port MAC Address       Name         Driver         Status   Link
0    96:07:91:8A:80:F7 net_virtio_user3 net_virtio_user down     None`,
  );
  const short = { portId: 0, mac: 'ca:e8:45:ee:cc:26', name: 'net_null0', driver: 'net_null' };
  t.true(
    info
      .formatSummary(1, [{ ...short, link: { up: true, speed: 10000 } }])
      .endsWith('\n0    CA:E8:45:EE:CC:26 net_null0    net_null       up       10 Gbps'),
  );
});

test('link lines', (t) => {
  t.is(link.formatLink({ up: true, speed: 10000 }), 'up at 10 Gbps FDX Fixed');
  t.is(link.formatLink(up), 'up at Unknown FDX Autoneg');
  t.is(link.formatLink({ up: false, speed: undefined }), 'down');
  t.is(link.formatSpeed({ up: true, speed: 100 }), '100 Mbps');
});

test('show port N rx_offload, tx_offload', (t) => {
  t.is(
    info.formatOffloadCapabilities('rx', { ...portInfo, rxOffloadCapa: 0x201d }),
    'Rx Offloading Capabilities of port 0 :\n  Per Queue :\n  Per Port  : VLAN_STRIP UDP_CKSUM TCP_CKSUM TCP_LRO SCATTER\n',
  );
  t.is(
    info.formatOffloadConfiguration('rx', portInfo, 0x5),
    'Rx Offloading Configuration of port 0 :\n  Port :\n  Queue[ 0] : VLAN_STRIP UDP_CKSUM\n  Queue[ 1] : VLAN_STRIP UDP_CKSUM\n',
  );
  t.regex(
    info.formatOffloadConfiguration('tx', portInfo, 0x2d),
    /Port : MULTI_SEGS\n {2}Queue\[ 0\] : VLAN_INSERT UDP_CKSUM TCP_CKSUM TCP_TSO\n/,
  );
});

test('show device info', (t) => {
  t.is(
    info.formatDevice({ ...portInfo, mac: 'fa:5b:e5:95:6d:c6' }),
    `
********************* Infos for device net_virtio_user0 *********************
Bus name: vdev
Bus information: 
Driver name: net_virtio_user
Devargs: path=/tmp/s0,queues=2,queue_size=256
Connect to socket: -1

\tPort id: 0 
\tMAC address: FA:5B:E5:95:6D:C6
\tDevice name: net_virtio_user0
\tDevice speed capability: Autonegotiate (all speeds)`,
  );
});

test('show rxq info, show txq info: the lines that scripts look for, and why a queue is broken', (t) => {
  const queue = {
    queueId: 1,
    mempool: 'mb_pool_0',
    nbDesc: 256,
    freeThresh: 32,
    offloads: 0,
    scattered: true,
    burstMode: 'Scalar mergeable',
    started: true,
    broken: undefined,
  };
  const rx = info.formatRxQueue(0, queue, 2048).split('\n');
  t.is(rx[1], '********************* Infos for port 0 , RX queue 1  *********************');
  for (const line of [
    'Mempool: mb_pool_0',
    'RX scattered packets: on',
    'Number of RXDs: 256',
    'Burst mode: Scalar mergeable',
  ]) {
    t.true(rx.includes(line), line);
  }
  t.true(
    info
      .formatTxQueue(0, { ...queue, broken: 'twice' })
      .endsWith('Number of TXDs: 256\nBurst mode: Scalar mergeable\nBroken: twice'),
  );
});

test('show port N path', (t) => {
  const report: PathReport = {
    recipe: 'packed mergeable',
    rx: 'virtio_recv_mergeable_pkts_packed',
    tx: 'virtio_xmit_pkts_packed',
    rejected: [{ what: 'virtio_recv_pkts_packed', why: 'MRG_RXBUF is negotiated' }],
    features: { offered: 0x500008000n, asked: 0x100008000n, acknowledged: 0x100008000n, refused: [] },
  };
  const text = formatPath(0, report);
  t.true(text.includes('Recipe: packed mergeable\nRx: virtio_recv_mergeable_pkts_packed\n'));
  t.true(text.includes('  virtio_recv_pkts_packed: MRG_RXBUF is negotiated\n'));
  t.true(text.includes('  acknowledged 0x100008000 MRG_RXBUF VERSION_1\n'));
  t.true(text.endsWith('Refused:\n  none'));
});
