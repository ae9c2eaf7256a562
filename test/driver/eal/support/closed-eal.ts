/**
 * What a program does with the things that it still has after `eal.close()`, each in a process of its own (argument: which).
 * Prints "survived" at the end: a touch of memory that is gone would be a SIGSEGV.
 */
import { virtqueues } from '../../../support/virtio-port.js';
import { join } from 'node:path';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';
import { availableCpus } from '../../../../native/cpu.js';
import { createEal, type Eal } from '../../../../driver/eal/eal.js';
import { openStream } from '../../../../driver/port/stream.js';
import { attach } from '../../../../driver/port/attach.js';
import type { Port } from '../../../../driver/port/port.js';
import type { LcoreContext } from '../../../../driver/eal/types.js';
import { VhostDriver } from '../../../../driver/vhost/driver.js';
import { vhostCounterBytes, type VhostJobData } from '../../../../driver/vhost/embedded.js';
import { openRx, openTx } from '../../../../driver/port/queue.js';
import { MbufView, packetFrom, readPacket } from '../../../../paths/mbuf.js';
import { Mempool, type MempoolSpec } from '../../../../paths/mempool.js';

const here = fileURLToPath(import.meta.url);
const cpus = availableCpus();

function makeEal(lcores: number): Eal {
  const map = new Map(Array.from({ length: lcores }, (_, i) => [i, [cpus[i % cpus.length]!]]));
  return createEal({ lcores: map, noHuge: true, pinMain: false, log: () => undefined });
}

function same(what: string, found: unknown, expected: unknown): void {
  if (found !== expected) throw new Error(`${what}: ${String(found)} instead of ${String(expected)}`);
}

function refused(what: string, call: () => unknown): void {
  try {
    call();
  } catch (error) {
    same(what, (error as { code?: string }).code, 'ESTATE');
    return;
  }
  throw new Error(`${what} was not refused`);
}

/** Everything that one has of a mempool, as good as new. */
function mempool(): void {
  const eal = makeEal(1);
  const spec = eal.createMempool({ count: 4096 });
  const pool = eal.mempool(spec);
  const m = packetFrom(pool, new Uint8Array(64).fill(7));
  const view = new MbufView(pool).at(m);
  const bytes = new DataView(pool.u8.buffer);
  eal.close();
  same('a byte', pool.u8[pool.dataStart(m)], 0);
  same('a byte of the view', view.readU8(3), 0);
  same('a DataView', bytes.getUint32(pool.dataStart(m)), 0);
  pool.u8.fill(1, pool.bufOff(0), pool.bufOff(4095));
  pool.u32[pool.base / 4] = 5;
  same('a copy', readPacket(pool, m).length, 64);
  packetFrom(pool, new Uint8Array(2000));
  pool.free(m);
  refused('another handle', () => new Mempool(spec, 3));
}

/** A port with a back-end on lcore 1, and packets in flight. */
async function withPort(eal: Eal, directory: string): Promise<{ port: Port; spec: MempoolSpec }> {
  const path = join(directory, 'x.sock');
  const spec = eal.createMempool({ count: 4096 });
  const counters = new SharedArrayBuffer(vhostCounterBytes);
  const data: VhostJobData = { path, mode: 'loopback', mempool: spec, counters };
  eal.lcores.launch(1, new URL('../../../../driver/vhost/embedded.js', import.meta.url), 'vhostJob', data);
  for (;;) {
    try {
      const port = await attach(eal, `net_virtio_user0,path=${path}`);
      port.configure({ mempool: spec });
      port.start();
      return { port, spec };
    } catch (error) {
      if ((error as { code?: string }).code !== 'ESOCKET') throw error;
      await sleep(10);
    }
  }
}

/** A port that is open when the Eal is closed: it is closed too, and its paths do nothing from then on. */
async function port(directory: string): Promise<void> {
  const eal = makeEal(2);
  const { port, spec } = await withPort(eal, directory);
  const pool = eal.mempool(spec);
  const [rx, tx] = [port.rx(0), port.tx(0)];
  const context = { mempool: () => pool, post: () => undefined } as unknown as LcoreContext;
  const [rxSpec, txSpec] = [virtqueues(port).rx[0]!, virtqueues(port).tx[0]!];
  const stream = openStream(context, { rx: rxSpec, tx: txSpec });
  const pkts = new Uint32Array(32);
  pkts[0] = packetFrom(pool, new Uint8Array(64).fill(2));
  same('sent', tx.xmit(pkts, 1), 1);
  let closed = 0;
  port.on('closed', () => closed++);
  eal.close();
  same('events', closed, 1);
  same('leaks', eal.leaks().length, 0);
  pkts[0] = packetFrom(pool, new Uint8Array(64).fill(2));
  same('sent', tx.xmit(pkts, 1), 0);
  same('received', rx.recv(pkts, 32), 0);
  same('filled', rx.fill(), 0);
  tx.cleanup();
  tx.prepare(pkts, 1);
  same('received by the stream', stream.receive(), 0);
  stream.pkts[0] = pkts[0]!;
  stream.send(1);
  refused('opening a queue again', () => openRx(rxSpec, pool));
  refused('opening a queue again', () => openTx(txSpec, pool));
  refused('start', () => port.start());
  refused('a setting', () => port.filters.setPromiscuous(true));
  same('link', port.link.up, false);
  port.stats();
  port.close();
}

async function iterator(directory: string): Promise<void> {
  const eal = makeEal(2);
  const path = join(directory, 'x.sock');
  const spec = eal.createMempool({ count: 4096 });
  const counters = new SharedArrayBuffer(vhostCounterBytes);
  const data: VhostJobData = { path, mode: 'rxonly', mempool: spec, counters };
  eal.lcores.launch(1, new URL('../../../../driver/vhost/embedded.js', import.meta.url), 'vhostJob', data);
  while (eal.lcores.state(1) !== 'running') await sleep(10);
  let device: Port | undefined;
  for (let i = 0; device === undefined; i++) {
    device = await attach(eal, `net_virtio_user0,path=${path}`).catch(() => undefined);
    if (device === undefined) await sleep(10);
  }
  device.configure({ mempool: spec, rxInterrupts: true });
  device.start();
  setTimeout(() => eal.close(), 300);
  for await (const queues of device.rxReady()) device.rx(queues[0]!);
}

/** A thread of the user's own reads and writes packet memory meanwhile. */
async function thread(): Promise<void> {
  const eal = makeEal(1);
  const spec = eal.createMempool({ count: 4096 });
  const words = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(here, { workerData: { spec, words } });
  while (Atomics.load(words, 0) === 0) await sleep(10);
  eal.close();
  const turns = Atomics.load(words, 0);
  while (Atomics.load(words, 0) < turns + 1000) await sleep(10);
  Atomics.store(words, 1, 1);
  same('exit code', await new Promise((resolve) => worker.once('exit', resolve)), 0);
}

function threadBody({ spec, words }: { spec: MempoolSpec; words: Int32Array }): void {
  const pool = new Mempool(spec, 5);
  while (Atomics.load(words, 1) === 0) {
    for (let m = 0; m < 100; m++) pool.u8[pool.bufOff(m)]!++;
    Atomics.add(words, 0, 1);
  }
  refused('another handle', () => new Mempool(spec, 6));
}

/** A device of the back-end library after its guest has gone, and after its packets' Eal has. */
async function vhost(directory: string): Promise<void> {
  const eal = makeEal(2);
  const other = makeEal(1);
  const spec = other.createMempool({ count: 1024 });
  const pool = other.mempool(spec);
  const path = join(directory, 'v.sock');
  let ready = false;
  const driver = new VhostDriver(path, {}, { newDevice: () => void (ready = true) });
  driver.start();
  // the front-end needs another thread: its handshake does not return to the event loop
  eal.lcores.launch(1, here, 'frontEnd', { path });
  for (const end = Date.now() + 60_000; !ready && Date.now() < end; await sleep(1)) driver.poll();
  const device = driver.devices[0]!;
  const pkts = new Uint32Array(32);
  const m = packetFrom(pool, new Uint8Array(64).fill(1));
  pkts[0] = m;
  // the driver has buffers for it once its own handshake has come back
  let given = 0;
  for (const end = Date.now() + 60_000; given === 0 && Date.now() < end; await sleep(1)) {
    driver.poll();
    given = device.enqueueBurst(0, pool, pkts, 1);
  }
  same('given', given, 1);
  same('running', device.isRunning(1), true);
  other.close();
  device.enqueueBurst(0, pool, pkts, 1); // zeros, to a guest that is there
  device.dequeueBurst(1, pool, pkts, 32);
  eal.lcores.stop();
  for (const end = Date.now() + 60_000; driver.devices.length > 0 && Date.now() < end; await sleep(1)) driver.poll();
  same('given', device.enqueueBurst(0, pool, pkts, 1), 0);
  same('taken', device.dequeueBurst(1, pool, pkts, 1), 0);
  same('running', device.isRunning(1), false);
  device.ringStats(0);
  driver.close();
  eal.close();
}

/** On an lcore: a driver of its own. */
export async function frontEnd(context: LcoreContext, { path }: { path: string }): Promise<void> {
  const eal = makeEal(1);
  const spec = eal.createMempool({ count: 1024 });
  const port = await attach(eal, `net_virtio_user0,path=${path}`);
  port.configure({ mempool: spec });
  port.start();
  while (context.running()) await sleep(1);
  eal.close();
}

/** An attach that waits for its first client ends when the Eal is closed. */
async function waiting(directory: string): Promise<void> {
  const eal = makeEal(1);
  const pending = attach(eal, `net_virtio_user0,path=${join(directory, 's.sock')},server=1`);
  setTimeout(() => eal.close(), 50);
  await pending.then(
    () => same('attach', 'done', 'refused'),
    (error: { code?: string }) => same('attach', error.code, 'ESTATE'),
  );
}

/** A job that does not stop keeps the memory from nobody. */
async function stuck(): Promise<void> {
  const eal = makeEal(2);
  const spec = eal.createMempool({ count: 1024 });
  const words = new Int32Array(new SharedArrayBuffer(4));
  eal.lcores.launch(1, here, 'touchForEver', { spec, words });
  while (Atomics.load(words, 0) === 0) await sleep(10);
  try {
    eal.close();
  } catch (error) {
    same('close', (error as { code?: string }).code, 'ELCORE');
    await sleep(200);
    return;
  }
  throw new Error('a job that does not stop went unnoticed');
}

export function touchForEver(context: LcoreContext, { spec, words }: { spec: MempoolSpec; words: Int32Array }): void {
  const pool = context.mempool(spec);
  for (;;) {
    for (let m = 0; m < 100; m++) pool.u8[pool.bufOff(m)]!++;
    Atomics.add(words, 0, 1);
  }
}

const status = (key: string) =>
  Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;

/** Opened and closed again and again: the memory that was touched comes back each time, the addresses in the end. */
async function cycles(): Promise<void> {
  const MIB = 64;
  const touched = 4;
  let [memory, addresses] = [0, 0];
  for (let i = 0; i < 1000; i++) {
    const eal = createEal({ memoryMiB: MIB, noHuge: true, log: () => undefined });
    const pool = eal.mempool(eal.createMempool({ count: 1024, cacheSize: 32 }));
    pool.u8.fill(1, 0, touched << 20);
    eal.close();
    if (i % 50 === 0) await sleep(1); // the event loop collects
    if (i === 100) [memory, addresses] = [status('VmRSS'), status('VmSize')];
  }
  (globalThis as { gc?: () => void }).gc!();
  await sleep(100);
  const [moreMemory, moreAddresses] = [status('VmRSS') - memory, status('VmSize') - addresses];
  const mappings = readFileSync('/proc/self/maps', 'utf8');
  same('memory files that are mapped', mappings.includes('virtio-pmd-memory'), false);
  if (moreMemory > (900 * touched) / 10) throw new Error(`memory in use grew by ${moreMemory} MiB`);
  if (moreAddresses > (900 * MIB) / 4) throw new Error(`addresses in use grew by ${moreAddresses} MiB`);
}

const scenarios: Record<string, (directory: string) => void | Promise<void>> = {
  ...{ mempool, port, iterator, thread, vhost, waiting, stuck, cycles },
};

const scenario = scenarios[process.argv[2] ?? ''];
if (!isMainThread) {
  const data = workerData as { spec?: MempoolSpec; words?: Int32Array };
  if (data.spec && data.words) threadBody({ spec: data.spec, words: data.words });
} else if (scenario !== undefined) {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-closed-'));
  try {
    await scenario(directory);
    process.stdout.write('survived\n');
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
