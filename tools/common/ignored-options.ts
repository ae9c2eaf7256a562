/**
 * Options of dpdk-testpmd, from 22.11 to the newest, that have no meaning here. They are accepted, with one line each, so
 * that command lines made for it run unchanged; values that it refuses are refused. See value-checks.ts.
 */

/** Option names (without dashes) -> why nothing happens. */
export type Ignored = Readonly<Record<string, string>>;

const hugepages = 'memory is one sealed memfd';
const process = 'there is one process';
const build = 'drivers are built in';
const trace = 'there is no tracing';
const tunnels = 'tunnels are not parsed';
const threshold = 'virtio has no such threshold';
const hardware = 'virtio has no such offload';
const flow = 'virtio has no flow rules';
const numa = 'memory comes from the nearest node';
const noisy = 'the noisy engine does not exist';
const stderr = 'notices go to stderr as they are';

export const ealFlags: Ignored = {
  'in-memory': hugepages,
  'single-file-segments': 'there is one memory file in any case',
  'legacy-mem': hugepages,
  'match-allocations': hugepages,
  'no-hpet': 'the clock is CLOCK_MONOTONIC',
  'no-shconf': 'no files are shared',
  'create-uio-dev': 'udev, or devtmpfs, makes /dev/uioN',
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
  'huge-dir': hugepages,
  'socket-limit': hugepages,
  'base-virtaddr': "addresses are the kernel's choice",
  'iova-mode': 'it follows from what the devices need',
  'mbuf-pool-ops-name': 'there is one kind of mempool',
  syslog: 'notices go to stderr',
  trace,
  'trace-dir': trace,
  'trace-bufsz': trace,
  'trace-mode': trace,
  'vfio-intr': 'MSI-X is used where the device has it',
  'vfio-vf-token': 'virtual functions need no token here',
};

/** Their value may be left out. */
export const ealOptional: Ignored = {
  'huge-unlink': hugepages,
  'huge-worker-stack': 'worker stacks are Node.js ones',
  'log-color': stderr,
  'log-timestamp': stderr,
  R: 'lcores have the ids that -l gives them',
};

/** Options of every DPDK command line: no line is printed for them. */
export const silent = new Set(['n', 'no-telemetry', 'telemetry', 'in-memory', 'single-file-segments', 'no-shconf']);

export const appFlags: Ignored = {
  numa,
  'no-numa': numa,
  mlockall: 'memory is not locked',
  'no-mlockall': 'memory is not locked',
  'mp-anon': hugepages,
  'enable-hw-vlan-extend': hardware,
  'enable-hw-qinq-strip': hardware,
  'enable-rx-timestamp': hardware,
  'enable-drop-en': 'it is always on',
  'enable-rss': 'several queues have it where the device does, and one queue has nothing to spread to',
  'disable-crc-strip': 'virtio frames have no CRC',
  'rss-level-inner': 'virtio hashes the outer headers',
  'rss-level-outer': 'virtio hashes the outer headers in any case',
  'multi-rx-mempool': 'there is one mempool',
  'no-rmv-interrupt': 'removal is not signalled',
  'flow-isolate-all': flow,
  'disable-flow-flush': flow,
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
  'max-lro-pkt-size': 'the other end decides how long packets get',
  'flowgen-clones': 'flowgen makes each packet anew',
  hairpinq: hardware,
  'hairpin-mode': hardware,
  'hairpin-map': hardware,
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
  'eth-link-speed': 'the speed is the devarg speed=',
  'bitrate-stats': '`show port stats` has the rates',
  latencystats: 'latencies are not measured',
  'print-event': 'link events are always printed',
  'mask-event': 'link events are always printed',
  'vxlan-gpe-port': tunnels,
  'geneve-parsed-port': tunnels,
  'mp-alloc': hugepages,
  'rx-mq-mode': 'virtio has RSS, or none',
  'noisy-forward-mode': noisy,
  'noisy-tx-sw-buffer-size': noisy,
  'noisy-tx-sw-buffer-flushtime': noisy,
  'noisy-lkup-memory': noisy,
  'noisy-lkup-num-writes': noisy,
  'noisy-lkup-num-reads': noisy,
  'noisy-lkup-num-reads-writes': noisy,
};

/** Their value may be left out. */
export const appOptional: Ignored = { 'rxq-share': hardware };
