/**
 * Receive-side scaling by QEMU's device: the kernel's end of a tap answers pings, and each answer must come on the queue, and
 * with the hash, that the Toeplitz hash of its addresses calls for.
 */
import { virtqueues } from '../../../../support/virtio-port.js';
import type { ExecutionContext } from 'ava';
import { DEFAULT_RSS_KEY } from '../../../../../driver/virtio/rss-config.js';
import { RX_OFFLOAD_RSS_HASH } from '../../../../../driver/port/types.js';
import { drainFd } from '../../../../../native/event.js';
import { readPacket } from '../../../../../paths/mbuf.js';
import { lacks, needs } from '../../../../support/needs.js';
import {
  macOf,
  sendFrame,
  startMachine,
  startPort,
  wantInterrupts,
  type PortRequest,
  type QtestPort,
} from '../../../support/qtest.js';
import { configureTap, ping, pongTo, TAP_IP, TAP_LAUNCHER, tapNetdev, whyNoTap } from '../../../../support/tap.js';
import { toeplitz } from '../../../../support/toeplitz.js';
import { soon } from '../../../../support/wire.js';

const test = needs(lacks('qemu-system-x86_64') || whyNoTap());

const QUEUES = 4;
const NEIGHBOURS = Array.from({ length: 64 }, (_, i) => i + 2);

interface Pong {
  readonly queue: number;
  readonly hash: number;
}

/** Pings from every neighbour. @returns where the answers came, by neighbour */
async function pingAll(port: QtestPort): Promise<Map<number, Pong>> {
  const { pool } = port;
  for (const x of NEIGHBOURS) await sendFrame(port, ping(macOf(port.port), x), x % QUEUES);
  const pongs = new Map<number, Pong>();
  const pkts = new Uint32Array(32);
  const gather = () => {
    for (let queue = 0; queue < QUEUES; queue++) {
      const n = port.port.rx(queue).recv(pkts, 32);
      for (const m of pkts.subarray(0, n)) {
        const x = pongTo(readPacket(pool, m));
        if (x !== undefined) pongs.set(x, { queue, hash: pool.hash[m]! });
      }
      pool.freeBulk(pkts, 0, n);
    }
    return pongs.size;
  };
  await soon('an answer for every neighbour', gather, (size) => size === NEIGHBOURS.length);
  return pongs;
}

async function startTap(t: ExecutionContext, device: string, config: Partial<PortRequest> = {}): Promise<QtestPort> {
  const machine = await startMachine(t, {
    devices: [`mq=on,vectors=${2 * QUEUES + 2},${device}`],
    netdevs: [tapNetdev(QUEUES)],
    launcher: TAP_LAUNCHER,
  });
  const port = await startPort(t, machine, { rxQueues: QUEUES, ...config });
  configureTap(machine.qemu.pid, port.port.mac, NEIGHBOURS);
  return port;
}

for (const packed of ['off', 'on']) {
  test.serial(
    `packets come where hash and redirection table send them, and take the hash along (packed=${packed})`,
    async (t) => {
      const port = await startTap(t, `rss=on,hash=on,packed=${packed}`, { rxOffloads: RX_OFFLOAD_RSS_HASH });
      const { rss } = port.port;
      const check = async (key: Uint8Array, what: string) => {
        const reta = rss.retaQuery();
        for (const [x, { queue, hash }] of await pingAll(port)) {
          const expected = toeplitz(key, Uint8Array.of(...TAP_IP, 10, 9, 0, x));
          t.is(hash, expected, `${what}: hash for 10.9.0.${x}`);
          t.is(queue, reta[expected & 127]!, `${what}: queue for 10.9.0.${x}`);
        }
      };
      await check(DEFAULT_RSS_KEY, 'as it begins');
      rss.retaUpdate(Array.from({ length: 128 }, (_, i) => [i, 3] as const));
      await check(DEFAULT_RSS_KEY, 'all to queue 3');
      rss.retaUpdate(Array.from({ length: 128 }, (_, i) => [i, (i >> 5) % QUEUES] as const));
      await check(DEFAULT_RSS_KEY, 'in blocks');
      const key = Uint8Array.from({ length: 40 }, (_, i) => (i * 89 + 13) & 0xff);
      rss.rssUpdate({ key });
      await check(key, 'another key');
      port.port.stop();
      port.port.reset();
      port.port.start();
      await check(key, 'after a reset');
    },
  );
}

test.serial('several queues without RSS: every answer comes, on whichever queue', async (t) => {
  const port = await startTap(t, 'rss=off');
  t.is((await pingAll(port)).size, NEIGHBOURS.length);
  port.port.stop();
  port.port.start();
  t.is((await pingAll(port)).size, NEIGHBOURS.length);
});

for (const queues of [2, 4]) {
  for (const packed of ['off', 'on']) {
    test.serial(
      `a vector for each of ${queues} Rx queues: only the one with packets is signalled (packed=${packed})`,
      async (t) => {
        const device = `rss=on,event_idx=off,packed=${packed}`;
        const port = await startTap(t, device, { rxQueues: queues, rxInterrupts: true });
        const { rx } = virtqueues(port.port);
        const fds = rx.map((spec) => spec.interruptFd!);
        for (let queue = 0; queue < queues; queue++) {
          port.port.rss.retaUpdate(Array.from({ length: 128 }, (_, i) => [i, queue] as const));
          for (const spec of rx) wantInterrupts(spec, true);
          fds.forEach(drainFd);
          const signalled = new Set<number>();
          await sendFrame(port, ping(macOf(port.port), 7), 0);
          const look = () => {
            fds.forEach((fd, i) => drainFd(fd) && signalled.add(i));
            return signalled.size;
          };
          await soon('an interrupt', look, Boolean);
          t.deepEqual([...signalled], [queue]);
          for (const spec of rx) wantInterrupts(spec, false);
          const pkts = new Uint32Array(32);
          for (let i = 0; i < queues; i++) port.pool.freeBulk(pkts, 0, port.port.rx(i).recv(pkts, 32));
        }
      },
    );
  }
}
