/**
 * net_pcap as a driver of ports: capture files are received, and what is sent is written to capture files. Its bursts: queue.ts.
 *
 * Files are open while the port is started: `start` opens them, `stop` closes them, and so does `release`. A port that is
 * started again begins its Rx files again and overwrites its Tx files, as in DPDK.
 */
import { closeSync, fstatSync } from 'node:fs';
import { claimsNames } from '../../devargs/device-names.js';
import { Absent, type PortDriver, type PortHost } from '../../port/device.js';
import type { PortFilters } from '../../port/parts.js';
import { TX_OFFLOAD_MULTI_SEGS, type Link } from '../../port/types.js';
import { formatMac } from '../../wire/mac.js';
import { receivesAll } from '../../port/receives-all.js';
import { VdevDevice, type Vdev } from '../vdev.js';
import { parsePcap, type PcapDevargs } from './devargs.js';
import { checkInput, openInput, openOutput, titleOf, type CaptureFile } from './files.js';
import type { PcapQueueData } from './queue.js';
import { captureState, FINISHED, newCaptureState, REMOVED, type CaptureState } from './state.js';
import { errnoNumber, noteTrouble, troubleOf, WRITE_FAILED } from './trouble.js';

const MODULE = new URL('./queue.js', import.meta.url).href;

/** A file of a queue that is configured. */
interface UsedFile {
  readonly file: CaptureFile;
  readonly queue: number;
  readonly state: CaptureState;
  /** Undefined while it is closed. */
  fd: number | undefined;
  /** The warnings that were logged since it was opened. */
  readonly told: Set<string>;
  /** Rx: listeners know that nothing follows any more. */
  ended: boolean;
}

function filesOf({ name, rx, tx }: PcapDevargs, kind: 'rx' | 'tx'): CaptureFile[] {
  const key = `${kind}_pcap` as const;
  return (kind === 'rx' ? rx : tx).map((path) => ({ device: name, key, path }));
}

const newFile = (file: CaptureFile, queue: number, state: SharedArrayBuffer): UsedFile => ({
  ...{ file, queue, state: captureState(state), fd: undefined, told: new Set(), ended: false },
});

/** Opens files, those that are received first. @throws VirtioPmdError ECONFIG, with all of them closed */
function openFiles(files: readonly UsedFile[]): void {
  const fds: number[] = [];
  try {
    for (const used of files) {
      const { file, state } = used;
      used.fd = file.key === 'rx_pcap' ? openInput(file, state) : openOutput(file, fds, state);
      used.told.clear();
      used.ended = false;
      fds.push(used.fd);
    }
  } catch (error) {
    closeFiles(files);
    throw error;
  }
}

/** Never throws: a file system that reports an error of a write at close(2) has closed the file too. */
function closeFiles(files: readonly UsedFile[]): void {
  for (const used of files) {
    const { fd } = used;
    used.fd = undefined;
    try {
      if (fd !== undefined) closeSync(fd);
    } catch (error) {
      noteTrouble(used.state, WRITE_FAILED, errnoNumber(error));
    }
  }
}

function isRemoved(fd: number): boolean {
  try {
    return fstatSync(fd).nlink === 0;
  } catch {
    return true; // of a network file system: its server says that there is no such file
  }
}

class PcapVdev implements Vdev {
  readonly driverName = 'net_pcap';
  /** As DPDK makes it, which counts the devices: 02, "pcap", the number. */
  readonly mac: string;
  readonly maxRxQueues: number;
  readonly maxTxQueues: number;
  readonly limits = { maxRxPktLen: 0xffffffff, chains: true };
  readonly txOffloadCapa = TX_OFFLOAD_MULTI_SEGS;
  readonly module = MODULE;
  readonly burstMode = 'eth_pcap';
  readonly filters: PortFilters;
  readonly rss = new Absent('each queue has a file of its own');
  readonly interrupts = new Absent('a file does not announce its packets');
  readonly link: Link = { up: true, speed: 10000 };
  /** Of the queues that are configured, Rx first. */
  private files: readonly UsedFile[] = [];

  constructor(
    private readonly host: PortHost,
    private readonly args: PcapDevargs,
  ) {
    const { rx, tx, index } = args;
    this.mac = formatMac([0x02, ...Buffer.from('pcap'), index & 0xff]);
    this.filters = receivesAll(this.mac, 'its packets come from files');
    this.maxRxQueues = rx.length || tx.length;
    this.maxTxQueues = tx.length || rx.length;
  }

  queueData(kind: 'rx' | 'tx', queue: number): PcapQueueData & { readonly path: string } {
    const file = filesOf(this.args, kind)[queue];
    const infinite = this.args.infiniteRx;
    if (file === undefined) {
      return { state: undefined, infinite, path: kind === 'rx' ? 'eth_null_rx' : 'eth_tx_drop' };
    }
    const state = newCaptureState();
    this.files = [...this.files, newFile(file, queue, state)];
    const rxPath = infinite ? 'eth_pcap_rx_infinite' : 'eth_pcap_rx';
    return { state, infinite, path: kind === 'rx' ? rxPath : 'eth_pcap_tx_dumper' };
  }

  start(): void {
    closeFiles(this.files); // an lcore that did not leave its queue kept them open
    openFiles(this.files);
  }

  stop(): void {
    this.look();
    closeFiles(this.files);
  }

  release(): void {
    closeFiles(this.files);
    this.files = [];
  }

  close(): void {
    this.release();
  }

  /** Looks what the queues have found, or that they have come to the end, and whether files that are written to are still there. */
  look(): void {
    for (const used of this.files) {
      if (used.fd === undefined) continue;
      const why = troubleOf(used.state);
      if (why !== undefined) this.warn(used, why);
      if (used.file.key === 'rx_pcap' && used.state.words[FINISHED] !== 0 && !used.ended) {
        used.ended = true;
        this.host.emit('queueState', 'rx', used.queue, false);
      }
      if (used.file.key !== 'tx_pcap' || !isRemoved(used.fd)) continue;
      used.state.words[REMOVED] = 1;
      this.warn(used, 'was removed: packets are dropped, and counted as errors, until the port is started again');
    }
  }

  private warn({ file, told }: UsedFile, why: string): void {
    if (told.has(why)) return;
    told.add(why);
    this.host.log('warning', `port ${this.host.id}: ${titleOf(file)} ${why}`);
  }

  privateInfo(): readonly (readonly [string, string])[] {
    const { rx, tx, infiniteRx } = this.args;
    const lines = (kind: string, files: readonly string[]) =>
      files.map((file, queue) => [`${kind}_q${queue}`, file] as const);
    return [...lines('rx', rx), ...lines('tx', tx), ['infinite_rx', infiniteRx ? '1' : '0']];
  }
}

/** Checks all files, and makes those to write to, when a device is attached. @throws VirtioPmdError ECONFIG */
function checkFiles(args: PcapDevargs): void {
  const inputs = filesOf(args, 'rx');
  for (const file of inputs) checkInput(file, args.infiniteRx);
  const files = [...inputs, ...filesOf(args, 'tx')].map((file, i) => newFile(file, i, newCaptureState()));
  openFiles(files);
  closeFiles(files);
}

const NAMES = ['net_pcap', 'eth_pcap'] as const;

/** Claims `net_pcapN`, and `eth_pcapN`, DPDK's older name. */
export const netPcap: PortDriver = {
  bus: 'vdev',
  names: NAMES,
  queueModule: MODULE,
  claims: claimsNames(NAMES),
  nameOf: (devargs) => parsePcap(devargs).name,
  probe: async (_, devargs) => {
    const args = parsePcap(devargs);
    await Promise.resolve();
    checkFiles(args);
    return { open: (host) => new VdevDevice(host, new PcapVdev(host, args)), close: () => undefined };
  },
};
