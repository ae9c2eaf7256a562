import test from 'ava';
import { parseAppOptions } from '../../../tools/testpmd/options/app-options.js';
import { parseEalOptions } from '../../../tools/common/eal-options.js';
import { RSS_IP, RSS_UDP } from '../../../tools/testpmd/names/rss-types.js';
import { mbufsNeeded } from '../../../tools/testpmd/mbufs.js';
import { nearest } from '../../../native/nearest.js';

const words = (line: string) => line.split(' ');

/** EAL halves of command lines made for dpdk-testpmd: its guides, OVS's, and test plans. */
const ealLines = [
  '-l 0-1 -n 4 --vdev=net_virtio_user0,path=/tmp/sock0,queues=1 --no-pci',
  '--lcores 0@0,1@0 --no-huge -m 128 --no-pci --no-telemetry --file-prefix=vhost --vdev net_vhost0,iface=/tmp/s',
  '-c 0x3 -n 4 --socket-mem 1024,0 --single-file-segments --file-prefix container --log-level=pmd.net.virtio.*:debug',
  '-n4 -l0,1 --huge-dir /dev/hugepages --in-memory --proc-type=auto --force-max-simd-bitwidth=512 -v',
  '-l 0,1 -a 0000:00:04.0,vectorized=1 --legacy-mem --huge-unlink=always --iova-mode va --main-lcore 1',
  '-l 0 -b 0000:00:05.0 --vdev a --vdev b --telemetry --base-virtaddr=0x100000000 --match-allocations',
];
for (const line of ealLines) {
  test(`EAL options parse: ${line}`, (t) => {
    t.notThrows(() => parseEalOptions(words(line)));
  });
}

test('EAL options are understood', (t) => {
  const args = parseEalOptions(
    words(
      '--lcores 0@0,3@0 --main-lcore=3 -m 128 --no-huge --vdev x,path=/a --vdev=y --log-level lib.*:info --file-prefix p',
    ),
  );
  t.deepEqual([...args.lcores!.keys()], [0, 3]);
  t.is(args.mainLcore, 3);
  t.is(args.memoryMiB, 128);
  t.true(args.noHuge);
  t.deepEqual(args.vdevs, ['x,path=/a', 'y']);
  t.is(args.logLevel, 7);
  t.is(args.filePrefix, 'p');
  t.deepEqual(args.notes, []);
});

test('--socket-mem is the sum over sockets, and -m wins', (t) => {
  t.is(parseEalOptions(['--socket-mem', '512,256']).memoryMiB, 768);
  t.is(parseEalOptions(['--socket-mem', '0']).memoryMiB, undefined);
  t.is(parseEalOptions(['--socket-mem=512', '-m', '64']).memoryMiB, 64);
});

test('options without meaning are accepted with one line each', (t) => {
  const { notes } = parseEalOptions(words('--legacy-mem -d lib.so -a 0000:00:04.0 -n 4'));
  t.is(notes.length, 2);
  t.true(notes.some((note) => note.includes('--legacy-mem')));
  t.is(parseAppOptions(['--rss-level-outer', '--mp-alloc=native', '--numa', '--txpt', '36']).notes.length, 4);
});

test('-a, -b, --no-pci', (t) => {
  const some = parseEalOptions(words('-a 0000:00:04.0,vectorized=1 --allow 00:05.0 --vdev net_virtio_user0,path=/s'));
  t.deepEqual(some.allowed, ['0000:00:04.0,vectorized=1', '00:05.0']);
  t.deepEqual(some.vdevs, ['net_virtio_user0,path=/s']);
  const none = parseEalOptions(words('-b 00:04.0 --block 00:05.0 --no-pci'));
  t.deepEqual(none.blocked, ['00:04.0', '00:05.0']);
  t.true(none.noPci);
  t.throws(() => parseEalOptions(words('-a 00:04.0 -b 00:05.0')), { code: 'EOPTION', message: /-a and -b exclude/ });
});

test('RSS: IP unless told, UDP, or none; VLAN filtering is an Rx offload', (t) => {
  t.is(parseAppOptions([]).rssHf, RSS_IP);
  t.is(parseAppOptions(['--rss-udp']).rssHf, RSS_UDP);
  t.is(parseAppOptions(['--rss-ip', '--rss-udp']).rssHf, RSS_IP);
  t.is(parseAppOptions(['--disable-rss']).rssHf, 0n);
  t.is(parseAppOptions(['--enable-hw-vlan-filter']).rxOffloads, 0x200);
});

test('offloads: bits, names, and what is asked for only where a port has it', (t) => {
  const offloads = (line: string) => {
    const { rxOffloads, rxOffloadWishes, txOffloads } = parseAppOptions(words(line));
    return [rxOffloads, rxOffloadWishes, txOffloads];
  };
  t.deepEqual(offloads('-i'), [0, 0, 0]);
  t.deepEqual(offloads('--tx-offloads=0x002c --enable-lro'), [0x10, 0, 0x2c]);
  t.deepEqual(offloads('--rx-offloads=0x2000 --enable-hw-vlan-strip --enable-hw-vlan-filter'), [0x2201, 0, 0]);
  t.deepEqual(offloads('--enable-rx-cksum --enable-scatter'), [0x2000, 0xc, 0]);
  t.deepEqual(offloads('--enable-hw-vlan'), [0, 0x201, 0]);
  t.deepEqual(offloads('--tx-offloads=0x18000'), [0, 0, 0x8000]); // MBUF_FAST_FREE
  t.deepEqual(offloads('--tx-offloads=0x7fffffff'), [0, 0, 0x7ffeffff]); // the port refuses what it lacks
  t.true(parseAppOptions(words('--enable-lro --max-lro-pkt-size=8000')).notes[0]!.includes('--max-lro-pkt-size'));
});

const badEal: readonly [line: string, pattern: RegExp][] = [
  ['--nohuge', /unrecognized option '--nohuge'; did you mean --no-huge\?/],
  ['--vdevs=x', /'--vdevs'; did you mean --vdev\?/],
  ['-m 0', /-m 0: give MiB/],
  ['-m abc', /-m abc/],
  ['-l 0 -c 1', /-l and -c exclude each other/],
  ['--log-level loud', /--log-level loud/],
  ['--main-lcore x', /--main-lcore x/],
  ['stray', /unexpected argument 'stray'/],
  ['--vdev', /option '--vdev' requires an argument/],
];
for (const [line, pattern] of badEal) {
  test(`EAL option refused in one sentence: ${line}`, (t) => {
    const error = t.throws(() => parseEalOptions(words(line)), { code: 'EOPTION', message: pattern });
    t.false(error.message.includes('\n'));
  });
}

const appLines = [
  '-i --nb-cores=1 --total-num-mbufs=4096 --rxq=2 --txq=2',
  '-i --tx-offloads=0x0 --enable-hw-vlan-strip --txq=2 --rxq=2 --txd=1024 --rxd=1024 --nb-cores=2',
  '-i --rx-offloads=0x10 --disable-rss --no-lsc-interrupt --auto-start --port-topology=chained',
  '--stats-period 1 --tx-first --burst=64 --forward-mode=mac --max-pkt-len=9000 --mbuf-size=9728,2176',
  '-i -a --eth-peer=0,00:11:22:33:44:55 --eth-peer=1,00:11:22:33:44:66 --coremask=0x6 --portmask=0x3',
  '-i --txonly-multi-flow --tx-ip=1.2.3.4,5.6.7.8 --tx-udp=1,2 --txpkts=64,128 --no-flush-rx --cmdline-file=/tmp/x',
  '--interactive --forward-mode=mac_retry --rxfreet=32 --txfreet=32 --record-core-cycles --mbcache=512 --hot-plug',
];
for (const line of appLines) {
  test(`testpmd options parse: ${line}`, (t) => {
    t.notThrows(() => parseAppOptions(words(line)));
  });
}

test('testpmd defaults are those of dpdk-testpmd', (t) => {
  const app = parseAppOptions([]);
  t.like(app, {
    interactive: false,
    burst: 32,
    rxQueues: 1,
    txQueues: 1,
    rxDesc: 0,
    mbufSize: 2176,
    mbufCache: 250,
    mode: 'io',
    retry: false,
    topology: 'paired',
    flushRx: true,
    flows: 1024,
    txUdp: { source: 9, destination: 9 },
    txIp: { source: 0xc6120001, destination: 0xc6120002 },
  });
  t.deepEqual(app.txSegments, [64]);
});

test('testpmd options are understood', (t) => {
  const app = parseAppOptions(
    words('-i --coremask=0x6 --portlist 0,2-3 --eth-peer=1,a:b:c:d:e:f --forward-mode=mac_retry'),
  );
  t.deepEqual(app.coreList, [1, 2]);
  t.deepEqual(app.portList, [0, 2, 3]);
  t.deepEqual(app.ethPeers, [{ port: 1, mac: '0A:0B:0C:0D:0E:0F' }]);
  t.like(app, { mode: 'mac', retry: true });
});

test('the last of a repeated option counts', (t) => {
  t.is(parseAppOptions(['--rxq=1', '--rxq=4']).rxQueues, 4);
});

const badApp: readonly [line: string, pattern: RegExp][] = [
  ['--burst=1000', /--burst=1000: must be a number from 0 to 512/],
  ['--rxq=0', /queues come in pairs/],
  ['--rxd=-5', /--rxd=-5/],
  ['--forward-mode=foo', /Invalid foo packet forwarding mode/],
  ['--forward-mode=macswp', /did you mean macswap/],
  ['--port-topology=xx', /port-topology xx invalid - must be: paired, chained or loop/],
  ['--total-num-mbufs=10', /--total-num-mbufs=10/],
  ['--txpkts=64,a', /--txpkts=64,a/],
  ['--txpkts=10', /total packet length=10 < 42/],
  ['--txpkts=4000', /mbuf data size=2048/],
  ['--mbuf-size=10', /--mbuf-size=10/],
  ['--eth-peer=0', /PORT,MAC/],
  ['--tx-ip=1.2.3', /--tx-ip=1.2.3/],
  ['--tx-ip=1.2.3.4,5.6.7.300', /--tx-ip/],
  ['--nbcores=2', /'--nbcores'; did you mean --nb-cores\?/],
  ['--rx-offloads=zz', /hexadecimal/],
  ['--tx-offloads=0x80000000', /--tx-offloads=0x80000000: must be hexadecimal bits, up to 0x7fffffff/],
];
for (const [line, pattern] of badApp) {
  test(`testpmd option refused in one sentence: ${line}`, (t) => {
    t.throws(() => parseAppOptions(words(line)), { code: 'EOPTION', message: pattern });
  });
}

test('nearest: swapped letters and case count little, other words do not match', (t) => {
  const known = ['--forward-mode', '--port-topology', '--rxq'];
  t.is(nearest('--FORWRAD-MODE', known), '--forward-mode');
  t.is(nearest('--rqx', known), '--rxq');
  t.is(nearest('--something-else', known), undefined);
});

test('default mbufs: every ring full both ways, bursts, caches, and room for two more ports', (t) => {
  const needs = { queues: 1, burst: 32, lcores: 2, cacheSize: 250, headroom: 128, dataRoom: 2048 };
  t.is(mbufsNeeded({ ...needs, queueSizes: [256] }), 16384);
  t.is(mbufsNeeded({ ...needs, queueSizes: [32768] }), 3 * (2 * 32768 + 32) + 1000);
});
