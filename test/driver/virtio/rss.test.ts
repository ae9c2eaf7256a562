/** Receive-side scaling: DPDK's bits and virtio's, tables, checks; and which queue a flow goes to. */
import test from 'ava';
import fc from 'fast-check';
import * as rss from '../../../driver/virtio/rss-config.js';

const capability: rss.RssCapability = { maxKeySize: 40, maxRetaSize: 128, hashTypes: 0x1ff };
const VIRTIO_HF = 0x38d34n; // of RTE_ETH_RSS_*, what virtio has: see the table below

/** virtio 1.2 section 5.1.6.4.3 and rte_ethdev.h, by name. */
const pairs: readonly (readonly [name: string, virtio: number, ethdev: bigint])[] = [
  ['ipv4', 0x001, 0x4n],
  ['ipv4-tcp', 0x002, 0x10n],
  ['ipv4-udp', 0x004, 0x20n],
  ['ipv6', 0x008, 0x100n],
  ['ipv6-tcp', 0x010, 0x400n],
  ['ipv6-udp', 0x020, 0x800n],
  ['ipv6-ex', 0x040, 0x8000n],
  ['ipv6-tcp-ex', 0x080, 0x10000n],
  ['ipv6-udp-ex', 0x100, 0x20000n],
];
for (const [name, virtio, ethdev] of pairs) {
  test(`hash type ${name}`, (t) => {
    t.is(rss.ethdevHashTypes(virtio), ethdev);
    t.is(rss.virtioHashTypes(ethdev), virtio);
  });
}

test('every set of hash types survives the way there and back; other bits are lost', (t) => {
  fc.assert(
    fc.property(fc.nat(0x1ff), fc.bigInt(0n, (1n << 64n) - 1n), (types, noise) => {
      const others = noise & ~VIRTIO_HF;
      return rss.virtioHashTypes(rss.ethdevHashTypes(types) | others) === types;
    }),
  );
  t.is(rss.ethdevHashTypes(0xffffffff), VIRTIO_HF);
});

test('what a device says of itself, out of its configuration', (t) => {
  const config = Uint8Array.of(0, 40, 0x80, 0x01, 0x3f, 0x01, 0, 0);
  t.deepEqual(rss.readRssCapability(config.subarray(1)), { maxKeySize: 40, maxRetaSize: 0x180, hashTypes: 0x13f });
});

const poor: readonly (readonly [Partial<rss.RssCapability>, RegExp])[] = [
  [{ maxKeySize: 39 }, /^Invalid device RSS max key size \(39\)/],
  [{ maxRetaSize: 127 }, /^Invalid device RSS max reta size \(127\)/],
  [{ hashTypes: 0 }, /^Invalid device RSS hash types \(0x0\)/],
  [{ hashTypes: 0x200 }, /^Invalid device RSS hash types \(0x200\)/],
];
for (const [less, message] of poor) {
  test(`a device that cannot: ${JSON.stringify(less)}`, (t) => {
    t.throws(() => rss.initialRss({ ...capability, ...less }, 2), { code: 'ECONFIG', message });
  });
}

test('defaults: everything that the device hashes, the known key, entry i is queue i % n', (t) => {
  const config = rss.initialRss({ ...capability, hashTypes: 0xffff_003f }, 3);
  t.is(config.hashTypes, 0x3f);
  t.is(Buffer.from(config.key).toString('hex').slice(0, 16), '6d5a56da255b0ec2');
  t.is(config.key.length, 40);
  t.is(config.reta.length, 128);
  t.deepEqual(config.reta.slice(0, 5), [0, 1, 2, 0, 1]);
  t.throws(() => rss.initialRss(capability, 0), { code: 'ECONFIG', message: 'Cannot init RSS if no Rx queues' });
});

test('after a reset: key and types are those of before, the table as long as it is for as many queues', (t) => {
  const key = new Uint8Array(40).fill(7);
  const changed = rss.updateRss(rss.initialRss(capability, 4), { key, hf: 0x14n }, capability, 0);
  const before = rss.updateReta(changed, [[5, 3]]);
  t.deepEqual(rss.initialRss(capability, 4, before), before);
  const fewer = rss.initialRss({ ...capability, hashTypes: 1 }, 2, before);
  t.deepEqual(fewer, { hashTypes: 1, key, reta: rss.defaultReta(2), rxQueues: 2 });
});

test('updates: key, types or both; the rest stays, and so does what was given', (t) => {
  const config = rss.initialRss(capability, 2);
  const key = new Uint8Array(40).fill(1);
  const updated = rss.updateRss(config, { key }, capability, 0);
  key.fill(2);
  t.deepEqual(updated, { ...config, key: new Uint8Array(40).fill(1) });
  t.is(rss.updateRss(config, { hf: 0n }, capability, 0).hashTypes, 0);
  t.deepEqual(rss.updateRss(config, {}, capability, 0), config);
});

test('updates that cannot be: key of another length, types that the device does not hash', (t) => {
  const config = rss.initialRss(capability, 2);
  for (const length of [0, 39, 41, 52]) {
    t.throws(() => rss.updateRss(config, { key: new Uint8Array(length) }, capability, 0), {
      code: 'ECONFIG',
      message: `Driver only supports 40 RSS key length: ${length} bytes were given`,
    });
  }
  const small = { ...capability, hashTypes: 0x3 };
  t.throws(() => rss.updateRss(config, { hf: 0x24n }, small, 3), {
    code: 'ECONFIG',
    message: 'Ethdev port_id=3 invalid rss_hf: 0x24, valid value: 0x14',
  });
});

test('the redirection table: named entries change; entries and queues that there are not change nothing', (t) => {
  const config = rss.initialRss(capability, 2);
  const { reta } = rss.updateReta(config, [
    [0, 1],
    [127, 0],
    [0, 0],
  ]);
  t.deepEqual([reta[0], reta[1], reta[127]], [0, 1, 0]);
  t.throws(() => rss.updateReta(config, [[70, 2]]), {
    code: 'ECONFIG',
    message: 'reta_conf[1]->reta[6]: 2 exceeds the maximum rxq index: 2',
  });
  for (const index of [-1, 128, 0.5]) {
    t.throws(() => rss.updateReta(config, [[index, 0]]), { code: 'ECONFIG', message: /^Invalid RETA hash index=/ });
  }
  t.deepEqual(config, rss.initialRss(capability, 2));
});

// ---- which queue a flow goes to --------------------------------------------------------------------------------------

/** The Toeplitz hash, bit by bit. */
function toeplitz(key: Uint8Array, input: Uint8Array): number {
  const bit = (bytes: Uint8Array, i: number) => (bytes[i >> 3]! >> (7 - (i & 7))) & 1;
  let hash = 0;
  for (let i = 0; i < input.length * 8; i++) {
    if (bit(input, i) === 0) continue;
    for (let b = 0; b < 32; b++) hash ^= bit(key, i + b) << (31 - b);
  }
  return hash >>> 0;
}

const flow = (source: string, sourcePort: number, destination: string, destinationPort: number) =>
  Uint8Array.from([
    ...`${source}.${destination}`.split('.').map(Number),
    ...[sourcePort, destinationPort].flatMap((port) => [port >> 8, port & 0xff]),
  ]);

test('the queue of a flow: the hash of the published examples, and its entry in the table', (t) => {
  const published = Buffer.from(
    '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa',
    'hex',
  );
  t.deepEqual(rss.DEFAULT_RSS_KEY, new Uint8Array(published));
  const tcp = flow('66.9.149.187', 2794, '161.142.100.80', 1766);
  t.is(toeplitz(rss.DEFAULT_RSS_KEY, tcp), 0x51ccc178);
  t.is(toeplitz(rss.DEFAULT_RSS_KEY, tcp.subarray(0, 8)), 0x323e8fc2);
  const config = rss.updateReta(rss.initialRss(capability, 4), [[0x78, 3]]);
  t.is(config.reta[0x51ccc178 & (rss.RSS_RETA_SIZE - 1)], 3);
});
