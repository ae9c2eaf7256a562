// A kernel interface for each port, and packets both ways: `exception-path.ts /dev/vhost-net LCORES DEVARGS...`.
import { isMainThread } from 'node:worker_threads';
import { attach, createEal, hotplugAdd, loadQueues, openStream, parseLcores, portsOf } from '../../driver/index.js';
import type { LcoreContext, StreamSpec } from '../../driver/index.js';

export async function forward(context: LcoreContext, specs: readonly StreamSpec[]): Promise<void> {
  await loadQueues(specs.flatMap(({ rx, tx }) => [rx, tx]));
  const streams = specs.map((spec) => openStream(context, spec));
  while (context.running()) for (const stream of streams) stream.send(stream.receive());
}

if (isMainThread) {
  const [path = '/dev/vhost-net', lcores = '0@0,1@1', ...devices] = process.argv.slice(2);
  const eal = createEal({ lcores: parseLcores('--lcores', lcores) });
  for (const device of devices) await attach(eal, device);
  const mempool = eal.createMempool({ count: 16384 });
  const streams: StreamSpec[] = [];
  for (const port of portsOf(eal)) {
    const name = `virtio_user${port.id}`;
    const iface = path.startsWith('/dev/') ? `,iface=${name}` : ''; // a vhost-user socket will do for a try
    const args = `path=${path},queues=1,queue_size=1024,mac=${port.mac}${iface}`;
    const kernel = await hotplugAdd(eal, 'vdev', name, args);
    for (const each of [port, kernel]) {
      each.configure({ mempool });
      each.start();
    }
    const [a, b] = [port.spec(), kernel.spec()];
    streams.push({ rx: a.rx[0]!, tx: b.tx[0]! }, { rx: b.rx[0]!, tx: a.tx[0]! });
  }
  eal.lcores.launch(1, import.meta.url, 'forward', streams);
  process.once('SIGTERM', () => [...portsOf(eal), eal].forEach((each) => each.close()));
}
