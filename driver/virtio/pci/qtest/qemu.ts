/**
 * Starts a QEMU for the qtest bus: a machine whose RAM is a file and whose processor halts at its first instruction. Only its
 * devices run.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { VirtioPmdError } from '../../../../native/errors.js';

/** One virtio-net-pci and what it is connected to, as QEMU's options. */
export interface QemuDevice {
  /** Options of the device, such as `packed=on,mq=on`; empty: none. */
  readonly device: string;
  /** A -netdev without its id, such as `hubport,hubid=0`. */
  readonly netdev: string;
}

/** What to start. */
export interface QemuOptions {
  /** Path of the qtest socket, which must not exist. */
  readonly socket: string;
  /** Path of the file for the machine's RAM. An existing file is used. */
  readonly ram: string;
  readonly ramMiB?: number;
  readonly machine?: 'q35' | 'pc';
  readonly nics: readonly QemuDevice[];
  /** Further arguments of the command line. */
  readonly args?: readonly string[];
  /** A command that executes QEMU, such as `unshare --net`. */
  readonly launcher?: readonly string[];
  /** Milliseconds until QEMU has to answer. */
  readonly timeoutMs?: number;
}

/** A QEMU that was started. */
export interface QtestQemu {
  readonly pid: number;
  /** Its output on stderr so far. */
  readonly log: string;
  /** Kills it and removes its files, once. */
  kill(): void;
}

const PROGRAM = 'qemu-system-x86_64';
const DEFAULT_RAM_MIB = 256;
const START_TIMEOUT_MS = 20_000;
/** Device number of the first function, which is 04.0. */
const FIRST_DEVICE = 4;

/** 64 KiB of firmware. A processor begins 16 bytes before its end: cli, hlt, and a jump back to hlt in case something wakes it. */
function haltingFirmware(): Uint8Array {
  const image = new Uint8Array(0x10000);
  image.set([0xfa, 0xf4, 0xeb, 0xfd], 0xfff0);
  return image;
}

/** A sentence when there is no file `socket`, else ''. */
export function whyNoSocket(socket: string): string {
  return existsSync(socket) ? '' : `there is no ${socket}`;
}

/** Functions that kill the QEMU processes which were started here: called however this process ends. */
const running = new Set<() => void>();
process.on('exit', () => running.forEach((kill) => kill()));

/** The command line of QEMU. @param firmware path of the file with the firmware */
export function qemuArguments(options: QemuOptions, firmware: string): string[] {
  const { socket, ram, ramMiB = DEFAULT_RAM_MIB, machine = 'q35', nics, args = [] } = options;
  return [
    ...['-M', `${machine},memory-backend=m`, '-accel', 'tcg', '-m', String(ramMiB)],
    ...['-object', `memory-backend-file,id=m,size=${ramMiB}M,mem-path=${ram},share=on`],
    ...['-nodefaults', '-display', 'none', '-no-user-config', '-bios', firmware],
    // otherwise the log of all requests goes to stderr
    ...['-qtest', `unix:${socket},server=on,wait=off`, '-qtest-log', '/dev/null'],
    ...nics.flatMap(({ device, netdev }, i) => {
      // an address in the user's options takes precedence
      const address = /(^|,)(addr|bus)=/.test(device) ? '' : `,addr=${(FIRST_DEVICE + i).toString(16)}`;
      const [kind, ...rest] = netdev.split(',');
      const more = device === '' ? '' : `,${device}`;
      return [
        ...['-netdev', [kind, `id=n${i}`, ...rest].join(',')],
        ...['-device', `virtio-net-pci,netdev=n${i}${address},romfile=${more}`],
      ];
    }),
    ...args,
  ];
}

/**
 * Starts QEMU and waits until it answers.
 * @throws VirtioPmdError ECONFIG with QEMU's own message when it ends; ETIMEOUT
 */
export async function startQtestQemu(options: QemuOptions): Promise<QtestQemu> {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-qemu-'));
  const firmware = join(directory, 'halt.bin');
  const logFile = join(directory, 'log');
  writeFileSync(firmware, haltingFirmware());
  const ownRam = !existsSync(options.ram);
  const output = openSync(logFile, 'w');
  const [program, ...args] = [...(options.launcher ?? []), PROGRAM, ...qemuArguments(options, firmware)];
  const child = spawn(program!, args, { stdio: ['ignore', output, output] });
  closeSync(output);
  let ended: string | undefined;
  child.on('error', (error: NodeJS.ErrnoException) => {
    const missing = error.code === 'ENOENT' && program === PROGRAM;
    ended = missing ? `${PROGRAM} is not installed (Debian: qemu-system-x86)` : error.message;
  });
  child.on('exit', (code, signal) => (ended ??= signal ?? `exit code ${code}`));
  child.unref();
  let log = '';
  const readLog = () => (log = existsSync(logFile) ? readFileSync(logFile, 'utf8') : log);
  const kill = () => {
    if (!running.delete(kill)) return;
    readLog();
    endChild(child);
    for (const path of [directory, options.socket, ...(ownRam ? [options.ram] : [])]) {
      rmSync(path, { recursive: true, force: true });
    }
  };
  running.add(kill);
  try {
    await answering(options, () => ended, readLog);
  } catch (error) {
    kill();
    throw error;
  }
  return {
    pid: child.pid!,
    get log() {
      return readLog();
    },
    kill,
  };
}

function endChild(child: ChildProcess): void {
  if (child.pid !== undefined) child.kill('SIGKILL');
}

/** Waits until QEMU answers: its socket exists before it has read all of its options. */
async function answering(options: QemuOptions, ended: () => string | undefined, log: () => string): Promise<void> {
  const { socket, timeoutMs = START_TIMEOUT_MS } = options;
  const deadline = performance.now() + timeoutMs;
  while (!existsSync(socket) || !(await answers(socket, deadline - performance.now()))) {
    await sleep(20);
    const end = ended();
    if (end !== undefined) {
      throw new VirtioPmdError('ECONFIG', `QEMU cannot be started: ${log().trim().split('\n').at(-1) || end}`);
    }
    if (performance.now() > deadline) {
      throw new VirtioPmdError('ETIMEOUT', `QEMU does not answer at ${socket} after ${timeoutMs} ms`);
    }
  }
}

/** Whether an answer comes before the connection ends or the time is over. */
function answers(socket: string, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = createConnection(socket, () => connection.write('readb 0x0\n'));
    const settle = (answer: boolean) => {
      clearTimeout(timer);
      connection.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => settle(false), Math.max(ms, 0));
    connection.on('data', () => settle(true));
    connection.on('error', () => settle(false));
    connection.on('close', () => settle(false));
  });
}
