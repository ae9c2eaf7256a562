/** The programs of the pages: they are what is in docs/examples, are short, and do what they say. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { answering } from '../../docs/examples/arp-and-ping.js';
import { createEal } from '../../driver/eal/eal.js';
import { packetFrom, readPacket } from '../../paths/mbuf.js';
import { onesSum } from '../support/offload-reference.js';
import { PacketBackend } from '../support/packet-backend.js';
import { eventually, ourCpu, peerCpu, startPeer, temporaryDirectory } from '../support/peers.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const examples = readdirSync(join(root, 'docs/examples'));

test('the pages of docs show the examples as they are', (t) => {
  const pages = ['api', 'programmable-forwarding', 'interrupt-mode', 'ports', 'vhost'].map((page) =>
    readFileSync(join(root, `docs/${page}.md`), 'utf8'),
  );
  for (const name of examples) {
    const source = readFileSync(join(root, 'docs/examples', name), 'utf8');
    const shown = source
      .replaceAll("'../../driver/index.js'", "'virtio-pmd'")
      .replaceAll("'../../driver/vhost/index.js'", "'virtio-pmd/vhost'");
    t.true(
      pages.some((page) => page.includes(`\`\`\`ts\n${shown}\`\`\``)),
      name,
    );
    t.true(source.split('\n').length - 1 <= 33, `${name} has at most 33 lines`);
  }
});

test('links between the pages lead to files', (t) => {
  for (const page of [
    'README.md',
    ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).map((name) => `docs/${name}`),
  ]) {
    if (!page.endsWith('.md')) continue;
    for (const [, target] of readFileSync(join(root, page), 'utf8').matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^https?:/.test(target!)) continue;
      t.true(existsSync(join(root, page, '..', target!)), `${page}: ${target}`);
    }
  }
});

/**
 * Runs an example on `ports` sockets of ours, sends `sent` into the first, and returns what comes out of the last.
 * @param argv its arguments, given the sockets
 */
async function run(
  t: ExecutionContext,
  name: string,
  ports: number,
  sent: Uint8Array,
  argv = (paths: readonly string[]): readonly string[] => paths,
) {
  const directory = temporaryDirectory(t);
  const eal = createEal({ noHuge: true, memoryMiB: 16, log: () => {} });
  t.teardown(() => eal.close());
  const pool = eal.mempool(eal.createMempool({ count: 1024 }));
  const sockets = Array.from({ length: ports }, (_, i) => join(directory, `s${i}`));
  const backends = sockets.map((socket) => new PacketBackend(pool, socket));
  t.teardown(() => backends.forEach((backend) => backend.close()));
  const program = ['--import', './tools/ts.mjs', join(root, 'docs/examples', name), ...argv(sockets)];
  const example = startPeer(t, name, process.execPath, program);
  const serving = setInterval(() => backends.forEach((backend) => backend.receive()), 1);
  t.teardown(() => clearInterval(serving));
  const up = () => {
    if (example.ended !== undefined) throw new Error(`${name} ended: ${example.output}`);
    return backends.every(({ device }) => device?.isRunning(1));
  };
  await eventually('the ports are up', up, Boolean, 60_000);
  clearInterval(serving);
  const received = await eventually(
    'a packet comes out',
    () => {
      backends[0]!.send(sent);
      return backends.at(-1)!.receive();
    },
    (bytes) => bytes !== undefined,
    60_000, // lcores compile their programs first
  );
  process.kill(example.pid, 'SIGTERM');
  const ending = setInterval(() => backends.forEach((backend) => backend.receive()), 1);
  t.teardown(() => clearInterval(ending));
  t.is(await example.end(), 'exit code 0', example.output);
  return received!;
}

const packet = Uint8Array.from({ length: 200 }, (_, i) => i);

test.serial('echo.ts returns packets with their addresses exchanged', async (t) => {
  const expected = Uint8Array.from([...packet.slice(6, 12), ...packet.slice(0, 6), ...packet.slice(12)]);
  t.deepEqual(await run(t, 'echo.ts', 1, packet), expected);
});

test.serial('l2fwd.ts hands on packets from one port to the other', async (t) => {
  t.deepEqual(
    await run(t, 'l2fwd.ts', 2, packet, (paths) => [...paths, `0@${peerCpu},1@${peerCpu},2@${ourCpu}`]),
    packet,
  );
});

test.serial('run-mode.ts runs a forwarding mode on an lcore, and counts', async (t) => {
  const expected = Uint8Array.from([...packet.slice(6, 12), ...packet.slice(0, 6), ...packet.slice(12)]);
  t.deepEqual(await run(t, 'run-mode.ts', 1, packet, (paths) => [...paths, `0@${peerCpu},1@${ourCpu}`]), expected);
});

const OUR_MAC = [0x02, 0, 0, 0, 0, 1];
const OUR_IP = [192, 168, 1, 2];
const THEIR_MAC = [0x02, 0, 0, 0, 0, 2];
const THEIR_IP = [192, 168, 1, 1];
const zeros = (n: number) => new Array<number>(n).fill(0);

const arp = (opcode: number, from: readonly number[], to: readonly number[]) =>
  Uint8Array.of(
    ...to.slice(0, 6),
    ...from.slice(0, 6),
    ...[8, 6, 0, 1, 8, 0, 6, 4, 0, opcode],
    ...from,
    ...to,
    ...zeros(18),
  );

test.serial('event-driven.ts is woken by an ARP request and answers it', async (t) => {
  const argv = ([path]: readonly string[]) => [`${path},mac=02:00:00:00:00:01`, OUR_IP.join('.')];
  const request = arp(1, [...THEIR_MAC, ...THEIR_IP], [...zeros(6), ...OUR_IP]);
  const reply = arp(2, [...OUR_MAC, ...OUR_IP], [...THEIR_MAC, ...THEIR_IP]);
  t.deepEqual(await run(t, 'event-driven.ts', 1, request, argv), reply);
});

test('arp-and-ping.ts: pings come back with a good checksum; nothing else is touched', (t) => {
  const eal = createEal({ noHuge: true, memoryMiB: 16, log: () => {} });
  t.teardown(() => eal.close());
  const pool = eal.mempool(eal.createMempool({ count: 16 }));
  const answer = answering(pool, '02:00:00:00:00:01', OUR_IP.join('.'));
  const ping = (type: number, data: readonly number[], fragment = 0) => {
    const icmp = [type, 0, 0, 0, ...data];
    const sum = ~onesSum(icmp);
    icmp.splice(2, 2, (sum >> 8) & 0xff, sum & 0xff);
    const ends = type === 8 ? [...THEIR_IP, ...OUR_IP] : [...OUR_IP, ...THEIR_IP];
    const ip = [0x45, 0, 0, 20 + icmp.length, 0, 0, 0, fragment, 64, 1, 0, 0, ...ends];
    const macs = type === 8 ? [...OUR_MAC, ...THEIR_MAC] : [...THEIR_MAC, ...OUR_MAC];
    return Uint8Array.of(...macs, 8, 0, ...ip, ...icmp);
  };
  const answerTo = (bytes: Uint8Array) => {
    const m = packetFrom(pool, bytes);
    const answered = answer(m);
    const now = readPacket(pool, m);
    pool.free(m);
    return answered ? now : undefined;
  };
  const data = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 60 });
  fc.assert(
    fc.property(data, (bytes) => {
      const reply = answerTo(ping(8, bytes))!;
      t.is(onesSum(reply.subarray(34)), 0xffff);
      reply.fill(0, 36, 38);
      t.deepEqual(reply, ping(0, bytes).fill(0, 36, 38));
    }),
    { examples: [[[0xfe, 0xff, 0, 0]], [[0xff, 0xff, 0, 0]], [[0, 0, 0, 0]]] }, // carries, and both kinds of zero
  );
  for (const other of [ping(0, [1, 2, 3, 4]), ping(8, [1, 2, 3, 4], 1), ping(8, [1, 2, 3, 4]).slice(0, 41), packet]) {
    t.is(answerTo(other), undefined);
  }
});

for (const way of ['from the port to the kernel’s place', 'and back']) {
  test.serial(`exception-path.ts, on a socket instead of /dev/vhost-net: ${way}`, async (t) => {
    const argv = (paths: readonly string[]) => {
      const [port, kernel] = way === 'and back' ? paths.toReversed() : paths;
      return [kernel!, `0@${peerCpu},1@${ourCpu}`, `net_virtio_user0,path=${port}`];
    };
    t.deepEqual(await run(t, 'exception-path.ts', 2, packet, argv), packet);
  });
}
