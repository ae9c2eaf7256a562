/** The hash that a device reports in the net header (HASH_REPORT), on every Rx path that takes packets with one. */
import test from 'ava';
import { openRx } from '../../../driver/port/queue.js';
import { RTE_MBUF_F_RX_RSS_HASH, RTE_MBUF_F_RX_VLAN_STRIPPED } from '../../../paths/mbuf.js';
import type { RxPathName } from '../../../paths/guest/queue.js';
import { destroyFixtureRegion, packetBytes } from '../../support/guest-fixture.js';
import { fillBuffer, rxCase } from '../support/hostile.js';
import { ifSimd } from '../../support/simd-here.js';

test.after.always(destroyFixtureRegion);

const paths: RxPathName[] = [
  'virtio_recv_pkts',
  'virtio_recv_mergeable_pkts',
  'virtio_recv_pkts_inorder',
  'virtio_recv_pkts_packed',
  'virtio_recv_mergeable_pkts_packed',
  ...ifSimd('virtio_recv_pkts_vec' as const),
];

const TCP_V4 = 2;

for (const path of paths) {
  test(`${path}: hash and flag when the device reports a type; neither for none, nor for one that does not exist`, (t) => {
    const rx = rxCase(path, { size: 16, hdrSize: 20, vlanStrip: true });
    const { fixture } = rx;
    const { device, pool } = fixture;
    const receive = openRx({ ...fixture.spec, hashReport: true }, pool);
    const types = [TCP_V4, 0, 9, 10, 0xffff, 1];
    device.takeAll();
    const buffers = device.outstanding.slice(0, types.length);
    device.use(
      buffers.map((buffer, i) => {
        const bytes = packetBytes(i, 64);
        if (i === 5) bytes.set([0x81, 0x00, 0x00, 0x07], 12); // a tag, which is taken out afterwards
        const length = fillBuffer(rx, buffer, bytes);
        const header = buffer.pieces[0]!.offset;
        device.view.setUint32(header + 12, 0xfedc0000 + i, true);
        device.view.setUint16(header + 16, types[i]!, true);
        return { buffer, length };
      }),
    );
    const pkts = new Uint32Array(16);
    let n = 0;
    for (let got = -1; got !== 0; n += got) {
      got = receive.recv(pkts.subarray(n), 16 - n); // a path may leave the end of a cache line for the next call
    }
    t.is(n, types.length);
    types.forEach((type, i) => {
      const m = pkts[i]!;
      const reported = type >= 1 && type <= 9;
      t.is((pool.olFlags[m]! & RTE_MBUF_F_RX_RSS_HASH) !== 0, reported, `packet ${i}`);
      if (reported) t.is(pool.hash[m], 0xfedc0000 + i);
    });
    t.true((pool.olFlags[pkts[5]!]! & RTE_MBUF_F_RX_VLAN_STRIPPED) !== 0);
    pool.freeBulk(pkts, 0, types.length);
    fixture.finish();
  });
}
