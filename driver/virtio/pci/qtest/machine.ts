/**
 * One emulated machine: the connection to QEMU's qtest socket, the file that is its RAM, the network functions on its bus 0
 * with their users, and the bridge. QEMU serves one connection at a time, so all functions of a machine share one object.
 *
 * RAM below 16 MiB is not used, as firmware data and the VGA hole are there; only the words for MSI-X messages are. From 16 MiB
 * on all of it is packet memory.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { SystemError, VirtioPmdError } from '../../../../native/errors.js';
import { createEventFd } from '../../../../native/event.js';
import { closeFd, mapFd, newHolders, unmap, viewsOf, type Mapping } from '../../../../native/region.js';
import { connectUnix } from '../../../../native/socket.js';
import type { RamFile } from '../../../eal/addressing.js';
import * as P from '../../../wire/linux/pci-regs.js';
import { allOnes } from '../bar.js';
import type { Width } from '../function.js';
import { isVirtioNet } from '../ids.js';
import type { ConfigSpace, Window } from './bars.js';
import type { BridgeData } from './bridge.js';
import { QtestSocket, type QtestLink, type Space } from './protocol.js';
import {
  BRIDGE,
  BridgeTable,
  ENDED,
  MAX_FUNCTIONS,
  MAX_VECTORS,
  NOT_STARTED,
  sharedBytes,
  SharedMutex,
  STARTING,
  STOP,
  TABLE_LOCK,
} from './shared.js';

/**
 * Bridges that have not loaded yet. They keep the process alive, as ending it meanwhile would crash: Node stops the thread, and
 * koffi aborts when a thread that is being stopped loads it.
 */
const loading = new Set<Worker>();

/** Resolves when every bridge has loaded: await it before process.exit(). */
export async function bridgesLoaded(): Promise<void> {
  while (loading.size > 0) await sleep(1);
}

const MIB = 1024 * 1024;
/** Address in RAM of the MSI-X messages: a page for each function. */
const MESSAGES = MIB;
const MESSAGES_BYTES = MAX_FUNCTIONS * MAX_VECTORS * 4;
const PACKET_MEMORY = 16 * MIB;
const LEAST_RAM = 32 * MIB;
/** Above this size a part of the RAM may be at another address than in the file. */
const MOST_RAM = 2048 * MIB;

/** The PCI hole below 4 GiB, and the I/O ports that firmware assigns to PCI. */
const MEMORY_WINDOW = { at: 0xe0000000, byteLength: 32 * MIB };
const IO_WINDOW = { at: 0xc000, byteLength: 0x400 };

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;

/** Bit of the header type. */
const MULTIFUNCTION = 0x80;

const CLOSE_TIMEOUT_MS = 2000;
const DEFAULT_TIMEOUT_MS = 5000;

/** Options of the connection to a machine. */
export interface MachineOptions {
  /** Milliseconds that one answer of QEMU may take. Default 5000. */
  readonly timeoutMs?: number;
  readonly log?: (line: string) => void;
}

/** Machines that are in use, by socket. */
const machines = new Map<string, QtestMachine>();

/** The use of one function of a machine. */
export interface Claim {
  readonly slot: number;
  /** Device and function number, as in `04.0`. */
  readonly address: string;
  readonly config: ConfigSpace;
  readonly window: Window;
  /** The words for the function's MSI-X messages: their address for the device, and in this process. */
  readonly messages: { readonly address: number; readonly words: Int32Array };
}

/** A machine; `QtestMachine` objects are shared by all functions of one socket. */
export class QtestMachine {
  readonly ram: RamFile;
  private readonly socket: QtestSocket;
  private readonly link: QtestLink;
  private readonly table: BridgeTable;
  private readonly lock: SharedMutex;
  private readonly words: Int32Array;
  private readonly messages: Mapping;
  /** By slot: the address of the function that uses it. */
  private readonly claims: (string | undefined)[] = Array.from({ length: MAX_FUNCTIONS });
  /** Called at the end. */
  private readonly undo: (() => void)[] = [];
  private closed = false;

  /**
   * The machine behind `socketPath`: the one that this process uses already, or a new connection.
   * @throws VirtioPmdError ESOCKET, ESYSTEM, ECONFIG, EPEER
   */
  static open(socketPath: string, ramPath: string, options: MachineOptions = {}): QtestMachine {
    const key = resolve(socketPath);
    const known = machines.get(key);
    if (known === undefined || known.gone) return new QtestMachine(key, resolve(ramPath), options);
    if (known.ramPath === resolve(ramPath)) return known;
    throw new VirtioPmdError(
      'ECONFIG',
      `ram=${ramPath}: the QEMU at ${socketPath} is in use with ram=${known.ramPath}: give the same file`,
    );
  }

  private constructor(
    readonly socketPath: string,
    readonly ramPath: string,
    private readonly options: MachineOptions,
  ) {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const fd = connect(socketPath);
    this.undo.push(() => closeFd(fd));
    this.link = { fd, shared: new SharedArrayBuffer(sharedBytes), timeoutMs };
    this.words = new Int32Array(this.link.shared);
    this.socket = new QtestSocket(this.link);
    this.table = new BridgeTable(this.words);
    this.lock = new SharedMutex(this.words, TABLE_LOCK);
    try {
      this.ram = openRam(ramPath);
      this.undo.push(() => closeSync(this.ram.fd));
      const address = mapFd(this.ram.fd, MESSAGES_BYTES, MESSAGES);
      this.messages = { address, byteLength: MESSAGES_BYTES, holders: newHolders() };
      this.undo.push(() => unmap(this.messages));
      this.checkRam();
      // functions that an earlier program left enabled might overlap the new addresses of another
      for (const address of this.networkFunctions()) this.config(address).writeConfig(P.PCI_COMMAND, 2, 0);
      if (this.gone) throw this.goneError();
    } catch (error) {
      this.release();
      throw error;
    }
    machines.set(socketPath, this);
  }

  get gone(): boolean {
    return this.closed || this.socket.gone;
  }

  read(space: Space, address: number, width: Width): number {
    return this.closed ? allOnes(width) : this.socket.read(space, address, width);
  }

  write(space: Space, address: number, width: Width, value: number): void {
    if (!this.closed) this.socket.write(space, address, width, value);
  }

  /** Calls `undo` once no port uses the machine, after the machine itself has been closed. */
  atEnd(undo: () => void): void {
    this.undo.unshift(undo);
  }

  // ---- functions -----------------------------------------------------------------------------------------------------

  /**
   * Takes the network function at `address` (as in `04.0`), or the first that no port uses.
   * @throws VirtioPmdError ECONFIG when there is none; EPEER when QEMU is gone
   */
  claim(address?: string): Claim {
    const there = this.networkFunctions();
    if (this.gone) throw this.goneError();
    const free = there.filter((one) => !this.claims.includes(one));
    const wanted = address ?? free[0];
    const slot = this.claims.indexOf(undefined);
    if (wanted === undefined || slot < 0 || !free.includes(wanted)) {
      const list = there.map((one) => (free.includes(one) ? one : `${one} (in use)`)).join(', ');
      const found = list === '' ? 'there is none: start QEMU with -device virtio-net-pci' : `there are ${list}`;
      const what =
        address === undefined ? 'no virtio-net function that is free' : `no free virtio-net function ${address}`;
      throw new VirtioPmdError('ECONFIG', `the QEMU at ${this.socketPath} has ${what} on bus 0; ${found}`);
    }
    this.claims[slot] = wanted;
    const at = slot * MAX_VECTORS * 4;
    return {
      slot,
      address: wanted,
      config: this.config(wanted),
      window: {
        memory: MEMORY_WINDOW.at + slot * MEMORY_WINDOW.byteLength,
        memoryBytes: MEMORY_WINDOW.byteLength,
        io: IO_WINDOW.at + slot * IO_WINDOW.byteLength,
        ioBytes: IO_WINDOW.byteLength,
      },
      messages: {
        address: MESSAGES + at,
        words: viewsOf(this.messages).i32.subarray(at >> 2, (at >> 2) + MAX_VECTORS),
      },
    };
  }

  /** Releases a function; the last one closes the machine. Its doorbells must not be used any more. */
  unclaim({ slot }: Claim): void {
    if (this.closed || this.claims[slot] === undefined) return;
    this.claims[slot] = undefined;
    for (const fd of this.lock.run(() => this.table.clear(slot))) closeFd(fd);
    this.closeIfUnused();
  }

  /** Network functions on bus 0, ordered by address. */
  private networkFunctions(): string[] {
    const found: string[] = [];
    for (let device = 0; device < 32; device++) {
      const addressOf = (fn: number) => `${device.toString(16).padStart(2, '0')}.${fn}`;
      const first = this.config(addressOf(0));
      if (first.readConfig(P.PCI_VENDOR_ID, 2) === 0xffff) continue;
      const functions = first.readConfig(P.PCI_HEADER_TYPE, 1) & MULTIFUNCTION ? 8 : 1;
      for (let fn = 0; fn < functions; fn++) {
        const id = this.config(addressOf(fn)).readConfig(P.PCI_VENDOR_ID, 4);
        if (isVirtioNet({ vendor: id & 0xffff, device: id >>> 16 })) found.push(addressOf(fn));
      }
    }
    return found;
  }

  private config(address: string): ConfigSpace {
    const device = parseInt(address, 16);
    const fn = Number(address.at(-1));
    const select = (offset: number) => {
      const word = 0x80000000 + (device << 11) + (fn << 8) + (offset & 0xfc);
      this.write('io', CONFIG_ADDRESS, 4, word);
    };
    return {
      readConfig: (offset, width) => {
        select(offset);
        return this.read('io', CONFIG_DATA + (offset & 3), width);
      },
      writeConfig: (offset, width, value) => {
        select(offset);
        this.write('io', CONFIG_DATA + (offset & 3), width, value);
      },
    };
  }

  // ---- the bridge ----------------------------------------------------------------------------------------------------

  /** @returns an eventfd; a signal to it writes `value`, 2 bytes, to `address`. @throws VirtioPmdError ECONFIG */
  doorbell({ slot }: Claim, space: Space, address: number, value: number): number {
    const fd = createEventFd();
    if (this.lock.run(() => this.table.addDoorbell(slot, { fd, space, address, value }))) {
      this.startBridge();
      return fd;
    }
    closeFd(fd);
    throw new VirtioPmdError('ECONFIG', `too many doorbells on ${this.socketPath}`);
  }

  /** From now on message i of the function signals `fds[i]`. */
  setVectors({ slot, messages }: Claim, fds: readonly number[]): void {
    if (this.closed) return;
    this.lock.run(() => {
      messages.words.fill(0);
      this.table.setVectors(slot, fds);
    });
    if (fds.length > 0) this.startBridge();
  }

  private startBridge(): void {
    if (Atomics.compareExchange(this.words, BRIDGE, NOT_STARTED, STARTING) !== NOT_STARTED) return;
    const workerData: BridgeData = { link: this.link, messages: this.messages };
    const worker = new Worker(new URL('./bridge.js', import.meta.url), { workerData, name: 'qtest bridge' });
    loading.add(worker);
    const loaded = () => {
      loading.delete(worker);
      worker.unref();
    };
    worker.once('message', loaded).once('exit', loaded);
    worker.on('error', (error) => {
      Atomics.store(this.words, BRIDGE, ENDED);
      this.options.log?.(`the bridge to the QEMU at ${this.socketPath} has failed: ${error.message}`);
    });
  }

  private stopBridge(): void {
    Atomics.store(this.words, STOP, 1);
    Atomics.notify(this.words, STOP);
    // a bridge that has not loaded yet ends as soon as it has
    if (Atomics.compareExchange(this.words, BRIDGE, STARTING, ENDED) === STARTING) return;
    const deadline = performance.now() + CLOSE_TIMEOUT_MS + this.link.timeoutMs;
    for (;;) {
      const state = Atomics.load(this.words, BRIDGE);
      const left = deadline - performance.now();
      if (state === NOT_STARTED || state === ENDED || left <= 0) return;
      Atomics.wait(this.words, BRIDGE, state, left);
    }
  }

  // ---- the end -------------------------------------------------------------------------------------------------------

  /** Ends the connection when no function is in use. */
  closeIfUnused(): void {
    if (this.closed || this.claims.some((claim) => claim !== undefined)) return;
    this.stopBridge();
    this.release();
  }

  private release(): void {
    this.closed = true;
    if (machines.get(this.socketPath) === this) machines.delete(this.socketPath);
    for (const undo of this.undo.reverse()) undo();
    this.undo.length = 0;
  }

  private goneError(): VirtioPmdError {
    return new VirtioPmdError(
      'EPEER',
      `the QEMU at ${this.socketPath} cannot be used: ${this.socket.whyGone}; is it running, without -S, and no other program connected to it?`,
    );
  }

  /** Checks that the file is the machine's memory and not a copy: a write of QEMU must be visible in it. */
  private checkRam(): void {
    const words = viewsOf(this.messages).u32;
    const token = (words[0]! ^ 0x5a17ab1e) >>> 0;
    this.write('memory', MESSAGES, 4, token);
    const seen = words[0];
    words[0] = 0;
    if (this.gone) throw this.goneError();
    if (seen === token) return;
    throw new VirtioPmdError(
      'ECONFIG',
      `ram=${this.ramPath} is not the memory of the QEMU at ${this.socketPath}: start that with -object memory-backend-file,id=m,size=256M,mem-path=${this.ramPath},share=on -machine memory-backend=m`,
    );
  }
}

function connect(path: string): number {
  try {
    return connectUnix(path);
  } catch (cause) {
    if (!(cause instanceof SystemError)) throw cause;
    throw new VirtioPmdError(
      'ESOCKET',
      `${cause.message}: start QEMU with -qtest unix:${path},server=on,wait=off, or remove that file to have one started`,
      { cause },
    );
  }
}

function openRam(path: string): RamFile {
  let fd: number;
  try {
    fd = openSync(path, 'r+');
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    throw new SystemError('open', errno, `ram=${path}: give the mem-path of QEMU's -object memory-backend-file`);
  }
  const { size } = fstatSync(fd);
  if (size < LEAST_RAM) {
    closeSync(fd);
    throw new VirtioPmdError(
      'ECONFIG',
      `ram=${path} has ${size} bytes, at least ${LEAST_RAM / MIB} MiB are needed: give the mem-path of QEMU's -object memory-backend-file, and that size=256M`,
    );
  }
  const byteLength = Math.min(size, MOST_RAM) - PACKET_MEMORY;
  return { fd, offset: PACKET_MEMORY, byteLength, base: BigInt(PACKET_MEMORY) };
}
