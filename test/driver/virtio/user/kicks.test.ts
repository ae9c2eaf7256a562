/** A back-end fills our own kick eventfds and makes them blocking: whoever writes to one would wait for ever. */
import { virtqueues } from '../../../support/virtio-port.js';
import { join } from 'node:path';
import test from 'ava';
import { packetFrom } from '../../../../paths/mbuf.js';
import { KICKS } from '../../../../paths/stats.js';
import { queueState } from '../../../../paths/guest/queue.js';
import { attach } from '../../../../driver/port/attach.js';
import { spawnL3fwd } from '../../../support/l3fwd-program.js';
import { ourCpu, peerCpu, temporaryDirectory } from '../../../support/peers.js';
import { RawBackend, startThread } from '../../../support/raw-backend.js';
import { bench } from '../support/raw-port.js';
import { spawnTestpmd } from '../../../support/testpmd-process.js';

for (const args of ['', ',packed_vq=1', ',in_order=0,mrg_rxbuf=0']) {
  test.serial(`two ports${args}: bursts, stop and close go on, and so does the other port`, async (t) => {
    const b = bench(t);
    await b.backend({ scripts: [{ fillsKicks: true }] });
    const hostile = await b.attach(args);
    const path = join(b.directory, 'other');
    const friend = await RawBackend.start({ path, scripts: [{}] }, startThread());
    t.teardown(() => friend.stop());
    const other = await attach(b.eal, `net_virtio_user1,path=${path}${args}`, { log: () => undefined });
    t.teardown(() => other.close());
    const ports = [hostile, other];
    for (const port of ports) {
      port.configure({ mempool: b.mempool, rxInterrupts: true });
      port.start();
    }
    const pool = b.eal.mempool(b.mempool);
    for (let i = 0; i < 20; i++) {
      for (const port of ports) {
        t.is(port.tx(0).xmit(Uint32Array.of(packetFrom(pool, new Uint8Array(60).fill(i))), 1), 1);
      }
    }
    for (const port of ports)
      t.is(queueState(virtqueues(port).tx[0]!).stats[KICKS], 20, 'each burst was to be told of');
    hostile.stop();
    t.is(other.tx(0).xmit(Uint32Array.of(packetFrom(pool, new Uint8Array(60))), 1), 1);
    hostile.start();
    hostile.close();
    t.is(other.tx(0).xmit(Uint32Array.of(packetFrom(pool, new Uint8Array(60))), 1), 1);
    other.stop();
    other.close();
    t.deepEqual(b.eal.leaks(), []);
  });
}

async function hostileBackend(t: Parameters<typeof temporaryDirectory>[0]): Promise<string> {
  const path = join(temporaryDirectory(t), 's');
  const backend = await RawBackend.start({ path, scripts: [{ fillsKicks: true }] });
  t.teardown(() => backend.stop());
  return path;
}

for (const args of ['', ',packed_vq=1']) {
  test.serial(`testpmd${args}: start tx_first, stop, quit`, async (t) => {
    const peer = spawnTestpmd(t, [`net_virtio_user0,path=${await hostileBackend(t)}${args}`], ['-i']);
    await peer.waitFor(/testpmd> /);
    peer.send('start tx_first');
    peer.send('show port stats 0');
    await peer.waitFor(/TX-packets: 32/);
    peer.send('stop');
    await peer.waitFor(/Done\./);
    peer.send('quit');
    t.is(await peer.end(), 'exit code 0');
  });
}

test.serial('testpmd: SIGTERM while it sends', async (t) => {
  const vdev = `net_virtio_user0,path=${await hostileBackend(t)}`;
  const peer = spawnTestpmd(t, [vdev], ['--forward-mode=txonly', '--stats-period=1']);
  await peer.waitFor(/TX-packets: [1-9]/);
  process.kill(peer.pid, 'SIGTERM');
  t.is(await peer.end(), 'exit code 0');
});

test.serial('l3fwd-power: asleep until interrupts come, and ended by a signal', async (t) => {
  const eal = ['--lcores', `0@${peerCpu},1@${ourCpu}`, '--no-pci', '--no-huge'];
  const vdev = ['--vdev', `net_virtio_user0,path=${await hostileBackend(t)}`];
  const peer = spawnL3fwd(
    t,
    [...eal, ...vdev],
    ['-p', '1', '-P', '--config=(0,0,1)', '--no-numa', '--parse-ptype', '--interrupt-only'],
  );
  await peer.waitFor(/lcore 1 sleeps until interrupt triggers/);
  process.kill(peer.pid, 'SIGTERM');
  t.is(await peer.end(), 'exit code 0');
});
