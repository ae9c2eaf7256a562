/** vectorized=1 where a vectorized path is not to be had: the log and `show port P path` say why, and the scalar path forwards. */
import test, { type ExecutionContext } from 'ava';
import { VIRTIO_F_IN_ORDER } from '../../../driver/wire/virtio-features.js';
import { helperStatus } from '../../../native/helper.js';
import { ourCommand } from '../../../tools/bench/common/testpmd.js';
import { parseEalOptions } from '../../../tools/common/eal-options.js';
import { eventually, portStats, startPeer, type Peer } from '../../support/peers.js';
import { wants } from '../../support/needs.js';
import { startBackend, waitForSocket } from '../../support/testpmd-process.js';

interface Case {
  readonly devargs: string;
  readonly ealArgs?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly disabledFeatures?: bigint;
}

async function start(t: ExecutionContext, { devargs, ealArgs = [], env = {}, disabledFeatures = 0n }: Case) {
  const path = await waitForSocket(startBackend(t, 1, disabledFeatures));
  const [command, args] = ourCommand({
    vdevs: [`net_virtio_user0,path=${path},${devargs},vectorized=1`],
    ealArgs: ['--no-huge', '--log-level', 'pmd.net.virtio.*:info', ...ealArgs],
  });
  const ours = startPeer(t, 'our testpmd', command, args, { ...process.env, ...env });
  await ours.waitFor(/testpmd> /, 60_000);
  return ours;
}

async function forwards(ours: Peer): Promise<void> {
  await ours.ask('start tx_first', /testpmd> /);
  await eventually(
    'packets',
    () => portStats(ours),
    ({ rxPackets }) => rxPackets > 5_000,
  );
  await ours.ask('stop', /Done\./);
}

const showPath = /Recipe: [^]*Refused:[^]*testpmd> /;
const split = 'mrg_rxbuf=0,in_order=0';
const packed = 'packed_vq=1,mrg_rxbuf=0,in_order=1';
const widthHint = 'the SIMD bit width is limited to 64: use --force-max-simd-bitwidth=128 or more';
const packedLine = 'disabled packed ring vectorized path for requirements not met';
const noHelper = 'VPMD_HELPER=none switches the native helper off: unset it';
const absentHelper = /there is no native helper .*\/absent\.so: let VPMD_HELPER name a library/;

const cases: readonly (Case & {
  readonly title: string;
  readonly log: string | RegExp;
  readonly why: string | RegExp;
  readonly paths: readonly [rx: string, tx: string];
})[] = [
  {
    title: 'no native helper, split',
    devargs: split,
    env: { VPMD_HELPER: 'none' },
    log: /disabled split ring vectorized rx, no SIMD code: .*VPMD_HELPER=none/,
    why: noHelper,
    paths: ['virtio_recv_pkts', 'virtio_xmit_pkts'],
  },
  {
    title: 'no native helper, packed, from a path that does not exist',
    devargs: packed,
    env: { VPMD_HELPER: './absent.so' },
    log: /disabled packed ring vectorized path, no SIMD code: .*absent\.so/,
    why: absentHelper,
    paths: ['virtio_recv_pkts_packed', 'virtio_xmit_pkts_packed'],
  },
  {
    title: '--force-max-simd-bitwidth=64, split',
    devargs: split,
    ealArgs: ['--force-max-simd-bitwidth=64'],
    log: 'disabled split ring vectorized rx, max SIMD bitwidth too low',
    why: widthHint,
    paths: ['virtio_recv_pkts', 'virtio_xmit_pkts'],
  },
  {
    title: '--force-max-simd-bitwidth=64, packed',
    devargs: packed,
    ealArgs: ['--force-max-simd-bitwidth=64'],
    log: packedLine,
    why: widthHint,
    paths: ['virtio_recv_pkts_packed', 'virtio_xmit_pkts_packed'],
  },
  {
    title: 'in_order=0 on a packed ring',
    devargs: 'packed_vq=1,mrg_rxbuf=0,in_order=0',
    log: packedLine,
    why: 'IN_ORDER is not negotiated because it was not asked for: use in_order=1',
    paths: ['virtio_recv_pkts_packed', 'virtio_xmit_pkts_packed'],
  },
  {
    title: 'a back-end without IN_ORDER',
    devargs: packed,
    disabledFeatures: VIRTIO_F_IN_ORDER,
    log: packedLine,
    why: 'IN_ORDER is not negotiated because the device does not offer it: use one that does',
    paths: ['virtio_recv_pkts_packed', 'virtio_xmit_pkts_packed'],
  },
];

for (const { title, log, why, paths, ...rest } of cases) {
  test.serial(`vectorized=1 falls back to the scalar path and says why: ${title}`, async (t) => {
    const ours = await start(t, rest);
    if (typeof log === 'string') t.true(ours.output.includes(`${log}\n`), ours.output);
    else t.regex(ours.output, log);

    const [report] = await ours.ask('show port 0 path', showPath);
    const [rx, tx] = paths;
    t.true(report.includes(`Rx: ${rx}\nTx: ${tx}\nRejected:\n`), report);
    const vectorized = report.split('\n').filter((line) => /^ {2}\w+_vec: /.test(line));
    const ofRing = vectorized.filter((line) => line.includes('_packed') === rx.includes('_packed'));
    t.is(ofRing.length, rx.includes('_packed') ? 2 : 1);
    for (const line of ofRing) t.true(typeof why === 'string' ? line.endsWith(why) : why.test(line), line);

    await forwards(ours);
    await ours.ask('quit', /Bye/);
  });
}

const sseTest = wants(helperStatus().isas.includes('SSE') ? '' : 'there is no SSE code here');

sseTest.serial('a limit of 128 bits runs the SSE code, and the report says why not wider ones', async (t) => {
  const ours = await start(t, { devargs: split, ealArgs: ['--force-max-simd-bitwidth=128'] });
  t.true(ours.output.includes('virtio: using SSE code on port 0\n'));
  const [report] = await ours.ask('show port 0 path', showPath);
  t.regex(report, /Rx: virtio_recv_pkts_vec\nTx: virtio_xmit_pkts\nSIMD code: SSE\nWider SIMD code:\n {2}AVX2: /);
  await forwards(ours);
  await ours.ask('quit', /Bye/);
});

test("the SIMD bit width is EAL's: 256 unless told otherwise (arm64: 128), a power of two, 0 for no limit", (t) => {
  const width = (...options: string[]) => parseEalOptions(options).maxSimdBitwidth;
  t.is(width(), process.arch === 'x64' ? 256 : 128);
  for (const bits of [0, 64, 512, 32768]) t.is(width(`--force-max-simd-bitwidth=${bits}`), bits);
  for (const bits of ['100', '-1', '65536', 'wide', '128.5']) {
    t.throws(() => width(`--force-max-simd-bitwidth=${bits}`), {
      code: 'EOPTION',
      message: `EAL: --force-max-simd-bitwidth ${bits}: give a power of two up to 32768, or 0 for no limit`,
    });
  }
});
