/** Two of our ports on one Open vSwitch bridge: one on a socket where OVS listens, one where we do. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { createEal } from '../../driver/eal/eal.js';
import { attach } from '../../driver/port/attach.js';
import type { Port } from '../../driver/port/port.js';
import { NIL, type Mempool } from '../../paths/mempool.js';
import { readPacket, writePacket } from '../../tools/start/content.js';
import { Ovs, whyNoOvs } from '../support/ovs.js';
import { eventually, sleep, startOurs, temporaryDirectory } from '../support/peers.js';
import { flow, setForwarding, startForwarding, stopForwarding } from '../support/traffic.js';
import { needs } from '../support/needs.js';

const test = needs(whyNoOvs());

const SIZES = [64, 128, 256, 512, 1024, 1514];

/** OVS with a server port s0 and a client port c0. Returns both sockets. */
async function startOvs(t: ExecutionContext) {
  const ovs = await Ovs.start(t);
  const server = ovs.addServerPort('s0');
  const client = join(temporaryDirectory(t), 'c');
  ovs.addClientPort('c0', client);
  return { ovs, server, client };
}

test.serial('txonly on one port arrives at rxonly on the other', async (t) => {
  const { server, client } = await startOvs(t);
  const [sender, receiver] = await Promise.all([
    startOurs(t, { vdevs: [`net_virtio_user0,path=${server}`] }),
    startOurs(t, { vdevs: [`net_virtio_user0,path=${client},server=1`] }),
  ]);
  await setForwarding('rxonly', receiver);
  await receiver.ask('set verbose 1', /testpmd> /);
  await startForwarding(receiver);
  await setForwarding('txonly', sender);
  await startForwarding(sender);
  await receiver.waitFor(/dst=02:00:00:00:00:00 - pool=\S+ - type=0x0800 - length=64/);
  await receiver.ask('set verbose 0', /testpmd> /);
  await flow(receiver, 1000);
  await stopForwarding(sender);
  t.is(await sender.stop(), 'exit code 0');
  t.is(await receiver.stop(), 'exit code 0');
});

/** Sends a packet of each size from `from` to `to` until one of that size arrives; fails if a single byte is wrong. */
async function exchange(t: ExecutionContext, pool: Mempool, from: Port, to: Port): Promise<void> {
  const pkts = new Uint32Array(32);
  let sequence = 1;
  for (const size of SIZES) {
    const first = sequence;
    await eventually(
      `a packet of ${size} bytes through the bridge`,
      async () => {
        const m = pool.get();
        t.not(m, NIL);
        writePacket(pool, m, size, sequence++);
        pkts[0] = m;
        if (from.tx(0).xmit(pkts, 1) === 0) pool.free(m);
        await sleep(20);
        const n = to.rx(0).recv(pkts, 32);
        let arrived = 0;
        for (let i = 0; i < n; i++) {
          if (pool.pktLen[pkts[i]!] !== size) continue; // of the size before, or the bridge's own
          const seen = readPacket(pool, pkts[i]!, size);
          t.true(seen >= first && seen < sequence, `a packet of ${size} bytes came as it was sent`);
          arrived++;
        }
        pool.freeBulk(pkts, 0, n);
        return arrived;
      },
      (arrived) => arrived > 0,
    );
  }
}

test.serial('every byte arrives, both ways; OVS is killed and started again, and it does so again', async (t) => {
  const { ovs, server, client } = await startOvs(t);
  const eal = createEal({ log: (line) => t.log(line) });
  t.teardown(() => eal.close());
  const spec = eal.createMempool({ count: 4096 });
  const ports: Port[] = [];
  t.teardown(() => ports.forEach((port) => port.close()));
  for (const devargs of [`net_virtio_user0,path=${server}`, `net_virtio_user1,path=${client},server=1`]) {
    const port = await attach(eal, devargs, { log: () => {} });
    ports.push(port);
    port.configure({ mempool: spec });
    port.start();
  }
  const [a, b] = ports as [Port, Port];
  const pool = eal.mempool(spec);
  await exchange(t, pool, a, b);
  await exchange(t, pool, b, a);

  await ovs.killSwitch();
  const links = () => [a.link.up, b.link.up];
  await eventually('both links down', links, ([one, two]) => !one && !two);
  rmSync(server, { force: true }); // the killed OVS left it, and the next does not listen where a file is
  await ovs.startSwitch();
  await eventually('both links up', links, ([one, two]) => one! && two!);
  await exchange(t, pool, a, b);
  await exchange(t, pool, b, a);
  for (const port of ports.splice(0)) port.close();
  t.deepEqual(eal.leaks(), []);
});
