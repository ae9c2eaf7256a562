/** A QEMU on the qtest bus, with a wire at each of its network functions and QMP; ports on it. */
import { virtioPort } from '../../support/virtio-port.js';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { createEal, type Eal } from '../../../driver/eal/eal.js';
import type { PciFunction } from '../../../driver/virtio/pci/function.js';
import { parseQtest } from '../../../driver/virtio/pci/qtest/devargs.js';
import { startQtestQemu, type QemuDevice, type QtestQemu } from '../../../driver/virtio/pci/qtest/qemu.js';
import { bridgesLoaded } from '../../../driver/virtio/pci/qtest/machine.js';
import { openQtest, type QtestFunction } from '../../../driver/virtio/pci/qtest/qtest.js';
import { probeVirtioPci } from '../../../driver/virtio/pci/virtio-pci.js';
import { attach } from '../../../driver/port/attach.js';
import type { Port } from '../../../driver/port/port.js';
import type { PortOptions } from '../../../driver/port/port.js';
import type { PortConfig } from '../../../driver/port/types.js';
import { viewsOf } from '../../../native/region.js';
import { layoutOf, type QueueSpec } from '../../../paths/guest/queue.js';
import { EVENT_F_DISABLE, EVENT_F_ENABLE } from '../../../paths/layout.js';
import { packetFrom, readPacket } from '../../../paths/mbuf.js';
import { NIL, type Mempool, type MempoolSpec } from '../../../paths/mempool.js';
import { temporaryDirectory } from '../../support/peers.js';
import { Qmp } from './qemu.js';
import { soon, Wire } from '../../support/wire.js';

export interface MachineRequest {
  /** Options of each virtio-net-pci; one function without options unless given. */
  readonly devices?: readonly string[];
  /** What is at the other end of each; a wire of its own unless given. */
  readonly netdevs?: readonly string[];
  readonly machine?: 'q35' | 'pc';
  readonly args?: readonly string[];
  readonly launcher?: readonly string[];
}

export interface Machine {
  readonly qemu: QtestQemu;
  readonly socket: string;
  readonly ram: string;
  /** By function; none where `netdevs` says what is there. */
  readonly wires: readonly Wire[];
  /** `qtest:SOCKET,ram=FILE`, to be continued. */
  readonly devargs: string;
  qmp(): Promise<Qmp>;
  /** The function without a driver; closed with the test. */
  open(args?: string): Promise<QtestFunction>;
}

let machines = 0;

/** Everything ends with the test, however that went. */
export async function startMachine(t: ExecutionContext, request: MachineRequest = {}): Promise<Machine> {
  const { devices = [''], netdevs, machine = 'q35', args = [], launcher = [] } = request;
  const directory = temporaryDirectory(t);
  const socket = join(directory, 'qtest');
  const qmpPath = join(directory, 'qmp');
  // in memory where there is a file system for that: a disk would be told of every packet
  const ram = join(existsSync('/dev/shm') ? '/dev/shm' : directory, `vpmd-${process.pid}-${machines++}`);
  t.teardown(() => rmSync(ram, { force: true }));
  t.teardown(bridgesLoaded); // ava ends its process by process.exit()
  const wires: Wire[] = [];
  const nics: QemuDevice[] = [];
  for (const [i, device] of devices.entries()) {
    if (netdevs === undefined) wires.push(await Wire.listen(t));
    nics.push({ device, netdev: netdevs?.[i] ?? wires[i]!.netdev });
  }
  const qmp = ['-qmp', `unix:${qmpPath},server=on,wait=off`];
  const qemu = await startQtestQemu({ socket, ram, ramMiB: 128, machine, nics, launcher, args: [...qmp, ...args] });
  t.teardown(() => qemu.kill());
  const devargs = `qtest:${socket},ram=${ram}`;
  return {
    qemu,
    socket,
    ram,
    wires,
    devargs,
    qmp: () => Qmp.connect(t, qmpPath),
    open: async (more = '') => {
      const fn = await openQtest(parseQtest(devargs + more));
      t.teardown(() => fn.close());
      return fn;
    },
  };
}

export interface QtestPort {
  readonly eal: Eal;
  readonly mempool: MempoolSpec;
  readonly pool: Mempool;
  readonly port: Port;
  /** "level line". */
  readonly lines: string[];
}

export interface PortRequest extends Omit<PortConfig, 'mempool'> {
  /** Bytes of an mbuf. Default 2048. */
  readonly dataRoom?: number;
  /** Behind the machine's own devargs. */
  readonly devargs?: string;
  /** The driver is not shown the modern interface of a transitional device, and MSI-X stays off. */
  readonly hideModern?: boolean;
}

/** A port on the machine, configured and started; closed with the test. */
export async function startPort(t: ExecutionContext, machine: Machine, request: PortRequest = {}): Promise<QtestPort> {
  const { dataRoom = 2048, devargs: more = '', hideModern = false, ...config } = request;
  const eal = createEal({ noHuge: true, log: () => undefined });
  t.teardown(() => eal.close());
  const lines: string[] = [];
  const log: PortOptions['log'] = (level, line) => void lines.push(`${level} ${line}`);
  const devargs = machine.devargs + more;
  let port: Port;
  if (!hideModern) {
    port = await attach(eal, devargs, { log });
  } else {
    const args = parseQtest(devargs);
    const fn = await openQtest(args);
    eal.useAddressing(fn.addressing);
    const transport = probeVirtioPci(eal, withoutModern(fn), { log });
    port = virtioPort({ eal, id: 0, devargs, args, transport, log });
  }
  t.teardown(() => port.close());
  const mempool = eal.createMempool({ count: 2048, dataRoom });
  port.configure({ mempool, ...config });
  port.start();
  return { eal, mempool, pool: eal.mempool(mempool), port, lines };
}

/** The same function, with no vendor-specific capability to be seen. */
function withoutModern(fn: QtestFunction): PciFunction {
  const vendorSpecific = 0x09;
  return {
    name: fn.name,
    bus: fn.bus,
    addressing: fn.addressing,
    vectors: 0,
    get present() {
      return fn.present;
    },
    readConfig: (offset, width) => {
      const value = fn.readConfig(offset, width);
      return width === 1 && offset >= 0x40 && value === vendorSpecific ? 0 : value;
    },
    writeConfig: (offset, width, value) => fn.writeConfig(offset, width, value),
    bar: (index) => fn.bar(index),
    mapDma: (user, byteLength, device) => fn.mapDma(user, byteLength, device),
    setVectors: (fds) => fn.setVectors(fds),
    lineInterrupt: () => fn.lineInterrupt(),
    close: () => fn.close(),
  };
}

// ---- interrupts ----------------------------------------------------------------------------------------------------

/** Asks the device for interrupts, or for none: in the driver's area of the ring. */
export function wantInterrupts(spec: QueueSpec, on: boolean): void {
  const { u16 } = viewsOf(spec.mapping);
  const driver = (spec.ringOff + layoutOf(spec).driver) >> 1;
  if (spec.packed) u16[driver + 1] = on ? EVENT_F_ENABLE : EVENT_F_DISABLE;
  else u16[driver] = on ? 0 : 1;
}

// ---- frames --------------------------------------------------------------------------------------------------------

export const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const PEER = [2, 0, 0, 0, 0, 0xee];

/** Ethernet header with the type of local experiments, then bytes that follow from length and sequence. */
export function frame(length: number, sequence: number, destination: readonly number[] = BROADCAST): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + sequence * 167 + length) & 0xff);
  bytes.set([...destination, ...PEER, 0x88, 0xb5]);
  return bytes;
}

export function macOf(port: Port): number[] {
  return port.mac.split(':').map((byte) => parseInt(byte, 16));
}

/** Sends a frame in as many segments as it takes. */
export async function sendFrame({ pool, port }: QtestPort, bytes: Uint8Array, queue = 0): Promise<void> {
  const m = packetFrom(pool, bytes);
  if (m === NIL) throw new Error('no mbufs');
  const pkts = Uint32Array.of(m);
  await soon(
    'room in the Tx ring',
    () => port.tx(queue).xmit(pkts, 1),
    (n) => n === 1,
  );
}

/** The frames that have come on a queue by now. */
export function receiveFrames({ pool, port }: QtestPort, queue = 0): Uint8Array[] {
  const pkts = new Uint32Array(32);
  const frames: Uint8Array[] = [];
  for (let n = port.rx(queue).recv(pkts, 32); n > 0; n = port.rx(queue).recv(pkts, 32)) {
    for (let i = 0; i < n; i++) frames.push(readPacket(pool, pkts[i]!));
    pool.freeBulk(pkts, 0, n);
  }
  return frames;
}

/** Waits for `count` frames on a queue. */
export async function awaitFrames(port: QtestPort, count: number, queue = 0): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  const gather = () => frames.push(...receiveFrames(port, queue));
  await soon(`${count} frames on Rx queue ${queue}`, gather, (n) => n >= count);
  return frames;
}

/** Frames of each size go out and come in; every byte is looked at. */
export async function pingPong(
  t: ExecutionContext,
  port: QtestPort,
  wire: Wire,
  sizes: readonly number[],
): Promise<void> {
  for (const [i, size] of sizes.entries()) {
    const out = frame(size, 2 * i);
    await sendFrame(port, out);
    t.deepEqual(await wire.take(`a frame of ${size} bytes at the other end`), out);
    const back = frame(size, 2 * i + 1);
    wire.send(back);
    t.deepEqual(await awaitFrames(port, 1), [back]);
  }
}

/** `count` frames in a row out, then in, without waiting for each; in order, every byte looked at. */
export async function stream(t: ExecutionContext, port: QtestPort, wire: Wire, count: number): Promise<void> {
  const frames = Array.from({ length: count }, (_, i) => frame(64 + (i % 500), i));
  for (const out of frames) await sendFrame(port, out);
  await soon(
    `${count} frames at the other end`,
    () => wire.received.length,
    (n) => n >= count,
  );
  t.deepEqual(wire.received.splice(0), frames);
  for (const back of frames) wire.send(back);
  t.deepEqual(await awaitFrames(port, count), frames);
}
