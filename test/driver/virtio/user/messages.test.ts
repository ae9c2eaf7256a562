/** The front-end's messages on the wire, in order (virtio_user with vhost-user), for back-ends of several kinds. */
import { virtqueues } from '../../../support/virtio-port.js';
import test from 'ava';
import * as F from '../../../../driver/wire/virtio-features.js';
import * as V from '../../../../driver/wire/vhost-user.js';
import { RAW_FEATURES, RAW_PROTOCOL_FEATURES, until } from '../../../support/raw-backend.js';
import { bench } from '../support/raw-port.js';

const PROBE = ['SET_OWNER', 'GET_FEATURES', 'GET_PROTOCOL_FEATURES', 'SET_PROTOCOL_FEATURES'];
const call = (rings: number) => Array.from({ length: rings }, (_, i) => `SET_VRING_CALL ${i}`);
const ring = (i: number, size = 256) => [
  `SET_VRING_NUM ${i} ${size}`,
  `SET_VRING_BASE ${i}`,
  `SET_VRING_ADDR ${i}`,
  `SET_VRING_KICK ${i}`,
];
const enable = (pair: number, on: number) => [
  `SET_VRING_ENABLE ${2 * pair} ${on}`,
  `SET_VRING_ENABLE ${2 * pair + 1} ${on}`,
];

test.serial(
  'one pair: probe at attach, features and rings at configure, nothing at start, reset at close',
  async (t) => {
    const b = bench(t);
    const backend = await b.backend({ scripts: [{}] });
    const port = await b.attach();
    await until(() => backend.trace().length === PROBE.length, 'the probe is over'); // its last message has no reply
    t.deepEqual(backend.trace(), PROBE);
    port.configure({ mempool: b.mempool });
    const configured = [
      ...PROBE,
      ...call(2),
      'SET_FEATURES',
      'SET_STATUS 11',
      'GET_STATUS',
      'GET_STATUS',
      'SET_MEM_TABLE',
      ...ring(0),
      ...ring(1),
      ...enable(0, 1),
      'SET_STATUS 15',
    ];
    t.deepEqual(backend.trace(), configured);
    port.start();
    t.true(port.link.up);
    port.stop();
    port.start();
    t.deepEqual(backend.trace(), configured);
    port.close();
    const closed = [...configured, ...enable(0, 0), 'GET_VRING_BASE 0', 'GET_VRING_BASE 1', 'SET_STATUS 0'];
    await until(() => backend.trace().length === closed.length, 'the reset has come');
    t.deepEqual(backend.trace(), closed);
    t.deepEqual(b.eal.leaks(), []);
  },
);

test.serial('two pairs: all rings are set up, the second pair is enabled at start and only once', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ scripts: [{}] });
  const port = await b.attach(',queues=2');
  port.configure({ mempool: b.mempool, rxQueues: 2 });
  t.deepEqual(backend.trace(), [
    ...PROBE,
    ...call(4),
    'SET_FEATURES',
    'SET_STATUS 11',
    'GET_STATUS',
    'GET_STATUS',
    'SET_MEM_TABLE',
    ...[0, 1, 2, 3].flatMap((i) => ring(i)),
    ...enable(0, 1),
    'SET_STATUS 15',
  ]);
  const before = backend.trace().length;
  port.start();
  t.deepEqual(backend.trace().slice(before), enable(1, 1));
  port.stop();
  port.start();
  t.deepEqual(backend.trace().slice(before), enable(1, 1));
});

test.serial('fewer queues than the device grants: the surplus pair stays disabled', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ scripts: [{}] });
  const port = await b.attach(',queues=2');
  port.configure({ mempool: b.mempool, rxQueues: 1 });
  port.start();
  t.false(backend.trace().some((line) => line === 'SET_VRING_ENABLE 2 1'));
});

test.serial('descriptors come with SET_MEM_TABLE, KICK and CALL, and with nothing else', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ scripts: [{}] });
  const port = await b.attach();
  port.configure({ mempool: b.mempool });
  for (const { request, name, fds } of backend.messages()) {
    const carries = [V.SET_MEM_TABLE, V.SET_VRING_KICK, V.SET_VRING_CALL].includes(request);
    t.is(fds, carries ? 1 : 0, name);
  }
});

test.serial('SET_FEATURES: what was acknowledged and bit 30, without what the front-end does itself', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ scripts: [{}] });
  const port = await b.attach(',queues=2,mac=02:00:00:00:00:01,packed_vq=1');
  port.configure({ mempool: b.mempool });
  const { payload } = backend.messages().find(({ request }) => request === V.SET_FEATURES)!;
  t.is(
    V.decodeU64(payload),
    F.VIRTIO_F_VERSION_1 |
      F.VIRTIO_NET_F_MRG_RXBUF |
      F.VIRTIO_F_IN_ORDER |
      F.VIRTIO_F_RING_PACKED |
      F.VIRTIO_F_INDIRECT_DESC |
      F.VIRTIO_NET_F_MQ |
      F.VIRTIO_NET_F_CTRL_RX |
      F.VHOST_USER_F_PROTOCOL_FEATURES,
  );
  t.is(port.mac, '02:00:00:00:00:01');
});

test.serial('only the protocol features that we know are acknowledged', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ scripts: [{ protocolFeatures: (1n << 64n) - 1n, config: [] }] });
  await b.attach();
  // GET_CONFIG is not asked for: the back-end offers no MAC
  await until(() => backend.trace().length === PROBE.length, 'the probe is over');
  const { payload } = backend.messages().find(({ request }) => request === V.SET_PROTOCOL_FEATURES)!;
  t.is(V.decodeU64(payload), RAW_PROTOCOL_FEATURES | V.PROTOCOL_F_CONFIG);
});

test.serial(
  'a back-end without protocol features: no protocol messages, no ENABLE, no status, one queue pair',
  async (t) => {
    const b = bench(t);
    const backend = await b.backend({ scripts: [{ features: RAW_FEATURES & ~F.VHOST_USER_F_PROTOCOL_FEATURES }] });
    const port = await b.attach(',queues=2');
    port.configure({ mempool: b.mempool });
    port.start();
    t.true(port.link.up);
    const expected = ['SET_OWNER', 'GET_FEATURES', ...call(2), 'SET_FEATURES', 'SET_MEM_TABLE', ...ring(0), ...ring(1)];
    await until(() => backend.trace().length === expected.length, 'all messages have come');
    t.deepEqual(backend.trace(), expected);
    t.is(port.info().maxRxQueues, 1);
  },
);

test.serial('a back-end without VERSION_1 is driven as a legacy device, and the report says so', async (t) => {
  const b = bench(t);
  const backend = await b.backend({
    scripts: [{ features: RAW_FEATURES & ~F.VIRTIO_F_VERSION_1 & ~F.VIRTIO_NET_F_MRG_RXBUF & ~F.VIRTIO_F_RING_PACKED }],
  });
  const port = await b.attach();
  port.configure({ mempool: b.mempool });
  port.start();
  t.true(port.link.up);
  t.deepEqual(backend.trace(), [
    ...PROBE,
    ...call(2),
    'SET_FEATURES',
    'SET_MEM_TABLE',
    ...ring(0),
    ...ring(1),
    ...enable(0, 1),
  ]);
  t.is(virtqueues(port).rx[0]!.hdrSize, 10);
  const refused = port.path().features.refused.find(({ what }) => what === 'VIRTIO_F_VERSION_1')!;
  t.is(refused.why, 'not offered by the device');
});

test.serial('a back-end without MQ: one pair is granted, and asking for two names both numbers', async (t) => {
  const b = bench(t);
  await b.backend({ scripts: [{ protocolFeatures: RAW_PROTOCOL_FEATURES & ~V.PROTOCOL_F_MQ }] });
  const port = await b.attach(',queues=4');
  const error = t.throws(() => port.configure({ mempool: b.mempool, rxQueues: 4 }), { code: 'ECONFIG' });
  t.regex(error.message, /nb_rx_queues=4 > 1/);
  port.configure({ mempool: b.mempool });
  port.start();
  const refused = port.path().features.refused.find(({ what }) => what === 'VIRTIO_NET_F_MQ')!;
  t.regex(refused.why, /protocol feature MQ/);
});

test.serial(
  'a MAC in the back-end’s configuration is used; mac= wins; an empty reply means a random one',
  async (t) => {
    const mac = [2, 0, 0, 0, 0, 7];
    const features = RAW_FEATURES | F.VIRTIO_NET_F_MAC;
    const protocolFeatures = RAW_PROTOCOL_FEATURES | V.PROTOCOL_F_CONFIG;
    const b = bench(t);
    await b.backend({
      scripts: [
        { features, protocolFeatures, config: mac },
        { features, protocolFeatures, config: mac },
        { features, protocolFeatures, config: [] },
      ],
    });
    const first = await b.attach();
    t.is(first.mac, '02:00:00:00:00:07');
    first.close();
    const second = await b.attach(',mac=02:00:00:00:00:08');
    t.is(second.mac, '02:00:00:00:00:08');
    second.close();
    const third = await b.attach();
    t.true(b.lines.includes('info No valid MAC in devargs or device, use random'));
    t.is(parseInt(third.mac.slice(0, 2), 16) & 3, 2);
  },
);

test.serial('a changed configuration resets the device and sets it up anew; the same one sends nothing', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ scripts: [{}] });
  const port = await b.attach();
  port.configure({ mempool: b.mempool });
  const once = backend.trace().length;
  port.configure({ mempool: b.mempool });
  t.is(backend.trace().length, once);
  port.configure({ mempool: b.mempool, rxDesc: 64 });
  const again = backend.trace().slice(once);
  t.deepEqual(again.slice(0, 6), [
    ...enable(0, 0),
    'GET_VRING_BASE 0',
    'GET_VRING_BASE 1',
    'SET_STATUS 0',
    'SET_VRING_CALL 0',
  ]);
  t.is(again.at(-1), 'SET_STATUS 15');
});

for (const [ring, args, base] of [
  ['a split ring starts at base 0', '', 0],
  ['a packed ring starts at base 0 with both wrap counters set', ',packed_vq=1', 0x80008000],
] as const) {
  test.serial(ring, async (t) => {
    const b = bench(t);
    const backend = await b.backend({ scripts: [{}] });
    const port = await b.attach(args);
    port.configure({ mempool: b.mempool });
    const bases = backend.messages().filter(({ request }) => request === V.SET_VRING_BASE);
    t.deepEqual(
      bases.map(({ payload }) => V.decodeVringState(payload).num),
      [base, base],
    );
  });
}
