/**
 * Commands of dpdk-testpmd, from 22.11 to the newest, that are not supported, by their first words, and why. Syntax as in
 * grammar.ts. Supported commands are tried first: a row here may begin like one of them.
 */
import { matchesBeginning, parseSyntax } from './grammar.js';

const functions = 'ports here have no virtual functions to manage';
const flow = 'ports here have no flow rules';
const traffic = 'ports here have no traffic management';
const meters = 'ports here have no meters';
const dcb = 'ports here have no data centre bridging';
const pause = 'ports here have no Ethernet flow control';
const tunnels = 'tunnels are not parsed, and ports here do not know them';
const split = 'Rx buffers are not split: there is one mempool';
const bonding = 'there is no bonding driver';
const macsec = 'ports here have no MACsec';
const intel = "it is for Intel's NICs";
const mellanox = "it is for NVIDIA's NICs";
const queues = 'the queues of a port start and stop with it (port start, port stop)';
const perQueue = 'offloads are those of a port, the same in all its queues (port config P rx_offload)';
const sizes = 'all queues have the same size: port config all rxd|txd N';
const speed = 'the speed is the devarg speed=';
const gro = 'packets are neither merged nor cut by software here; offloads do it (--enable-lro, tso set)';
const measured = 'neither bursts nor cycles are recorded; `npm run bench` measures';
const eeprom = 'ports here have no EEPROM';
const dump = 'there are no such tables of DPDK here';
const bpf = 'there is no BPF in the data path: a forwarding mode of yours does it (set fwd ./mode.ts)';
const link = 'the other end decides whether the link is up';
const timestamps = 'packets carry no timestamps';
const types = 'packet types are neither found by the device nor kept: the modes look for themselves';
const options = 'it is an option: start testpmd anew with it';

const rows: readonly (readonly [beginning: string, why: string])[] = [
  // control
  ['load', 'files of commands are read at the start: --cmdline-file FILE'],
  ['load_from_file', 'files of commands are read at the start: --cmdline-file FILE'],
  ['sleep', 'commands follow one another at once'],
  // display
  ['(show|clear) port (fdir|dcb_tc)', 'ports here have neither flow director nor data centre bridging'],
  ['clear port (info|summary)', 'there is nothing to clear in it: clear port stats|xstats P'],
  ['show port info <port> representor', functions],
  ['show port <port> (module_eeprom|eeprom)', eeprom],
  ['show port <port> (rxq|txq)', 'descriptors are not shown: show rxq|txq info P Q has what a queue did'],
  ['read (rxd|txd)', 'descriptors are not shown: show rxq|txq info P Q has what a queue did'],
  ['(read|write) (reg|regfield|regbit)', 'registers of devices are the drivers own'],
  ['(show|clear) vf', functions],
  ['show port (meter|tm)', 'ports here have neither meters nor traffic management'],
  ['show port cman', 'ports here have no congestion management'],
  ['show port <port> tx_metadata', 'packets carry no metadata'],
  ['show port <port> ptypes', types],
  ['show port <port> flow', flow],
  ['show port <port> (fec|fec_mode|lanes|affinity|led)', 'ports here have no such thing'],
  ['show port <port> flow_ctrl', pause],
  ['show port <port> (gro|gso)', gro],
  ['show port <port> (queue-region|pctype|mirror)', intel],
  ['show config (rxoffs|rxpkts|rxhdrs)', split],
  ['show config txtimes', timestamps],
  ['show (raw_encap|raw_decap|raw|sample_actions|ipv6_ext_push|ipv6_ext_remove)', flow],
  ['show bonding', bonding],
  ['show bypass', intel],
  ['(dump_physmem|dump_memzone|dump_socket_mem|dump_struct_sizes|dump_ring|dump_mempool|dump_devargs)', dump],
  ['(dump_lcores|dump_log_types|dump_trace)', dump],
  // configuration
  ['set default', 'it would forget what the options asked for: start testpmd anew'],
  ['set log', 'log levels are options: --log-level'],
  ['set (rxoffs|rxpkts|rxhdrs)', split],
  ['set txsplit', 'generated packets have the segments of set txpkts, every one of them'],
  ['set txtimes', timestamps],
  ['set port setup', options],
  ['set link_check', `${options}: --disable-link-check`],
  ['set (tx|all) (loopback|queues)', intel],
  ['set vf', functions],
  ['set tx strict-link-priority', dcb],
  ['set tc', dcb],
  ['vlan set (inner|outer) tpid', 'ports here know no other type of VLAN tag than 0x8100'],
  ['rx_vlan (add|rm) <vlan> port', functions],
  ['rx_vxlan_port', tunnels],
  ['tunnel_tso', tunnels],
  ['set port <port> (gro|gso)', gro],
  ['set (gro|gso)', gro],
  ['set fwd noisy', 'the mode does not exist here; a module of yours can be one (set fwd ./mode.ts)'],
  ['set fwd ieee1588', timestamps],
  ['set fwd (shared_rxq|shared-rxq)', 'Rx queues are not shared between ports'],
  ['set fwd (recycle_mbufs|softnic)', 'the mode does not exist here; io does the same work'],
  ['mac_addr add port', functions],
  ['set port <port> uta', 'ports here have no table of unicast hashes: mac_addr add'],
  ['set (flow_ctrl|pfc_ctrl|pfc_queue_ctrl)', pause],
  ['set port <port> (rxq|txq|queue|vf)', 'ports here have no thresholds, rates or virtual functions'],
  ['set port <port> (fec_mode|lanes|led)', 'ports here have no such thing'],
  ['set port <port> ptype_mask', types],
  ['set port <port> queue-region', intel],
  ['set port (meter|tm)', 'ports here have neither meters nor traffic management'],
  ['set port cman', 'ports here have no congestion management'],
  ['clear port cman', 'ports here have no congestion management'],
  ['set stat_qmap', 'every queue has its own statistics: show port xstats P'],
  ['set xstats-hide-zero', 'show port xstats P shows all of them'],
  ['set (record-core-cycles|record-burst-stats)', measured],
  ['set (link-up|link-down)', link],
  ['set bypass', intel],
  ['set macsec', macsec],
  ['set dev_led', 'ports here have no such thing'],
  // ports
  ['port config <port> (speed|lanes)', speed],
  ['port config <port> loopback', 'ports here cannot loop back'],
  ['port config all drop-en', 'it is always on: a device drops what finds no buffer'],
  ['port config all (txpt|txht|txwt|rxpt|rxht|rxwt|txrst)', 'ports here have no such threshold'],
  ['port config all (txfreet|rxfreet)', `${options}: --rxfreet, --txfreet`],
  ['port config <port> dcb', dcb],
  ['port config <port> (rxq|txq) <queue> ring_size', sizes],
  ['port config <port> (rxq|txq|txq_affinity)', sizes],
  ['port config <port> (udp_tunnel_port|geneve_parsed_port)', tunnels],
  ['port config <port> (tx_metadata|dynf)', 'packets carry no metadata'],
  ['port config <port> pctype', intel],
  ['port config bypass', intel],
  ['port <port> (rxq|txq) <queue> (rx_offload|tx_offload)', perQueue],
  ['port <port> (rxq|txq) <queue> setup', sizes],
  ['port <port> (rxq|txq)', queues],
  ['port cleanup', 'mbufs are freed as their queue goes on'],
  ['port tm', traffic],
  ['(bpf-load|bpf-unload)', bpf],
  ['mlx5', mellanox],
  ['(cpfl|ixgbe|i40e)', intel],
  ['device (attach|detach)', 'devices come and go with their ports: port attach, port detach'],
  // filters, flows, meters, traffic management, drivers
  ['flow', flow],
  ['async', flow],
  ['(flow_director_filter|flow_director_mask|flow_director_flex_payload|global_config|set_hash_input_set)', flow],
  ['(ethertype_filter|syn_filter|flex_filter|2tuple_filter|5tuple_filter|queue_rate)', flow],
  ['set (flex_pattern|conntrack|sample_actions|ipv6_ext_push|ipv6_ext_remove)', flow],
  ['set (raw_encap|raw_decap|raw_sample)', flow],
  ['set (vxlan|vxlan-with-vlan|vxlan-tos-ttl|nvgre|nvgre-with-vlan)', flow],
  ['set (l2_encap|l2_encap-with-vlan|l2_decap|l2_decap-with-vlan)', flow],
  ['set (mplsogre_encap|mplsogre_encap-with-vlan|mplsogre_decap|mplsogre_decap-with-vlan)', flow],
  ['set (mplsoudp_encap|mplsoudp_encap-with-vlan|mplsoudp_decap|mplsoudp_decap-with-vlan)', flow],
  ['(add|del|create|enable|disable|get) port meter', meters],
  ['(add|del|suspend|resume) port tm', traffic],
  ['(create|add|remove) (bonded|bonding)', bonding],
  ['set bonding', bonding],
  ['ddp', intel],
  ['ptype', intel],
  ['help (filters|traffic_management|devices|drivers)', 'nothing of it is supported: help lists what is'],
];

const table = rows.map(([beginning, why]) => ({ tokens: parseSyntax(beginning), why }));

const rowOf = (words: readonly string[]) => table.find(({ tokens }) => matchesBeginning(tokens, words));

/** Why a command of dpdk-testpmd is not supported, in one sentence; undefined when dpdk-testpmd has no such command. */
export function whyUnsupported(words: readonly string[]): string | undefined {
  const row = rowOf(words);
  return row && `${words.slice(0, row.tokens.length).join(' ')} is not supported: ${row.why}`;
}

/** Why a forwarding mode of dpdk-testpmd is not supported; undefined for other modes. */
export function whyNoMode(mode: string): string | undefined {
  return rowOf(['set', 'fwd', mode])?.why;
}
