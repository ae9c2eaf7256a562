/** What a virtio_user port on a vhost-user back-end does with control commands, and which features it cannot have. */
import test from 'ava';
import * as F from '../../../../driver/wire/virtio-features.js';
import * as V from '../../../../driver/wire/vhost-user.js';
import { RX_OFFLOAD_RSS_HASH } from '../../../../driver/port/types.js';
import { RAW_FEATURES, RAW_PROTOCOL_FEATURES } from '../../../support/raw-backend.js';
import { bench } from '../support/raw-port.js';

const HASHING = F.VIRTIO_NET_F_RSS | F.VIRTIO_NET_F_HASH_REPORT;

test.serial('RSS and hash reports of a vhost-user back-end are withheld, with the reason; queues work', async (t) => {
  const b = bench(t);
  const rssConfig = Array.from({ length: 24 }, () => 0xff);
  const protocolFeatures = RAW_PROTOCOL_FEATURES | V.PROTOCOL_F_CONFIG;
  const backend = await b.backend({
    scripts: [{ features: RAW_FEATURES | HASHING, protocolFeatures, config: rssConfig }],
  });
  const port = await b.attach(',queues=2');
  port.configure({ mempool: b.mempool, rxQueues: 2, txQueues: 2, rss: true });
  port.start();
  const { payload } = backend.messages().find(({ request }) => request === V.SET_FEATURES)!;
  t.is(V.decodeU64(payload) & HASHING, 0n);
  t.true(backend.trace().includes('SET_VRING_ENABLE 2 1'));
  for (const name of ['VIRTIO_NET_F_RSS', 'VIRTIO_NET_F_HASH_REPORT']) {
    const refused = port.path().features.refused.find(({ what }) => what === name)!;
    t.is(refused.why, 'vhost-user has no message that tells a back-end how to hash');
  }
  t.false(port.rss.usesRss);
  t.deepEqual(port.info().rss, { keySize: 0, retaSize: 0, flowTypes: 0n });
  t.throws(() => port.rss.rssConf(), { code: 'ECONFIG' });
  port.stop();
  t.throws(() => port.configure({ mempool: b.mempool, rxOffloads: RX_OFFLOAD_RSS_HASH }), { code: 'ECONFIG' });
});

test.serial(
  'modes and addresses are accepted with cq=1, again after a reset, and no message tells of them',
  async (t) => {
    const b = bench(t);
    const features = RAW_FEATURES | F.VIRTIO_NET_F_CTRL_MAC_ADDR | F.VIRTIO_NET_F_CTRL_VLAN;
    const backend = await b.backend({ scripts: [{ features }] });
    const port = await b.attach(',cq=1,mac=02:00:00:00:00:01');
    port.configure({ mempool: b.mempool });
    const messages = backend.trace().length;
    port.setPromiscuous(true);
    port.setAllmulticast(true);
    port.filters.addMacAddress('02:00:00:00:00:02');
    port.filters.setMulticastList(['01:00:5e:00:00:01']);
    port.filters.setDefaultMac('02:00:00:00:00:03');
    t.is(backend.trace().length, messages);
    port.configure({ mempool: b.mempool, rxDesc: 64 });
    t.is(port.mac, '02:00:00:00:00:03');
    t.deepEqual([port.info().promiscuous, port.info().allmulticast], [true, true]);
    t.deepEqual(
      b.lines.filter((line) => line.startsWith('error')),
      [],
    );
  },
);
