/** The debug mode: each mistake with mbufs is found where it is made, and a program without mistakes runs as ever. */
import { virtioPort } from '../support/virtio-port.js';
import test, { type ExecutionContext } from 'ava';
import { createEal } from '../../driver/eal/eal.js';
import { parseVirtioUser } from '../../driver/devargs/devargs.js';
import { VirtioPmdError } from '../../native/errors.js';
import { MbufView, packetFrom, readPacket } from '../../paths/mbuf.js';
import { Mempool, NIL } from '../../paths/mempool.js';
import { FakeTransport } from '../support/mock-transport.js';

function make(t: ExecutionContext, debug: boolean | undefined = true) {
  const lines: string[] = [];
  const eal = createEal({
    noHuge: true,
    memoryMiB: 32,
    log: (line) => lines.push(line),
    ...(debug !== undefined && { debug }),
  });
  const spec = eal.createMempool({ name: 'p', count: 1024 });
  const pool = eal.mempool(spec);
  t.teardown(() => {
    try {
      eal.close();
    } catch {
      // what leaked is the test's subject
    }
  });
  return { eal, spec, pool, lines };
}

function makePort(t: ExecutionContext) {
  const made = make(t);
  const devargs = 'net_virtio_user0,path=/nowhere';
  const transport = new FakeTransport({});
  const port = virtioPort({
    eal: made.eal,
    id: 0,
    devargs,
    args: parseVirtioUser(devargs),
    transport,
    log: () => undefined,
  });
  port.configure({ mempool: made.spec });
  port.start();
  return { ...made, port, tx: port.tx(0), rx: port.rx(0) };
}

const bytes = new Uint8Array(64).fill(9);

test('freed twice, by any of the ways to free', (t) => {
  const { pool } = make(t);
  for (const free of [
    (m: number) => pool.put(m),
    (m: number) => pool.free(m),
    (m: number) => pool.putBulk(Int32Array.of(m), 1),
    (m: number) => pool.freeBulk(Uint32Array.of(m), 0, 1),
  ]) {
    const m = packetFrom(pool, bytes);
    free(m);
    const message = new RegExp(
      `\\(${m}\\): mbuf ${m} of p was given away before, by (put|free|putBulk) on lcore \\d+$`,
    );
    t.throws(() => free(m), { code: 'ESTATE', message });
  }
  t.throws(() => { const m = pool.get(); pool.putBulk(Int32Array.of(m, m), 2); }, { message: /given away before, by putBulk/ }); // prettier-ignore
  t.is(pool.inUse(), 0);
});

test('indices that are none: NaN, negative, fractions, beyond the pool, undefined, of another pool', (t) => {
  const { pool, eal } = make(t);
  for (const m of [NaN, -1, -7, 1.5, 1024, 2 ** 32 - 1, undefined as never, 'x' as never]) {
    t.throws(() => pool.put(m), { code: 'ECONFIG', message: /mempool p has mbufs 0 to 1023$/ }, String(m));
  }
  t.throws(() => pool.freeBulk(Uint32Array.of(-1), 0, 1), {
    message: /free\(4294967295 \(-1\)\): mempool p has mbufs/,
  });
  const other = eal.mempool(eal.createMempool({ name: 'other', count: 64 }));
  const foreign = other.get();
  t.throws(() => pool.put(foreign), {
    code: 'ESTATE',
    message: /nobody has got mbuf 0 out of p yet: is it of another mempool\?/,
  });
  t.throws(() => pool.freeBulk(new Uint32Array(2), 0, 3), { code: 'ECONFIG', message: /3 mbufs of an array of 2/ });
  t.throws(() => pool.getBulk(new Int32Array(2), 3), { code: 'ECONFIG', message: /3 mbufs of an array of 2/ });
  other.put(foreign);
});

test('used after it was freed: where its bytes are, views, copies; and its columns are poison', (t) => {
  const { pool } = make(t);
  const m = packetFrom(pool, bytes);
  const at = pool.dataStart(m);
  const view = new MbufView(pool).at(m);
  pool.free(m);
  for (const use of [
    () => pool.dataStart(m),
    () => pool.bufOff(m),
    () => view.writeU8(0, 1),
    () => readPacket(pool, m),
  ]) {
    t.throws(use, { instanceOf: VirtioPmdError });
  }
  t.is(pool.pktLen[m], 0xdeadbeef);
  t.is(pool.u8[at], 0x6b);
});

test('sent: it is the port’s, and neither sent again nor freed nor written; what was not sent is still ours', (t) => {
  const { pool, tx, port, eal } = makePort(t);
  const pkts = new Uint32Array(300).map(() => packetFrom(pool, bytes));
  const sent = tx.xmit(pkts, 300);
  t.true(sent > 0 && sent < 300);
  const message = /was given away before, by xmit on lcore/;
  t.throws(() => tx.xmit(pkts, 1), { message });
  t.throws(() => pool.free(pkts[0]!), { message });
  t.throws(() => pool.dataStart(pkts[0]!), { message });
  pool.freeBulk(pkts, sent, 300 - sent);
  port.close();
  eal.close();
  t.deepEqual(eal.leaks(), []);
});

test('a burst with a packet twice, packets that are none, and lengths that lie: refused whole', (t) => {
  const { pool, tx } = makePort(t);
  const [a, b] = [packetFrom(pool, bytes), packetFrom(pool, new Uint8Array(300), 100)];
  t.throws(() => tx.xmit(Uint32Array.of(b, a, a), 3), { code: 'ESTATE', message: /by xmit/ });
  t.throws(() => tx.xmit(Uint32Array.of(a, 5000), 2), { code: 'ECONFIG', message: /xmit\(5000\)/ });
  t.throws(() => tx.xmit(Uint32Array.of(a), 2), { code: 'ECONFIG', message: /2 mbufs of an array of 1/ });
  pool.nbSegs[b] = 2;
  t.throws(() => tx.xmit(Uint32Array.of(a, b), 2), { message: /has 3 segments, and nbSegs is 2/ });
  pool.nbSegs[b] = 3;
  pool.pktLen[b] = 5;
  t.throws(() => tx.xmit(Uint32Array.of(a, b), 2), { message: /has 300 bytes in its segments, and pktLen is 5/ });
  pool.pktLen[b] = 300;
  pool.next[pool.next[b]!] = b;
  t.throws(() => tx.xmit(Uint32Array.of(b), 1), { message: /run in a circle/ });
  pool.next[pool.next[b]!] = NIL;
  pool.nbSegs[b] = 2;
  pool.pktLen[b] = 200;
  t.is(tx.xmit(Uint32Array.of(a, b), 2), 2);
});

test('mbufs that leak are named by close(), with who had them, and everything is closed all the same', (t) => {
  const { pool, eal, lines } = make(t);
  const m = pool.get();
  const found = `mempool p: mbufs that were neither freed nor sent: 1 had by get on lcore ${eal.lcores.main}: ${m}`;
  t.throws(() => eal.close(), { code: 'ESTATE', message: `debug: ${found}` });
  t.true(lines.includes(`EAL: debug: ${found}`));
  t.is(eal.memory, undefined);
});

test('used after close: says so', (t) => {
  const { pool, eal } = make(t);
  const m = pool.get();
  t.throws(() => eal.close());
  for (const use of [() => pool.get(), () => pool.put(m), () => pool.dataStart(m)]) {
    t.throws(use, { code: 'ESTATE', message: /on mempool p, whose Eal is closed$/ });
  }
});

test('without the mode nothing of it is there', (t) => {
  const { pool, spec } = make(t, false);
  t.is(spec.debug, undefined);
  t.is(pool.constructor, Mempool);
  t.is(pool.unchecked, pool);
});

test.serial('VPMD_DEBUG=1 switches it on, and the option off again', (t) => {
  process.env['VPMD_DEBUG'] = '1';
  t.teardown(() => delete process.env['VPMD_DEBUG']);
  t.not(make(t, undefined).spec.debug, undefined);
  t.is(make(t, false).spec.debug, undefined);
});
