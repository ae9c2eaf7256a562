/** The stream that forwarding modes see, on queues that are arrays, and the search for mbufs that a mode has lost. */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { isVirtioPmdError } from '../../../native/errors.js';
import { createRegion, destroyRegion } from '../../../native/region.js';
import { ForwardStream } from '../../../driver/port/stream.js';
import { recoverMbufs } from '../../../driver/eal/lost-mbufs.js';
import { readStreamCounts, streamCounters, streamCountersBytes } from '../../../driver/port/stream-counters.js';
import { queueSharedBytes, queueState, INITIALISED, type QueueSpec } from '../../../paths/guest/queue.js';
import { createMempool, Mempool, mempoolStride, NIL } from '../../../paths/mempool.js';

const COUNT = 64;

function makePool(t: ExecutionContext): { pool: Mempool; other: Mempool } {
  const region = createRegion('test', COUNT * mempoolStride(128, 2048), false);
  t.teardown(() => destroyRegion(region));
  const mapping = { address: region.address, byteLength: region.byteLength };
  const spec = createMempool({
    ...{ name: 'p', mapping, base: 0, count: COUNT, headroom: 128, dataRoom: 2048, cacheSize: 8 },
    deviceAddress: BigInt,
  });
  return { pool: new Mempool(spec, 0), other: new Mempool(spec, 1) };
}

function setup(t: ExecutionContext, room = Infinity) {
  const { pool } = makePool(t);
  const sent: number[] = [];
  const spec = { portId: 0, queueId: 0 } as QueueSpec;
  const shared = new SharedArrayBuffer(streamCountersBytes());
  const stream = new ForwardStream(
    {
      spec,
      fill: () => 0,
      recv: (pkts, n) => {
        for (let i = 0; i < n; i++) pkts[i] = pool.get();
        return n;
      },
    },
    {
      spec,
      prepare: (_, n) => n,
      cleanup: () => 0,
      xmit: (pkts, n) => {
        const taken = Math.min(n, room);
        sent.push(...pkts.subarray(0, taken));
        return taken;
      },
    },
    pool,
    { burst: 4, retries: 0, retryDelayUs: 1, ownMac: [1, 2, 3, 4, 5, 6], peerMac: [6, 5, 4, 3, 2, 1] },
    streamCounters(shared),
    () => {},
  );
  return { pool, sent, stream, counts: () => readStreamCounts(shared) };
}

test('receive, keep some, drop some: all is counted and no mbuf is lost', (t) => {
  const { pool, sent, stream, counts } = setup(t, 1);
  t.is(stream.receive(), 4);
  const [a, b, c, d] = stream.pkts;
  stream.drop(a!);
  stream.pkts[0] = b!;
  stream.pkts[1] = d!;
  pool.free(c!);
  stream.send(2);
  t.deepEqual(sent, [b!]);
  t.deepEqual(counts(), { rxPackets: 4, txPackets: 1, txDropped: 2 });
  t.is(pool.inUse(), 1);
});

test('send(0) does nothing', (t) => {
  const { sent, stream, counts } = setup(t);
  stream.pkts[0] = NIL;
  stream.send(0);
  t.deepEqual(sent, []);
  t.deepEqual(counts(), { rxPackets: 0, txPackets: 0, txDropped: 0 });
});

for (const n of [-1, 5, 1.5, NaN, Infinity]) {
  test(`send(${n}): refused, and nothing reaches the queue`, (t) => {
    const { sent, stream } = setup(t);
    const error = t.throws(() => stream.send(n));
    t.true(isVirtioPmdError(error, 'ECONFIG'));
    t.is(error!.message, `send(${n}): a burst has 0 to 4 packets`);
    t.deepEqual(sent, []);
  });
}

test('what is no mbuf is not sent, nor what stands before it', (t) => {
  const { sent, stream } = setup(t);
  for (const m of [NIL, COUNT, 0x7fffffff]) {
    stream.pkts.set([1, 2, m, 3]);
    t.throws(() => stream.send(4), { message: `send(4): pkts[2] is ${m}, and mbufs have numbers from 0 to 63` });
    stream.send(2);
  }
  t.deepEqual(sent, [1, 2, 1, 2, 1, 2]);
});

/** A queue that holds these packets. */
function queueWith(path: 'virtio_xmit_pkts' | 'virtio_recv_pkts', cookies: readonly number[]): QueueSpec {
  const spec = { path, size: 16, shared: new SharedArrayBuffer(queueSharedBytes(16)) } as unknown as QueueSpec;
  const { cookie, words } = queueState(spec);
  words[INITIALISED] = 1;
  cookie.fill(NIL);
  cookie.set(cookies, 3);
  return spec;
}

test('lost mbufs are found, those with a device are left there, segments included', (t) => {
  const { pool } = makePool(t);
  const taken = Array.from({ length: 10 }, () => pool.get());
  const [head, tail, posted] = taken;
  pool.next[head!] = tail!;
  pool.nbSegs[head!] = 2;
  const lost = taken.slice(3);
  pool.next[lost[0]!] = lost[1]!; // a chain that was lost, and a ring of one
  pool.next[lost[2]!] = lost[2]!;
  const queues = [queueWith('virtio_xmit_pkts', [head!]), queueWith('virtio_recv_pkts', [posted!])];
  t.deepEqual(recoverMbufs(pool, queues), { lost: 7, twice: 0 });
  t.is(pool.inUse(), 3);
  t.deepEqual([...lost].map((m) => pool.next[m]), lost.map(() => NIL)); // prettier-ignore
  t.is(pool.next[head!], tail!);
  t.deepEqual(recoverMbufs(pool, queues), { lost: 0, twice: 0 });
});

test('a queue that was never started holds nothing, whatever its zeros say', (t) => {
  const { pool } = makePool(t);
  const spec = queueWith('virtio_recv_pkts', []);
  queueState(spec).cookie.fill(0);
  queueState(spec).words[INITIALISED] = 0;
  t.deepEqual(recoverMbufs(pool, [spec]), { lost: 0, twice: 0 });
});

test('any mixture of mbufs lost, freed twice and freed while sent is put right', (t) => {
  const { pool } = makePool(t);
  const actions = fc.array(fc.constantFrom('lose', 'free', 'free twice', 'send', 'send and free'), { maxLength: 16 });
  fc.assert(
    fc.property(actions, (list) => {
      const sent: number[] = [];
      let twice = 0;
      for (const action of list) {
        const m = pool.get();
        if (action.startsWith('send')) sent.push(m);
        if (action.startsWith('free')) pool.free(m);
        // at the end, so that no later get() meets it
        if (action === 'send and free' || action === 'free twice') twice++;
      }
      // frees of the second kind come last: an mbuf in the list twice would be handed out twice
      list.forEach((action, i) => {
        if (action === 'send and free') pool.free(sent[list.slice(0, i).filter((a) => a.startsWith('send')).length]!);
      });
      const top = pool.get();
      for (let i = list.filter((action) => action === 'free twice').length; i >= 0; i--) pool.free(top);
      const queues = [queueWith('virtio_xmit_pkts', sent.slice(0, 8)), queueWith('virtio_xmit_pkts', sent.slice(8))];
      const lost = list.filter((action) => action === 'lose').length;
      t.deepEqual(recoverMbufs(pool, queues), { lost, twice });
      t.is(pool.inUse(), sent.length);
      const all = new Set(sent);
      while (pool.available() > 0) all.add(pool.get());
      t.is(all.size, COUNT);
      for (const m of all) pool.free(m);
    }),
    { numRuns: 100 },
  );
});

test('mbufs in the cache of a thread that died: nothing is changed', (t) => {
  const { pool, other } = makePool(t);
  other.put(other.get()); // leaves a cacheful
  const lost = pool.get();
  const before = pool.available();
  t.is(recoverMbufs(pool, []), undefined);
  t.is(pool.available(), before);
  pool.free(lost);
});
