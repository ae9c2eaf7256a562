/** Doorbells: one store per burst, in the place and of the width that the device wants. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createEventFd, drainFd } from '../../../native/event.js';
import { closeFd, createRegion, destroyRegion, viewsOf } from '../../../native/region.js';
import { openDoorbell } from '../../../paths/guest/doorbell.js';
import { openRx, openTx } from '../../../driver/port/queue.js';
import { isTx, type Doorbell, type RxPathName, type TxPathName } from '../../../paths/guest/queue.js';
import { AVAIL_IDX, AVAIL_WRAP } from '../../../paths/guest/queue.js';
import { destroyFixtureRegion, GuestFixture, shape } from '../../support/guest-fixture.js';

const bar = createRegion('bar', 4096, false);
const { u8, u16, u32 } = viewsOf(bar);

test.beforeEach(() => void u8.fill(0xee));
test.after.always(() => {
  destroyRegion(bar);
  destroyFixtureRegion();
});

test.serial('none does nothing; an eventfd is signalled', (t) => {
  openDoorbell({ kind: 'none' })(1);
  const fd = createEventFd();
  openDoorbell({ kind: 'eventfd', fd })(1);
  t.true(drainFd(fd));
  closeFd(fd);
});

test.serial('a register gets two bytes, and its neighbours are left alone', (t) => {
  openDoorbell({ kind: 'mmio', mapping: bar, offset: 6, value: 0x0103 })(77);
  t.is(u16[3], 0x0103);
  t.is(u16[2], 0xeeee);
  t.is(u16[4], 0xeeee);
});

test.serial('NOTIFICATION_DATA: four bytes, the virtqueue below and the position above, bit 31 included', (t) => {
  const ring = openDoorbell({ kind: 'mmio-data', mapping: bar, offset: 8, value: 2 });
  ring(0x7fff);
  t.is(u32[2], 0x7fff0002);
  ring(0x8001);
  t.is(u32[2], 0x80010002);
  t.is(u32[1], 0xeeeeeeee);
  t.is(u32[3], 0xeeeeeeee);
});

test.serial('port I/O: two bytes written at the offset in the file', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  const path = join(directory, 'resource0');
  writeFileSync(path, Buffer.alloc(32, 0xee));
  const fd = openSync(path, 'r+');
  openDoorbell({ kind: 'port', fd, offset: 16, value: 0x0102 })(9);
  closeSync(fd);
  t.deepEqual([...readFileSync(path).subarray(15, 19)], [0xee, 0x02, 0x01, 0xee]);
  rmSync(directory, { recursive: true });
});

const data: Doorbell = { kind: 'mmio-data', mapping: bar, offset: 0, value: 5 };
const names: (RxPathName | TxPathName)[] = [
  'virtio_recv_pkts',
  'virtio_recv_pkts_inorder',
  'virtio_recv_mergeable_pkts',
  'virtio_xmit_pkts',
  'virtio_xmit_pkts_inorder',
  'virtio_recv_pkts_packed',
  'virtio_recv_mergeable_pkts_packed',
  'virtio_xmit_pkts_packed',
  'virtio_xmit_pkts_packed_vec',
];

for (const path of names) {
  for (const index of [0, 13]) {
    test.serial(`${path} from ${index}: a burst over the end of the ring tells the position behind it`, (t) => {
      const packed = path.includes('_packed');
      const fixture = new GuestFixture(shape(path, { start: { index, wrap: packed ? 1 : 0 } }));
      if (path.endsWith('_vec') && fixture.spec.simd === undefined) {
        t.pass('no SIMD code here');
        return;
      }
      const spec = { ...fixture.spec, doorbell: data };
      let count = 16;
      if (isTx(spec)) {
        count = 5;
        const pkts = new Uint32Array(count);
        for (let i = 0; i < count; i++) {
          pkts[i] = fixture.pool.get();
          fixture.pool.dataOff[pkts[i]!] = 128;
          fixture.pool.dataLen[pkts[i]!] = 64;
          fixture.pool.pktLen[pkts[i]!] = 64;
        }
        t.is(openTx(spec, fixture.pool).xmit(pkts, count), count);
      } else {
        t.is(openRx(spec, fixture.pool).fill(), count);
      }
      const expected = packed
        ? ((index + count) % 16) | ((index + count >= 16 ? 0 : 1) << 15)
        : (index + count) & 0xffff;
      t.is(u32[0], ((expected << 16) | 5) >>> 0);
      const { words } = fixture.state;
      t.is(words[AVAIL_IDX]! | (packed ? words[AVAIL_WRAP]! << 15 : 0), expected);
    });
  }
}
