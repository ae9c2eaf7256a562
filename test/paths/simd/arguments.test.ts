/** What SIMD code is handed: a parameter block that points to memory of ours, and the caller's burst array. */
import test from 'ava';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { packetFrom } from '../../../paths/mbuf.js';
import { destroyFixtureRegion, packetBytes } from '../../support/guest-fixture.js';
import { drain, fillBuffer, rxCase, txCase, type RxCase } from '../support/hostile.js';
import { testWithSimd } from '../../support/simd-here.js';

test.after.always(destroyFixtureRegion);

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const rxPaths = ['virtio_recv_pkts_vec', 'virtio_recv_pkts_packed_vec'] as const;
const SIZE = 64;
/** Handles of one queue: enough that memory which nobody keeps is handed out again. */
const MANY = 100;

function deliver(rx: RxCase, count: number): void {
  const { device } = rx.fixture;
  device.takeAll();
  const buffers = device.outstanding.slice(0, count);
  device.use(buffers.map((buffer, i) => ({ buffer, length: fillBuffer(rx, buffer, packetBytes(i, 64)) })));
}

/** Collects what nobody refers to, and takes the memory of buffers as large as those of a block of a ring of SIZE. */
function tenants(): Uint8Array[] {
  for (let round = 0; round < 3; round++) collectGarbage();
  return Array.from({ length: 4000 }, (_, i) => new Uint8Array(i % 2 ? SIZE * 4 : 224).fill(0xa5));
}

const untouched = (buffers: Uint8Array[]) => buffers.every((bytes) => bytes.every((byte) => byte === 0xa5));

for (const path of rxPaths) {
  testWithSimd(`${path}: garbage collection leaves the memory that its SIMD code uses alone`, (t, simd) => {
    const rx = rxCase(path, { size: SIZE, simd });
    const opened = Array.from({ length: MANY }, () => rx.fixture.openRx());
    const others = tenants();
    for (const again of opened) {
      deliver(rx, 32);
      t.is(drain({ ...rx, path: again }).length, 32);
    }
    t.true(untouched(others));
    rx.fixture.finish();
  });

  testWithSimd(`${path}: an array shorter than the burst asked for is filled; the rest waits`, (t, simd) => {
    const rx = rxCase(path, { size: SIZE, simd });
    deliver(rx, 32);
    const memory = new Uint32Array(24).fill(0xdeadbeef);
    const pkts = memory.subarray(4, 12);
    t.is(rx.path.recv(pkts, 32), 8);
    t.true(memory.every((word, i) => (i >= 4 && i < 12) || word === 0xdeadbeef));
    rx.fixture.pool.freeBulk(pkts, 0, 8);
    t.is(drain(rx).length, 24);
    rx.fixture.finish();
  });
}

testWithSimd('virtio_xmit_pkts_packed_vec: garbage collection leaves its memory alone', (t, simd) => {
  const tx = txCase('virtio_xmit_pkts_packed_vec', { size: SIZE, simd, freeThresh: SIZE - 1, mbufs: 3 * SIZE });
  const { pool, device } = tx.fixture;
  const opened = Array.from({ length: MANY }, () => tx.fixture.openTx());
  const others = tenants();
  for (const again of opened) {
    const pkts = Uint32Array.from({ length: 32 }, (_, i) => packetFrom(pool, packetBytes(i, 64)));
    t.is(again.xmit(pkts, 32), 32); // which cleans up
    device.useBatch(device.takeAll());
  }
  t.true(untouched(others));
  tx.fixture.finish();
});
