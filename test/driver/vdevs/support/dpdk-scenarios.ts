/** net_af_packet with dpdk-testpmd's net_af_packet at the other end of a veth pair, in a network namespace. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { frame, isOurs, withBench, type Bench } from './bench.js';

const VETH = ['link add v0 type veth peer name v1', 'link set v0 up', 'link set v1 up'];

/** Runs dpdk-testpmd on v1, which returns every packet there with its addresses exchanged, and ends it. */
async function withDpdk(args: string, queues: number, bench: Bench, run: () => Promise<void>): Promise<string> {
  const eal = ['--no-pci', '--no-huge', '-m', '128', '-l', '0,1', `--file-prefix=socks${process.pid}`];
  const device = `net_af_packet0,iface=v1,qpairs=${queues}${args}`;
  const own = ['--forward-mode=macswap', '--port-topology=loop', '--total-num-mbufs=4096', `--rxq=${queues}`, `--txq=${queues}`]; // prettier-ignore
  const dpdk = spawn('dpdk-testpmd', [...eal, '--vdev', device, '--', '-i', ...own]);
  let output = '';
  const ended = new Promise<void>((resolve) => dpdk.once('close', () => resolve()));
  for (const stream of [dpdk.stdout, dpdk.stderr]) stream.on('data', (text: Buffer) => (output += text.toString()));
  try {
    const prompts = () => output.split('testpmd> ').length - 1;
    await bench.until('the prompt of dpdk-testpmd', () => prompts() >= 1);
    dpdk.stdin.write('start\n');
    await bench.until('that it starts', () => prompts() >= 2);
    await run();
    dpdk.stdin.end('stop\nquit\n');
    await ended;
    return output;
  } finally {
    dpdk.kill('SIGKILL');
    await ended;
  }
}

function swapped(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  copy.set(bytes.subarray(0, 6), 6);
  copy.set(bytes.subarray(6, 12), 0);
  return copy;
}

export const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  'packets of all sizes to dpdk-testpmd’s net_af_packet and back': () =>
    withBench(VETH, async (bench) => {
      const port = await bench.port('net_af_packet0,iface=v0');
      const sizes = [60, 61, 64, 127, 512, 767, 768, 1000, 1513, 1514];
      const output = await withDpdk('', 1, bench, async () => {
        const sent = Array.from({ length: 200 }, (_, i) => frame(i, sizes[i % sizes.length]));
        for (let at = 0; at < 200; at += 20) assert.equal(bench.send(port, sent.slice(at, at + 20)), 20);
        const got = await bench.receive(port, 200, isOurs);
        assert.deepEqual(got.map(({ bytes }) => bytes), sent.map(swapped)); // prettier-ignore
      });
      assert.match(output, /RX-packets: 200 +RX-dropped: 0 +RX-total: 200/);
      assert.match(output, /TX-packets: 200 +TX-dropped: 0 +TX-total: 200/);
    }),
  'two queues on both sides, and VLAN tags': () =>
    withBench(VETH, async (bench) => {
      const port = await bench.port('net_af_packet0,iface=v0,qpairs=2', { rxQueues: 2 });
      await withDpdk(',framecnt=1024', 2, bench, async () => {
        const sent = Array.from({ length: 64 }, (_, i) => {
          const bytes = new Uint8Array(68);
          bytes.set(frame(i, 64).subarray(0, 12));
          bytes.set([0x81, 0, 0x20, 5, 0x88, 0xb5, 0, 0, 0, i], 12);
          return bytes;
        });
        assert.equal(bench.send(port, sent.slice(0, 32), { queue: 0 }), 32);
        assert.equal(bench.send(port, sent.slice(32), { queue: 1 }), 32);
        const got = await bench.receive(port, 64, (bytes) => bytes[12] === 0x81);
        const byNumber = got.map(({ bytes }) => bytes).sort((a, b) => a[21]! - b[21]!);
        assert.deepEqual(byNumber, sent.map(swapped));
      });
    }),
};
