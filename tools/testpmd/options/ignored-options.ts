/** dpdk-testpmd's own options, from 22.11 to the newest, that have no effect here, and their valid values. */
import { ethLinkSpeed, flag, optional, value, type IgnoredOptions } from '../../common/ignored-options.js';
import { matching, number, parsed, words } from '../../common/value-checks.js';
import { parseHex, parseNumberList, U16_MAX, U32_MAX } from '../../common/values.js';

const hugepages = 'memory is one sealed memfd';
const process = 'there is one process';
const tunnels = 'tunnels are not parsed';
const threshold = 'ports here have no such threshold';
const hardware = 'ports here have no such offload';
const flow = 'ports here have no flow rules';
const numa = 'memory comes from the nearest node';
const noisy = 'the noisy engine does not exist';

const lcore = number(0, 1023);
const port = number(0, U16_MAX);
const count = number(0, 0x7fffffff);
const numbers = parsed((text) => parseNumberList(text), 'numbers, as in 64 or 64,128');
const event = words(
  'unknown', 'intr_lsc', 'queue_state', 'intr_reset', 'vf_mbox', 'ipsec', 'macsec', 'intr_rmv', 'dev_probed',
  'dev_released', 'flow_aged', 'err_recovering', 'recovery_success', 'recovery_failed', 'all',
); // prettier-ignore
const upTo255 = number(0, 255);

export const ignoredAppOptions: IgnoredOptions = {
  numa: flag(numa),
  'no-numa': flag(numa),
  mlockall: flag('memory is not locked'),
  'no-mlockall': flag('memory is not locked'),
  'mp-anon': flag(hugepages),
  'enable-hw-vlan-extend': flag(hardware),
  'enable-hw-qinq-strip': flag(hardware),
  'enable-rx-timestamp': flag(hardware),
  'enable-drop-en': flag('it is always on'),
  'enable-rss': flag('several queues have it where the device does, and one queue has nothing to spread to'),
  'disable-crc-strip': flag('frames here have no CRC'),
  'rss-level-inner': flag('virtio hashes the outer headers'),
  'rss-level-outer': flag('virtio hashes the outer headers in any case'),
  'multi-rx-mempool': flag('there is one mempool'),
  'no-rmv-interrupt': flag('removal is not signalled'),
  'flow-isolate-all': flag(flow),
  'disable-flow-flush': flag(flow),
  'no-iova-contig': flag(hugepages),
  'record-core-cycles': flag('cycles are not recorded'),
  'record-burst-stats': flag('bursts are not recorded'),
  'port-numa-config': value(
    numa,
    matching(/^\(\d{1,5},\d{1,3}\)(,\(\d{1,5},\d{1,3}\))*$/, '(port,socket)[,(port,socket)...]'),
  ),
  'ring-numa-config': value(
    numa,
    matching(
      /^\(\d{1,5},[123],\d{1,3}\)(,\(\d{1,5},[123],\d{1,3}\))*$/,
      '(port,flag,socket)[,(port,flag,socket)...] with a flag of 1 to 3',
    ),
  ),
  'socket-num': value(numa, number(0, 255)),
  'num-procs': value(process, number(1, U16_MAX)),
  'proc-id': value(process, number(0, U16_MAX)),
  'display-xstats': value(
    '`show port xstats` shows all of them',
    matching(/^[\w,]+$/, 'names of statistics, as in rx_good_packets,tx_good_packets'),
  ),
  'max-lro-pkt-size': value('the other end decides how long packets get', number(0, U32_MAX)),
  'flowgen-clones': value('flowgen makes each packet anew', number(0, U16_MAX)),
  hairpinq: value(hardware, number(0, U16_MAX)),
  'hairpin-mode': value(hardware, number(0, U32_MAX)),
  'hairpin-map': value(hardware, matching(/^\d{1,5}(:\d{1,5})*$/, 'numbers with colons between them, as in 0:1:1:1:2')),
  rxpt: value(threshold, upTo255),
  rxht: value(threshold, upTo255),
  rxwt: value(threshold, upTo255),
  txpt: value(threshold, upTo255),
  txht: value(threshold, upTo255),
  txwt: value(threshold, upTo255),
  txrst: value(threshold, number(0, 0x7fff)),
  rxoffs: value(hardware, numbers),
  rxpkts: value(hardware, numbers),
  rxhdrs: value(hardware, matching(/^[a-z][\w-]*(,[a-z][\w-]*)*$/, 'names of headers, as in eth,ipv4')),
  'eth-link-speed': ethLinkSpeed,
  'bitrate-stats': value('`show port stats` has the rates', lcore),
  latencystats: value('latencies are not measured', lcore),
  'print-event': value('events of links and queues are always printed', event),
  'mask-event': value('events of links and queues are always printed', event),
  'vxlan-gpe-port': value(tunnels, port),
  'geneve-parsed-port': value(tunnels, port),
  'mp-alloc': value(hugepages, words('native', 'anon', 'xmem', 'xmemhuge', 'xbuf')),
  'rx-mq-mode': value(
    'ports here have RSS, or none',
    parsed((text) => parseHex(text, 7), 'hexadecimal bits, from 0 to 0x7'),
  ),
  'noisy-forward-mode': value(noisy, words('io', 'mac', 'macswap', '5tswap')),
  'noisy-tx-sw-buffer-size': value(noisy, count),
  'noisy-tx-sw-buffer-flushtime': value(noisy, count),
  'noisy-lkup-memory': value(noisy, count),
  'noisy-lkup-num-writes': value(noisy, count),
  'noisy-lkup-num-reads': value(noisy, count),
  'noisy-lkup-num-reads-writes': value(noisy, count),
  'rxq-share': optional(hardware, number(0, U32_MAX)),
};
