/** The arguments of net_af_packet, and where they put the frames of a ring: what the kernel would refuse is refused in a sentence. */
import test from 'ava';
import fc from 'fast-check';
import { parseAfPacket } from '../../../driver/vdevs/af-packet/devargs.js';
import {
  frameLayout,
  frameOffsets,
  longestPacket,
  mappingSize,
  MIN_FRAME_SIZE,
  RX_OVERHEAD,
  TX_OVERHEAD,
} from '../../../driver/vdevs/af-packet/layout.js';
import { parseTap } from '../../../driver/vdevs/tap/devargs.js';
import { VirtioPmdError } from '../../../native/errors.js';

test('defaults are DPDK’s: 256 blocks of a page with two frames of 2 KiB each, around the queueing discipline', (t) => {
  const { layout, ...rest } = parseAfPacket('net_af_packet0,iface=eth0');
  t.deepEqual(rest, { name: 'net_af_packet0', iface: 'eth0', qpairs: 1, qdiscBypass: true });
  t.deepEqual(layout, { blockSize: 4096, blockCount: 256, frameSize: 2048, frameCount: 512, framesPerBlock: 2 });
  t.is(mappingSize(layout), 2 << 20);
  t.is(longestPacket(layout), 2048 - 66);
});

const refusals: readonly (readonly [args: string, says: RegExp])[] = [
  ['', /key "iface" is missing: add iface=<the name of a network interface>/],
  ['iface=', /iface= is not accepted/],
  ['iface=sixteen-is-a-lot', /the kernel takes 15/],
  ['iface=a b', /no spaces, slashes or colons|may be no spaces/],
  ['iface=v0,qpairs=0', /qpairs=0 is not accepted: expected a whole number from 1 to 16/],
  ['iface=v0,qpairs=17', /qpairs=17 is not accepted/],
  ['iface=v0,qpair=2', /unknown key "qpair"; did you mean "qpairs"/],
  ['iface=v0,qdisc_bypass=2', /qdisc_bypass=2 is not accepted: expected 0 or 1/],
  ['iface=v0,framesz=8192', /framesz=8192 exceeds blocksz=4096: a frame lies in one block/],
  ['iface=v0,framesz=2040', /framesz=2040 is no multiple of 16: take 2048/],
  ['iface=v0,framesz=64', /framesz=64 is too small: expected at least 160/],
  ['iface=v0,blocksz=5000', /blocksz=5000 is no multiple of the page size 4096: take 8192/],
  ['iface=v0,framecnt=513', /framecnt=513 does not fill blocks of 2 frames: take 512 or 514/],
  ['iface=v0,framecnt=1', /framecnt=1 does not fill blocks of 2 frames: take 2$/],
  ['iface=v0,framecnt=0', /framecnt=0 is not accepted/],
  ['iface=v0,framecnt=1048576', /rings of 4294967296 bytes: expected at most/],
];

for (const [args, says] of refusals) {
  test(`net_af_packet0,${args} is refused`, (t) => {
    const error = t.throws(() => parseAfPacket(`net_af_packet0,${args}`), { instanceOf: VirtioPmdError });
    t.is(error.code, 'EDEVARGS');
    t.regex(error.message, says);
  });
}

test('frames lie in their blocks, apart from each other, Rx before Tx, whatever the sizes are', (t) => {
  const sizes = fc.record({
    pages: fc.integer({ min: 1, max: 8 }),
    framesz: fc.integer({ min: MIN_FRAME_SIZE / 16, max: 2048 }).map((units) => units * 16),
    blocks: fc.integer({ min: 1, max: 5 }),
  });
  fc.assert(
    fc.property(sizes, ({ pages, framesz, blocks }) => {
      const blocksz = pages * 4096;
      fc.pre(framesz <= blocksz);
      const perBlock = Math.floor(blocksz / framesz);
      const layout = frameLayout({ blocksz, framesz, framecnt: blocks * perBlock }, 'x');
      const all = [...frameOffsets(layout, 'rx'), ...frameOffsets(layout, 'tx')];
      t.is(all.length, 2 * layout.frameCount);
      all.forEach((at, i) => {
        t.true(i === 0 || at >= all[i - 1]! + framesz);
        t.is(Math.floor(at / blocksz), Math.floor((at + framesz - 1) / blocksz));
      });
      t.true(all.at(-1)! + framesz <= mappingSize(layout));
      t.true(longestPacket(layout) + RX_OVERHEAD <= framesz && longestPacket(layout) + TX_OVERHEAD <= framesz);
    }),
  );
});

test('any sizes either make rings that the kernel takes, or are refused in a sentence', (t) => {
  const size = fc.integer({ min: 1, max: 0x7fffffff });
  const near = fc.oneof(size, fc.constantFrom(16, 160, 2048, 4096, 8192, 65536), fc.integer({ min: 1, max: 20000 }));
  fc.assert(
    fc.property(near, near, near, (blocksz, framesz, framecnt) => {
      try {
        const { blockSize, blockCount, frameSize, frameCount } = frameLayout({ blocksz, framesz, framecnt }, 'x');
        // packet_set_ring of the kernel
        t.is(blockSize % 4096, 0);
        t.is(frameSize % 16, 0);
        t.is(Math.floor(blockSize / frameSize) * blockCount, frameCount);
        t.true(frameCount > 0 && blockSize * blockCount < 2 ** 31);
      } catch (error) {
        t.true(error instanceof VirtioPmdError && error.code === 'EDEVARGS');
        t.regex((error as Error).message, /take|expected/);
      }
    }),
  );
});

test('the arguments of net_tap: persist needs no value, remote is refused with what to do instead', (t) => {
  t.deepEqual(parseTap('net_tap0'), { name: 'net_tap0', iface: undefined, mac: undefined, persist: false });
  t.deepEqual(parseTap('net_tap3,iface=t,persist,mac=2:0:0:0:0:a'), {
    ...{ name: 'net_tap3', iface: 't', mac: '02:00:00:00:00:0A', persist: true },
  });
  t.is(parseTap('net_tap0,persist=0').persist, false);
  t.is(parseTap('net_tap0,mac=FIXED').mac, 'fixed');
  t.throws(() => parseTap('net_tap0,persist=yes'), { code: 'EDEVARGS', message: /persist=yes is not accepted/ });
  t.throws(() => parseTap('net_tap0,iface'), { code: 'EDEVARGS', message: /key "iface" has no value/ });
  t.throws(() => parseTap('net_tap0,remote=eth0'), { code: 'EDEVARGS', message: /net_af_packet0,iface=eth0/ });
});
