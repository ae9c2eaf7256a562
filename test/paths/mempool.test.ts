import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { createEal, processCpus } from '../../driver/eal/eal.js';
import { Mempool, mempoolStride, NIL } from '../../paths/mempool.js';
import type { MempoolRequest } from '../../driver/eal/types.js';

/** A pool of its own Eal, on ordinary pages. */
function poolOf(t: ExecutionContext, request: MempoolRequest) {
  const eal = createEal({ noHuge: true, memoryMiB: 16, pinMain: false });
  t.teardown(() => eal.close());
  const spec = eal.createMempool(request);
  return { eal, spec, pool: eal.mempool(spec) };
}

const sorted = (mbufs: Iterable<number>) => [...mbufs].sort((a, b) => a - b);
const all = (count: number) => Array.from({ length: count }, (_, m) => m);

test('a new pool is all free, and its elements lie one stride apart with device addresses to match', (t) => {
  const { eal, spec, pool } = poolOf(t, { count: 100, dataRoom: 2000, headroom: 100 });
  t.is(spec.stride, mempoolStride(100, 2000));
  t.is(spec.stride % 64, 0);
  t.is(pool.available(), 100);
  t.is(pool.inUse(), 0);
  for (const m of [0, 1, 99]) {
    const address = (BigInt(pool.addrHi[m]!) << 32n) | BigInt(pool.addrLo[m]!);
    t.is(address, eal.deviceAddress(spec.base + m * spec.stride));
    t.is(pool.bufOff(m), spec.base + m * spec.stride);
    t.is(pool.dataStart(m), pool.bufOff(m) + 100);
    t.is(pool.next[m], NIL);
    t.is(pool.nbSegs[m], 1);
  }
  pool.u8[pool.dataStart(99) + 1999] = 7; // the last byte exists
  t.is(pool.u8[pool.dataStart(99) + 1999], 7);
});

test('one by one until none is left, then NIL; all different; back again', (t) => {
  const { pool } = poolOf(t, { count: 100 });
  const got = all(100).map(() => pool.get());
  t.deepEqual(sorted(got), all(100));
  t.is(pool.get(), NIL);
  t.is(pool.get(), NIL);
  t.is(pool.inUse(), 100);
  for (const m of got) pool.put(m);
  t.is(pool.inUse(), 0);
});

test('the mbuf freed last is handed out first', (t) => {
  const { pool } = poolOf(t, { count: 100 });
  const [a, b] = [pool.get(), pool.get()];
  pool.put(a);
  pool.put(b);
  t.deepEqual([pool.get(), pool.get()], [b, a]);
});

for (const cacheSize of [1, 2, 7, 64]) {
  test(`bulk of everything at once, and a short count at the end, with a cache of ${cacheSize}`, (t) => {
    const { pool } = poolOf(t, { count: 300, cacheSize });
    const out = new Int32Array(400);
    t.is(pool.getBulk(out, 299), 299);
    t.is(pool.getBulk(out.subarray(299), 50), 1);
    t.is(pool.getBulk(out.subarray(300), 50), 0);
    t.is(pool.getBulk(out.subarray(300), 0), 0);
    t.deepEqual(sorted(out.subarray(0, 300)), all(300));
    pool.putBulk(out, 300);
    t.is(pool.inUse(), 0);
    t.is(pool.getBulk(out, 400), 300);
    t.deepEqual(sorted(out.subarray(0, 300)), all(300));
  });
}

test('free gives back every segment of a chain and makes them single again', (t) => {
  const { pool } = poolOf(t, { count: 10 });
  const segments = new Int32Array(4);
  pool.getBulk(segments, 4);
  for (let i = 0; i < 3; i++) pool.next[segments[i]!] = segments[i + 1]!;
  pool.nbSegs[segments[0]!] = 4;
  pool.free(segments[0]!);
  t.is(pool.inUse(), 0);
  for (const m of segments) {
    t.is(pool.next[m], NIL);
    t.is(pool.nbSegs[m], 1);
  }
});

test('freeBulk frees packets from an index on and leaves the others', (t) => {
  const { pool } = poolOf(t, { count: 10 });
  const packets = Uint32Array.from([pool.get(), pool.get(), pool.get()]);
  pool.next[packets[1]!] = pool.get();
  pool.nbSegs[packets[1]!] = 2;
  pool.freeBulk(packets, 1, 2);
  t.is(pool.inUse(), 1);
  pool.freeBulk(packets, 0, 1);
  t.is(pool.inUse(), 0);
});

test('the leak check names the pool and the number, and is right after close too', (t) => {
  const { eal, spec, pool } = poolOf(t, { name: 'leaky', count: 50 });
  eal.createMempool({ name: 'tight', count: 50 });
  t.deepEqual(eal.leaks(), []);
  const held = [pool.get(), pool.get()];
  t.deepEqual(eal.leaks(), [{ mempool: 'leaky', inUse: 2 }]);
  eal.close();
  t.deepEqual(eal.leaks(), [{ mempool: 'leaky', inUse: 2 }]);
  pool.free(held[0]!);
  pool.free(held[1]!);
  t.deepEqual(eal.leaks(), []);
  t.is(spec.name, 'leaky');
});

test('mbufs in the cache of another lcore count as free but are out of reach until it gives them back', (t) => {
  const { spec, pool } = poolOf(t, { count: 20, cacheSize: 10 });
  const other = new Mempool(spec, 5);
  other.put(other.get()); // the cache keeps what it fetched
  const out = new Int32Array(20);
  const got = pool.getBulk(out, 20);
  t.true(got < 20);
  t.is(pool.available(), 20 - got);
  other.flushCache();
  t.is(pool.getBulk(out, 20 - got), 20 - got);
  t.is(pool.available(), 0);
  pool.putBulk(out, 20 - got);
});

test('property: any sequence of takes and returns on two caches conserves mbufs and hands none out twice', (t) => {
  const { eal } = poolOf(t, { count: 2 });
  let serial = 0;
  const action = fc.record({
    lcore: fc.constantFrom(0, 1),
    kind: fc.constantFrom('get', 'getBulk', 'put', 'putBulk', 'flush'),
    n: fc.nat(40),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.array(action, { maxLength: 60 }), (cacheSize, actions) => {
      const spec = eal.createMempool({ name: `p${serial++}`, count: 60, cacheSize, dataRoom: 64, headroom: 64 });
      const pools = [eal.mempool(spec), new Mempool(spec, 9)];
      const held: number[] = [];
      for (const { lcore, kind, n } of actions) {
        const pool = pools[lcore]!;
        const out = new Int32Array(40);
        if (kind === 'get') {
          const m = pool.get();
          if (m !== NIL) held.push(m);
        } else if (kind === 'getBulk') held.push(...out.subarray(0, pool.getBulk(out, n)));
        else if (kind === 'put' && held.length > 0) pool.put(held.pop()!);
        else if (kind === 'putBulk') {
          const back = held.splice(0, n);
          pool.putBulk(Int32Array.from(back), back.length);
        } else if (kind === 'flush') pool.flushCache();
        if (new Set(held).size !== held.length || held.some((m) => m < 0 || m >= 60)) return false;
        if (pool.inUse() !== held.length) return false;
      }
      return true;
    }),
  );
  t.pass();
});

test('two lcores hammering one pool: no mbuf has two owners, none is lost, exhaustion is met and survived', (t) => {
  const cpus = processCpus();
  const eal = createEal({
    noHuge: true,
    memoryMiB: 16,
    mainLcore: 0,
    pinMain: false,
    lcores: new Map([
      [0, cpus],
      [1, [cpus[0]!]],
      [2, [cpus.at(-1)!]],
    ]),
  });
  t.teardown(() => eal.close());
  const results: unknown[] = [];
  eal.lcores.onMessage = (_id, message) => results.push(message);
  const job = new URL('../support/lcore-jobs.js', import.meta.url);
  let refusals = 0;
  for (const cacheSize of [1, 16]) {
    const spec = eal.createMempool({ count: 128, cacheSize });
    const data = { pool: spec, owners: new SharedArrayBuffer(128 * 4), rounds: 20_000 };
    for (const id of [1, 2]) eal.lcores.launch(id, job, 'hammer', data);
    eal.lcores.wait(undefined, 60_000);
    t.deepEqual(eal.leaks(), []);
    const out = new Int32Array(128);
    t.is(eal.mempool(spec).getBulk(out, 128), 128); // an ended job leaves nothing in its cache
    t.deepEqual(sorted(out), all(128));
    eal.mempool(spec).putBulk(out, 128);
  }
  t.is(results.length, 4);
  for (const result of results as { duplicates: number; refusals: number }[]) {
    t.is(result.duplicates, 0);
    refusals += result.refusals;
  }
  t.true(refusals > 0);
});
