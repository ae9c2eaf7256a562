/** Ports and interfaces for scenarios: what is made goes when the scenario ends, and nothing may be left. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEal, processCpus } from '../../../../driver/eal/eal.js';
import { attach } from '../../../../driver/port/attach.js';
import type { Port } from '../../../../driver/port/port.js';
import { loadQueues } from '../../../../driver/port/queue.js';
import type { PortConfig } from '../../../../driver/port/types.js';
import { isVirtioPmdError } from '../../../../native/errors.js';
import { packetFrom, readPacket } from '../../../../paths/mbuf.js';
import type { Mempool } from '../../../../paths/mempool.js';

const PATIENCE_MS = 10_000;
export const openFds = () => readdirSync('/proc/self/fd').length;
export const interfaces = () => readdirSync('/sys/class/net').sort();

export function ip(...lines: string[]): void {
  const { status, stderr } = spawnSync('ip', ['-batch', '-'], { input: lines.join('\n'), encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

/** A packet that was received. */
export interface Received {
  readonly bytes: Uint8Array;
  readonly queue: number;
  readonly flags: number;
  readonly vlanTci: number;
  readonly segments: number;
  readonly tsoSegsz: number;
}

export interface Bench {
  readonly pool: Mempool;
  readonly logged: string[];
  readonly eal: ReturnType<typeof createEal>;
  readonly mempool: ReturnType<ReturnType<typeof createEal>['createMempool']>;
  /** A started port. */
  port(devargs: string, config?: Omit<PortConfig, 'mempool'>): Promise<Port>;
  /** Sends packets. @returns how many were taken */
  send(port: Port, packets: readonly Uint8Array[], options?: SendOptions): number;
  /** Receives until there are `count` packets, and what comes within a moment after them. */
  receive(port: Port, count: number, wanted?: (bytes: Uint8Array) => boolean): Promise<Received[]>;
  /** Waits until it holds. */
  until(what: string, holds: () => boolean): Promise<void>;
}

export interface SendOptions {
  readonly queue?: number;
  readonly segmentSize?: number;
  readonly dress?: (m: number) => void;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !holds(); await sleep(2)) assert.ok(Date.now() < end, `${what}: never`);
}

/** Runs a scenario: the interfaces in `links` are made for it (lines of ip). */
export async function withBench(
  links: readonly string[],
  run: (bench: Bench) => Promise<void>,
  { dataRoom = 2048, count = 2048 } = {},
): Promise<void> {
  const [fds, before] = [openFds(), interfaces()];
  ip(...links);
  const cpus = processCpus();
  const lcores = new Map([0, 1].map((id) => [id, [cpus.at(-id)!]]));
  const logged: string[] = [];
  const eal = createEal({ noHuge: true, memoryMiB: 96, lcores, pinMain: false, log: (line) => logged.push(line) });
  const ports: Port[] = [];
  try {
    const mempool = eal.createMempool({ count, dataRoom });
    const pool = eal.mempool(mempool);
    const burst = new Uint32Array(64);
    await run({
      ...{ eal, mempool, pool, logged, until },
      async port(devargs, config = {}) {
        const port = await attach(eal, devargs, { log: (_, line) => logged.push(line) });
        ports.push(port);
        port.configure({ mempool, ...config });
        const { rx, tx } = port.spec();
        await loadQueues([...rx, ...tx]);
        port.start();
        return port;
      },
      send(port, packets, { queue = 0, segmentSize, dress } = {}) {
        let taken = 0;
        for (let at = 0; at < packets.length; at += burst.length) {
          const some = packets.slice(at, at + burst.length);
          some.forEach((bytes, i) => {
            burst[i] = packetFrom(pool, bytes, segmentSize);
            dress?.(burst[i]!);
          });
          const n = port.tx(queue).xmit(burst, some.length);
          pool.freeBulk(burst, n, some.length - n);
          taken += n;
        }
        return taken;
      },
      async receive(port, count, wanted = () => true) {
        const found: Received[] = [];
        const end = Date.now() + PATIENCE_MS;
        for (let idle = 0; idle < 5 || (found.length < count && Date.now() < end); idle++) {
          for (let queue = 0; queue < port.config!.rxQueues; queue++) {
            const n = port.rx(queue).recv(burst, burst.length);
            if (n > 0) idle = 0;
            for (const m of burst.subarray(0, n)) {
              const bytes = readPacket(pool, m);
              const [flags, vlanTci] = [pool.olFlags[m]!, pool.vlanTci[m]!];
              const [segments, tsoSegsz] = [pool.nbSegs[m]!, pool.tsoSegsz[m]!];
              if (wanted(bytes)) found.push({ bytes, queue, flags, vlanTci, segments, tsoSegsz });
              pool.free(m);
            }
          }
          await sleep(4);
        }
        assert.equal(found.length, count);
        return found;
      },
    });
    ports.forEach((port) => port.close());
    assert.deepEqual(eal.leaks(), []);
  } finally {
    eal.close(); // closes the ports first
    for (const name of interfaces()) {
      if (!before.includes(name)) spawnSync('ip', ['link', 'del', name]);
    }
  }
  assert.deepEqual(interfaces(), before);
  await until('all descriptors are closed', () => openFds() <= fds); // those of a thread a moment later
}

/** Attaching is refused with a sentence, and nothing stays open. */
export async function refused(
  bench: Bench,
  devargs: string,
  code: string,
  says: RegExp,
  config?: object,
): Promise<void> {
  const [fds, before] = [openFds(), interfaces()];
  let port: Port | undefined;
  await assert.rejects(
    async () => {
      port = await attach(bench.eal, devargs);
      port.configure({ mempool: bench.mempool, ...config });
    },
    (error: unknown) => {
      assert.ok(isVirtioPmdError(error, code as 'ECONFIG'), String(error));
      assert.match(error.message, says);
      return true;
    },
  );
  port?.close();
  assert.deepEqual(interfaces(), before);
  assert.equal(openFds(), fds);
}

/** An Ethernet frame of `length` bytes of a protocol that the kernel does not know, numbered. */
export function frame(number: number, length = 64, type = 0x88b5): Uint8Array {
  const bytes = new Uint8Array(length).fill(number & 0xff, 14);
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, type >> 8, type & 0xff]);
  new DataView(bytes.buffer).setUint32(14, number);
  return bytes;
}

/** Whether it is one of `frame`. */
export const isOurs = (bytes: Uint8Array): boolean => bytes[12] === 0x88 && bytes[13] === 0xb5;
export const numberOf = (bytes: Uint8Array, at = 14): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
