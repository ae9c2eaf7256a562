/**
 * Options of dpdk-testpmd 22.11 that have no meaning here. They are accepted, with one line each, so that command
 * lines made for it run unchanged.
 */

/** Option names (without dashes) -> why nothing happens. */
type Ignored = Readonly<Record<string, string>>;

const hugepages = 'memory is one sealed memfd';
const process = 'there is one process';
const build = 'drivers are built in';
const trace = 'there is no tracing';
const noPci = 'there is no PCI driver yet';
const csum = 'the csum engine does not exist yet';
const threshold = 'virtio has no such threshold';
const hardware = 'virtio has no such offload';
const flow = 'virtio has no flow rules';
const numa = 'memory comes from the nearest node';
const noisy = 'the noisy engine does not exist yet';

export const ealFlags: Ignored = {
  'in-memory': hugepages,
  'single-file-segments': 'it is always so',
  'legacy-mem': hugepages,
  'match-allocations': hugepages,
  'huge-unlink': hugepages,
  'huge-worker-stack': 'worker stacks are Node.js ones',
  'no-hpet': 'the clock is CLOCK_MONOTONIC',
  'no-shconf': 'no files are shared',
  'no-pci': noPci,
  'create-uio-dev': noPci,
  'vmware-tsc-map': 'the clock is CLOCK_MONOTONIC',
  telemetry: 'there is no telemetry socket',
  'no-telemetry': 'there is no telemetry socket',
};

export const ealValues: Ignored = {
  s: 'there are no service cores',
  S: 'there are no service cores',
  n: 'the number of memory channels does not matter',
  r: 'the number of memory ranks does not matter',
  d: build,
  b: noPci,
  block: noPci,
  'huge-dir': hugepages,
  'socket-limit': hugepages,
  'base-virtaddr': "addresses are the kernel's choice",
  'iova-mode': 'vhost-user needs no IOVA mode',
  'mbuf-pool-ops-name': 'there is one kind of mempool',
  'proc-type': process,
  syslog: 'notices go to stderr',
  trace,
  'trace-dir': trace,
  'trace-bufsz': trace,
  'trace-mode': trace,
  'vfio-intr': noPci,
  'vfio-vf-token': noPci,
};

/** Options of every DPDK command line: no line is printed for them. */
export const silent = new Set([
  'n',
  'no-pci',
  'no-telemetry',
  'telemetry',
  'in-memory',
  'single-file-segments',
  'no-shconf',
]);

export const appFlags: Ignored = {
  numa,
  'no-numa': numa,
  mlockall: 'memory is not locked',
  'no-mlockall': 'memory is not locked',
  'enable-hw-vlan-filter': hardware,
  'enable-hw-vlan-extend': hardware,
  'enable-hw-qinq-strip': hardware,
  'enable-rx-timestamp': hardware,
  'enable-drop-en': 'it is always so',
  'disable-crc-strip': 'virtio frames have no CRC',
  'disable-rss': 'RSS does not exist yet',
  'rss-ip': 'RSS does not exist yet',
  'rss-udp': 'RSS does not exist yet',
  'rss-level-inner': 'RSS does not exist yet',
  'rss-level-outer': 'RSS does not exist yet',
  'multi-rx-mempool': 'there is one mempool',
  'no-rmv-interrupt': 'removal is not signalled',
  'flow-isolate-all': flow,
  'hot-plug': 'virtio_user ports reconnect by themselves',
  'no-iova-contig': hugepages,
  'record-core-cycles': 'cycles are not recorded',
  'record-burst-stats': 'bursts are not recorded',
};

export const appValues: Ignored = {
  'port-numa-config': numa,
  'ring-numa-config': numa,
  'socket-num': numa,
  'num-procs': process,
  'proc-id': process,
  'display-xstats': '`show port xstats` shows all of them',
  'max-lro-pkt-size': hardware,
  'flowgen-clones': 'flowgen makes each packet anew',
  hairpinq: hardware,
  'hairpin-mode': hardware,
  rxpt: threshold,
  rxht: threshold,
  rxwt: threshold,
  txpt: threshold,
  txht: threshold,
  txwt: threshold,
  txrst: threshold,
  rxoffs: hardware,
  rxpkts: hardware,
  rxhdrs: hardware,
  'rxq-share': hardware,
  'eth-link-speed': 'the speed is the devarg speed=',
  'bitrate-stats': '`show port stats` has the rates',
  latencystats: csum,
  'print-event': 'link events are always printed',
  'mask-event': 'link events are always printed',
  'vxlan-gpe-port': csum,
  'geneve-parsed-port': csum,
  'mp-alloc': hugepages,
  'rx-mq-mode': 'RSS does not exist yet',
  'noisy-tx-sw-buffer-size': noisy,
  'noisy-tx-sw-buffer-flushtime': noisy,
  'noisy-lkup-memory': noisy,
  'noisy-lkup-num-writes': noisy,
  'noisy-lkup-num-reads': noisy,
  'noisy-lkup-num-reads-writes': noisy,
};
