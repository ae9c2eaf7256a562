/** The whole public API, called as callers without types call it: every refusal is a VirtioPmdError, and nothing else happens. */
import { GuestDevice } from '../../driver/vhost/device.js';
import { virtioPort } from '../support/virtio-port.js';
import test, { type ExecutionContext } from 'ava';
import * as devargs from '../../driver/devargs/devargs.js';
import * as api from '../../driver/index.js';
import * as vhost from '../../driver/vhost/index.js';
import * as paths from '../../paths/index.js';
import { FAKE_OFFER, FakeTransport } from '../support/mock-transport.js';

type Call = (...args: unknown[]) => unknown;

/** Called for each packet or burst: no checks there (but in debug mode). What is added to an entry point is not in here by itself. */
const perPacket = new Set([
  ...[
    'resetMbuf',
    'writeBytes',
    'packetFrom',
    'copyPacket',
    'readPacket',
    'headroomOf',
    'tailroomOf',
    'lastSegment',
    'MbufView',
  ],
  ...[
    'parseHeaders',
    'bigEndian16',
    'swapBytes',
    'rawSum',
    'fold',
    'packetSum',
    'pseudoSum4',
    'pseudoSum6',
    'checksumOf',
  ],
  'sizeBin',
  'SystemError',
  'VirtioPmdError',
]);

const odd: readonly unknown[] = [
  ...[undefined, null, true, 0, 5, -1, 1.5, NaN, Infinity, 2 ** 40, 7n, '', 'x', 'net_virtio_user0'],
  ...[{}, { odd: 1 }, [], ['x'], () => undefined, new Map(), new Map([['a', 'b']]), new Uint8Array(3), new Date()],
];

const entries: readonly (readonly [name: string, module: object])[] = [
  ['virtio-pmd', api],
  ['virtio-pmd/vhost', vhost],
  ['virtio-pmd/devargs', devargs],
  ['virtio-pmd/paths', paths],
];

const isClass = (value: Call) => /^class\b/.test(Function.prototype.toString.call(value));

/** Calls it, awaits it, ends what it made; anything but a result or a VirtioPmdError is a failure of the test. */
async function attempt(t: ExecutionContext, what: string, call: () => unknown): Promise<void> {
  try {
    const made = (await call()) as { close?: () => void; next?: () => Promise<unknown> } | undefined;
    if (typeof made?.next === 'function') await made.next();
    if (typeof made?.close === 'function') made.close();
  } catch (error) {
    if (error instanceof api.VirtioPmdError) {
      if (/undefined mbufs|\[object/.test(error.message)) t.fail(`${what}: ${error.message}`);
      return;
    }
    t.fail(`${what}: ${String(error)}\n${(error as Error)?.stack}`);
  }
}

const show = (args: readonly unknown[]) =>
  args
    .map((arg) =>
      typeof arg === 'object' || typeof arg === 'function'
        ? Object.prototype.toString.call(arg)
        : String(arg as string | undefined),
    )
    .join(', ');

/** No arguments, and up to four of every odd kind. */
function* oddArguments(): Generator<unknown[]> {
  yield [];
  for (const a of odd) {
    yield [a];
    for (const b of odd) {
      yield [a, b];
      yield [a, b, b];
    }
  }
  for (const a of odd) yield [a, a, a, a];
}

for (const [name, module] of entries) {
  test.serial(`${name}: every function and class, with arguments of every wrong kind`, async (t) => {
    t.timeout(200_000);
    let functions = 0;
    for (const [key, value] of Object.entries(module as Record<string, unknown>)) {
      if (typeof value !== 'function' || perPacket.has(key)) continue;
      functions++;
      const call = value as Call & (new (...args: unknown[]) => unknown);
      for (const args of oddArguments()) {
        await attempt(t, `${key}(${show(args)})`, () => (isClass(call) ? new call(...args) : call(...args)));
      }
    }
    t.true(functions >= 2);
  });
}

/** Methods that one calls now and then. */
const methods: readonly (readonly [make: string, names: readonly string[]])[] = [
  [
    'eal',
    [
      ...['reserve', 'release', 'useAddressing', 'deviceAddress', 'userAddress', 'createMempool', 'mempool', 'leaks'],
      'beforeClose',
    ],
  ],
  ['lcores', ['launch', 'stop', 'wake', 'wait', 'state', 'quiesce', 'deliver']],
  [
    'port',
    [
      ...[
        'configure',
        'start',
        'stop',
        'reset',
        'rx',
        'tx',
        'spec',
        'rxReady',
        'stats',
        'xstats',
        'resetStats',
        'info',
      ],
      ...['rxQueueInfo', 'txQueueInfo', 'path', 'setMtu', 'setPromiscuous', 'setAllmulticast', 'on', 'off'],
    ],
  ],
  [
    'filters',
    [
      ...[
        'setPromiscuous',
        'setAllmulticast',
        'addMacAddress',
        'removeMacAddress',
        'setMulticastList',
        'setDefaultMac',
      ],
      ...['setVlanFiltering', 'setVlanFilter'],
    ],
  ],
  ['rss', ['rssConf', 'rssUpdate', 'retaQuery', 'retaUpdate', 'queuesCommand']],
  ['driver', ['poll', 'close']],
  ['device', ['isRunning', 'ringStats']],
];

function makeAll(t: ExecutionContext) {
  const eal = api.createEal({ noHuge: true, memoryMiB: 32, log: () => undefined, lcores: new Map([0, 1].map((id) => [id, [api.parseLcores('-l', '0').get(0)![0]!]])), pinMain: false }); // prettier-ignore
  eal.lcores.onFailure = () => undefined;
  const mempool = eal.createMempool({ count: 1024 });
  const text = 'net_virtio_user0,path=/nowhere,cq=1';
  const args = devargs.parseVirtioUser(text);
  const transport = new FakeTransport({ offered: FAKE_OFFER });
  const port = virtioPort({ eal, id: 0, devargs: text, args, transport, log: () => undefined });
  port.configure({ mempool });
  const driver = new vhost.VhostDriver('/nowhere/x.sock', {}, {});
  const device = new GuestDevice(0, '/nowhere', {
    ...{ offered: 0n, offeredProtocol: 0n, maxQueuePairs: 1, callbacks: {}, log: () => undefined },
  });
  t.teardown(() => eal.close());
  return { eal, lcores: eal.lcores, port, filters: port.filters, rss: port.rss, driver, device, mempool };
}

for (const [make, names] of methods) {
  test.serial(`methods of ${make}, with arguments of every wrong kind`, async (t) => {
    t.timeout(200_000);
    const all = makeAll(t) as unknown as Record<string, Record<string, Call>>;
    for (const name of names) {
      for (const args of oddArguments()) {
        if (name === 'rxReady' && Array.isArray(args[0]) && args[0].length === 0) continue; // it waits for none, for ever
        if (name === 'wait' && args[0] === undefined && typeof args[1] === 'number') continue; // that is no mistake
        await attempt(t, `${make}.${name}(${show(args)})`, () => all[make]![name]!(...args));
      }
    }
    t.pass();
  });
}

test('a misspelt key is named, with the nearest and with all that are known; so is one of the wrong type', (t) => {
  const { eal, port, mempool } = makeAll(t);
  const said = (call: () => unknown) => t.throws(call, { instanceOf: api.VirtioPmdError, code: 'ECONFIG' }).message;
  t.is(
    said(() => eal.createMempool({ cuont: 5 } as never)),
    'createMempool: unknown option "cuont"; did you mean count? (known options: name, count, dataRoom, headroom, cacheSize)',
  );
  t.is(
    said(() => eal.createMempool({} as never)),
    'createMempool: count is missing: expected a number',
  );
  t.is(
    said(() => eal.createMempool({ count: '5' } as never)),
    'createMempool: count is "5": expected a number',
  );
  t.is(
    said(() => (eal.createMempool as Call)()),
    'createMempool: nothing was given: expected an object with count (known options: name, count, dataRoom, headroom, cacheSize)',
  );
  t.regex(
    said(() => (eal.createMempool as Call)(null)),
    /^createMempool: null was given: expected an object with count/,
  );
  t.regex(
    said(() => api.createEal({ memoryMib: 5 } as never)),
    /^createEal: unknown option "memoryMib"; did you mean memoryMiB\?/,
  );
  t.regex(
    said(() => port.configure({ mempool, rxqueues: 2 } as never)),
    /^port.configure: unknown option "rxqueues"; did you mean rxQueues\?/,
  );
  t.regex(
    said(() => new vhost.VhostDriver('/x', { queue: 2 } as never, {})),
    /^VhostDriver: unknown option "queue"; did you mean queues\?/,
  );
  t.regex(
    said(() => new vhost.VhostDriver('/x', {}, { newdevice: 2 } as never)),
    /callbacks: unknown option "newdevice"; did you mean newDevice\?/,
  );
  t.regex(
    said(() => port.filters.addMacAddress(5 as never)),
    /addMacAddress: mac is 5: expected a string/,
  );
  t.regex(said(() => api.openStream({ mempool: 1, post: 1 } as never, { rx: port.spec().rx[0], tx: port.spec().tx[0], settings: { bursts: 4 } } as never)), /^openStream, settings: unknown option "bursts"; did you mean burst\?/); // prettier-ignore
});

test('attach and rxReady refuse by rejecting', async (t) => {
  const { eal, port } = makeAll(t);
  const device = 'net_virtio_user1,path=/nowhere';
  const misspelt = await t.throwsAsync(api.attach(eal, device, { sginal: 1 } as never), { code: 'ECONFIG' });
  t.regex(misspelt.message, /^attach: unknown option "sginal"; did you mean signal\?/);
  await t.throwsAsync(api.attach(eal, undefined as never), {
    message: 'attach: devargs is missing: expected a string',
  });
  await t.throwsAsync(api.attach(undefined as never, device), {
    message: /^attach: eal is missing: expected what createEal/,
  });
  await t.throwsAsync(port.rxReady([0], { signals: 1 } as never).next(), {
    message: /^rxReady: unknown option "signals"/,
  });
  await t.throwsAsync(port.rxReady(0 as never).next(), {
    message: /^rxReady: queues is 0: expected an array of numbers/,
  });
});
