import test from 'ava';
import fc from 'fast-check';
import type { SimdIsa } from '../../native/helper.js';
import type { RxPathName, TxPathName } from '../../paths/guest/queue.js';
import {
  selectPaths,
  usingLines,
  type Recipe,
  type RxOffloads,
  type SelectInput,
  type Selection,
} from '../../paths/select.js';

const none: RxOffloads = { checksum: false, lro: false, vlanStrip: false, rssHash: false };

/** A split, scalar, non-mergeable, modern port on a build with SIMD code; tests say what they need different. */
function input(more: Partial<SelectInput> = {}): SelectInput {
  return {
    packed: false,
    mergeable: false,
    inOrder: false,
    version1: true,
    vectorized: false,
    rxOffloads: none,
    maxSimdBitwidth: 0,
    isas: ['SSE', 'AVX2', 'AVX512'],
    lacking: [],
    ...more,
  };
}

const choose = (more: Partial<SelectInput> = {}) => selectPaths(input(more));
const offloads = (more: Partial<RxOffloads>) => ({ rxOffloads: { ...none, ...more } });
const why = (selection: Selection, what: string) => selection.rejected.find((reason) => reason.what === what);

const noHelper = 'there is no native helper: build it';
/** Nothing can run, for one reason. */
const without: Partial<SelectInput> = {
  isas: [],
  lacking: [
    { isa: 'SSE', why: noHelper },
    { isa: 'AVX2', why: noHelper },
  ],
};
const noSimd = `no SIMD code: SSE, AVX2: ${noHelper}`;

const packedVec = { packed: true, inOrder: true, vectorized: true };
const splitVec = { vectorized: true };

// ---- the recipe table: devargs and what comes of them --------------------------------------------------------------

const recipes: readonly (readonly [Recipe, Partial<SelectInput>, rx: RxPathName, tx: TxPathName])[] = [
  ['split mergeable', { mergeable: true }, 'virtio_recv_mergeable_pkts', 'virtio_xmit_pkts'],
  ['split non-mergeable', {}, 'virtio_recv_pkts', 'virtio_xmit_pkts'],
  ['split non-mergeable', { ...splitVec, ...offloads({ vlanStrip: true }) }, 'virtio_recv_pkts', 'virtio_xmit_pkts'],
  ['split vector Rx', splitVec, 'virtio_recv_pkts_vec', 'virtio_xmit_pkts'],
  [
    'split in-order mergeable',
    { mergeable: true, inOrder: true },
    'virtio_recv_pkts_inorder',
    'virtio_xmit_pkts_inorder',
  ],
  ['split in-order non-mergeable', { inOrder: true }, 'virtio_recv_pkts_inorder', 'virtio_xmit_pkts_inorder'],
  [
    'packed mergeable',
    { packed: true, mergeable: true },
    'virtio_recv_mergeable_pkts_packed',
    'virtio_xmit_pkts_packed',
  ],
  ['packed non-mergeable', { packed: true }, 'virtio_recv_pkts_packed', 'virtio_xmit_pkts_packed'],
  [
    'packed in-order mergeable',
    { packed: true, mergeable: true, inOrder: true },
    'virtio_recv_mergeable_pkts_packed',
    'virtio_xmit_pkts_packed',
  ],
  [
    'packed in-order non-mergeable',
    { packed: true, inOrder: true },
    'virtio_recv_pkts_packed',
    'virtio_xmit_pkts_packed',
  ],
  [
    'packed in-order non-mergeable',
    { ...packedVec, ...offloads({ lro: true }) },
    'virtio_recv_pkts_packed',
    'virtio_xmit_pkts_packed_vec',
  ],
  ['packed vector Rx+Tx', packedVec, 'virtio_recv_pkts_packed_vec', 'virtio_xmit_pkts_packed_vec'],
  [
    'packed vector Tx only',
    { ...packedVec, mergeable: true },
    'virtio_recv_mergeable_pkts_packed',
    'virtio_xmit_pkts_packed_vec',
  ],
];

for (const [recipe, more, rx, tx] of recipes) {
  test(`recipe "${recipe}" from ${JSON.stringify(more)}`, (t) => {
    const selection = choose(more);
    t.is(selection.recipe, recipe);
    t.is(selection.rx, rx);
    t.is(selection.tx, tx);
  });
}

// ---- the log lines and burst modes of each choice ------------------------------------------------------------------

const words: readonly (readonly [Partial<SelectInput>, rx: string, tx: string, rxMode: string, txMode: string])[] = [
  [{}, 'standard', 'standard', 'Scalar', 'Scalar'],
  [{ mergeable: true }, 'mergeable buffer', 'standard', 'Scalar mergeable', 'Scalar'],
  [{ inOrder: true }, 'inorder', 'inorder', 'Scalar', 'Scalar in order'],
  [splitVec, 'vectorized', 'standard', 'Vector AVX512', 'Scalar'],
  [{ ...splitVec, isas: ['SSE'] }, 'vectorized', 'standard', 'Vector SSE', 'Scalar'],
  [{ ...splitVec, isas: ['NEON'] }, 'vectorized', 'standard', 'Vector NEON', 'Scalar'],
  [
    { packed: true },
    'packed ring standard',
    'packed ring standard',
    'Scalar standard packed ring',
    'Scalar packed ring',
  ],
  [
    { packed: true, mergeable: true },
    'packed ring mergeable buffer',
    'packed ring standard',
    'Scalar mergeable packed ring',
    'Scalar packed ring',
  ],
  [packedVec, 'packed ring vectorized', 'packed ring vectorized', 'Vector AVX512 packed ring', 'Vector packed ring'],
  [
    { ...packedVec, isas: ['NEON'] },
    'packed ring vectorized',
    'packed ring vectorized',
    'Vector NEON packed ring',
    'Vector packed ring',
  ],
];

for (const [more, rx, tx, rxMode, txMode] of words) {
  test(`log lines and burst modes: Rx ${rx}, Tx ${tx}, ${rxMode}`, (t) => {
    const selection = choose(more);
    t.deepEqual(usingLines(selection, 3), [
      `virtio: using ${rx} Rx path on port 3`,
      `virtio: using ${tx} Tx path on port 3`,
      ...(selection.simd === undefined ? [] : [`virtio: using ${selection.simd} code on port 3`]),
    ]);
    t.is(selection.rxBurstMode, rxMode);
    t.is(selection.txBurstMode, txMode);
  });
}

// ---- the decision tables, row by row -------------------------------------------------------------------------------

const requirements = 'disabled packed ring vectorized path for requirements not met';

const packedRows: readonly (readonly [string, Partial<SelectInput>, info: string[], rx: boolean, tx: boolean])[] = [
  ['all conditions met', {}, [], true, true],
  ['without IN_ORDER', { inOrder: false }, [requirements], false, false],
  ['without VERSION_1', { version1: false }, [requirements], false, false],
  ['SIMD width 64', { maxSimdBitwidth: 64 }, [requirements], false, false],
  ['SIMD width below all code', { maxSimdBitwidth: 256, isas: ['AVX512'] }, [requirements], false, false],
  ['SIMD width 256 with AVX2 code (ours: any will do)', { maxSimdBitwidth: 256 }, [], true, true],
  ['SIMD width 512', { maxSimdBitwidth: 512 }, [], true, true],
  ['MRG_RXBUF', { mergeable: true }, ['disabled packed ring vectorized rx for mrg_rxbuf enabled'], false, true],
  ['TCP_LRO', offloads({ lro: true }), ['disabled packed ring vectorized rx for TCP_LRO enabled'], false, true],
  ['RSS_HASH', offloads({ rssHash: true }), ['disabled packed ring vectorized rx for RSS_HASH enabled'], false, true],
  [
    'every Rx condition logs',
    { mergeable: true, ...offloads({ lro: true, rssHash: true }) },
    [
      'disabled packed ring vectorized rx for mrg_rxbuf enabled',
      'disabled packed ring vectorized rx for TCP_LRO enabled',
      'disabled packed ring vectorized rx for RSS_HASH enabled',
    ],
    false,
    true,
  ],
  ['requirements end the table', { inOrder: false, mergeable: true }, [requirements], false, false],
  ['Rx checksum is not asked about', offloads({ checksum: true }), [], true, true],
  ['VLAN strip is not asked about', offloads({ vlanStrip: true }), [], true, true],
  [
    'no SIMD code, after the table said yes',
    without,
    [`disabled packed ring vectorized path, ${noSimd}`],
    false,
    false,
  ],
  [
    'no SIMD code, after the table said yes to Tx',
    { ...without, mergeable: true },
    ['disabled packed ring vectorized rx for mrg_rxbuf enabled', `disabled packed ring vectorized path, ${noSimd}`],
    false,
    false,
  ],
  ['no SIMD code, after the table said no', { ...without, inOrder: false }, [requirements], false, false],
];

for (const [title, more, infos, rx, tx] of packedRows) {
  test(`packed table: ${title}`, (t) => {
    const selection = choose({ ...packedVec, ...more });
    t.deepEqual(selection.infos, infos);
    t.is(selection.rx === 'virtio_recv_pkts_packed_vec', rx);
    t.is(selection.tx === 'virtio_xmit_pkts_packed_vec', tx);
    t.deepEqual(choose({ ...packedVec, ...more, vectorized: false }).infos, []);
  });
}

const mergeableLine = 'disabled split ring vectorized rx for mrg_rxbuf enabled';
const offloadLine = 'disabled split ring vectorized rx for offloading enabled';
const widthLine = 'disabled split ring vectorized rx, max SIMD bitwidth too low';

const splitRows: readonly (readonly [string, Partial<SelectInput>, info: string[], rx: boolean])[] = [
  ['all conditions met', {}, [], true],
  ['IN_ORDER says nothing', { inOrder: true }, [], false],
  ['IN_ORDER ends the table', { inOrder: true, mergeable: true, maxSimdBitwidth: 64 }, [], false],
  ['MRG_RXBUF', { mergeable: true }, [mergeableLine], false],
  ['UDP_CKSUM or TCP_CKSUM', offloads({ checksum: true }), [offloadLine], false],
  ['TCP_LRO', offloads({ lro: true }), [offloadLine], false],
  ['VLAN_STRIP', offloads({ vlanStrip: true }), [offloadLine], false],
  ['several offloads log once', offloads({ checksum: true, lro: true, vlanStrip: true }), [offloadLine], false],
  ['RSS_HASH is not asked about', offloads({ rssHash: true }), [], true],
  ['VERSION_1 is not asked about', { version1: false }, [], true],
  ['SIMD width 64', { maxSimdBitwidth: 64 }, [widthLine], false],
  ['SIMD width 128', { maxSimdBitwidth: 128 }, [], true],
  ['SIMD width 128 without code so narrow', { maxSimdBitwidth: 128, isas: ['AVX2'] }, [widthLine], false],
  [
    'every condition logs',
    { mergeable: true, maxSimdBitwidth: 64, ...offloads({ lro: true }) },
    [mergeableLine, offloadLine, widthLine],
    false,
  ],
  ['no SIMD code, after the table said yes', without, [`disabled split ring vectorized rx, ${noSimd}`], false],
  ['no SIMD code, after the table said no', { ...without, mergeable: true }, [mergeableLine], false],
];

for (const [title, more, infos, rx] of splitRows) {
  test(`split table: ${title}`, (t) => {
    const selection = choose({ ...splitVec, ...more });
    t.deepEqual(selection.infos, infos);
    t.is(selection.rx === 'virtio_recv_pkts_vec', rx);
    t.not(selection.tx, 'virtio_xmit_pkts_packed_vec');
  });
}

test('the widest code that the SIMD width allows is used', (t) => {
  const isaAt = (maxSimdBitwidth: number) => choose({ ...packedVec, maxSimdBitwidth }).simd;
  t.deepEqual([0, 512, 256, 128, 64].map(isaAt), ['AVX512', 'AVX512', 'AVX2', 'SSE', undefined]);
  t.is(choose().simd, undefined, 'a scalar path runs none');
});

test('wider code than what runs is listed with the reason, narrower is not', (t) => {
  const wider = (more: Partial<SelectInput>) =>
    choose({ ...splitVec, ...more }).widerIsas.map(({ isa, why: reason }) => `${isa}: ${reason}`);
  const limited = (bits: number, needed: number) =>
    `the SIMD bit width is limited to ${bits}: use --force-max-simd-bitwidth=${needed} or more`;
  const cpu = 'the CPU does not have it';
  t.deepEqual(wider({}), []);
  t.deepEqual(wider({ maxSimdBitwidth: 256 }), [`AVX512: ${limited(256, 512)}`]);
  t.deepEqual(wider({ maxSimdBitwidth: 128 }), [`AVX2: ${limited(128, 256)}`, `AVX512: ${limited(128, 512)}`]);
  t.deepEqual(wider({ isas: ['SSE', 'AVX2'], lacking: [{ isa: 'AVX512', why: cpu }] }), [`AVX512: ${cpu}`]);
  t.deepEqual(wider({ isas: ['AVX2'], lacking: [{ isa: 'SSE', why: cpu }] }), []);
  t.deepEqual(wider({ maxSimdBitwidth: 128, mergeable: true }), [], 'a scalar path');
});

test('instruction sets that are lacking for different reasons are each named with theirs', (t) => {
  const [old, absent] = ['the compiler was too old', 'the CPU does not have it'];
  const lacking = [
    { isa: 'SSE', why: absent },
    { isa: 'AVX2', why: absent },
    { isa: 'AVX512', why: old },
  ] as const;
  t.deepEqual(choose({ ...splitVec, isas: [], lacking }).infos, [
    `disabled split ring vectorized rx, no SIMD code: SSE, AVX2: ${absent}; AVX512: ${old}`,
  ]);
});

// ---- reasons -------------------------------------------------------------------------------------------------------

test('a rejected path names the first condition, who would have to act, and what to change', (t) => {
  const rows: readonly (readonly [Partial<SelectInput>, string, string, RegExp])[] = [
    [{}, 'virtio_recv_pkts_vec', 'user', /add vectorized=1/],
    [{}, 'virtio_recv_pkts_packed', 'user', /RING_PACKED.*add packed_vq=1/],
    [{ packed: true }, 'virtio_recv_pkts', 'user', /RING_PACKED is negotiated: use packed_vq=0/],
    [{}, 'virtio_recv_mergeable_pkts', 'user', /MRG_RXBUF.*mrg_rxbuf=1/],
    [{ mergeable: true }, 'virtio_recv_pkts', 'user', /MRG_RXBUF is negotiated: use mrg_rxbuf=0/],
    [{}, 'virtio_xmit_pkts_inorder', 'user', /IN_ORDER.*in_order=1/],
    [{ inOrder: true }, 'virtio_xmit_pkts', 'user', /IN_ORDER is negotiated: use in_order=0/],
    [{ inOrder: true }, 'virtio_recv_pkts', 'user', /IN_ORDER is negotiated/],
    [{ ...splitVec, mergeable: true }, 'virtio_recv_pkts_vec', 'user', /MRG_RXBUF/],
    [{ ...splitVec, ...offloads({ lro: true }) }, 'virtio_recv_pkts_vec', 'offload', /TCP_LRO/],
    [{ ...splitVec, maxSimdBitwidth: 64 }, 'virtio_recv_pkts_vec', 'user', /--force-max-simd-bitwidth=128/],
    [
      { ...splitVec, ...without },
      'virtio_recv_pkts_vec',
      'helper',
      /^no SIMD code: SSE, AVX2: there is no native helper/,
    ],
    [{ ...packedVec, ...without }, 'virtio_xmit_pkts_packed_vec', 'helper', /^no SIMD code: .*: build it$/],
    [{ ...packedVec, isas: [] }, 'virtio_recv_pkts_packed_vec', 'helper', /^no SIMD code: .* for this architecture$/],
    [{ ...packedVec, inOrder: false }, 'virtio_xmit_pkts_packed_vec', 'user', /IN_ORDER.*in_order=1/],
    [packedVec, 'virtio_xmit_pkts_packed', 'user', /vectorized=0/],
    [packedVec, 'virtio_recv_pkts_packed', 'user', /vectorized=0/],
  ];
  for (const [more, what, by, text] of rows) {
    const reason = why(choose(more), what);
    t.is(reason?.by, by as 'user', `${what} of ${JSON.stringify(more)}`);
    t.regex(reason?.why ?? '', text);
  }
});

test('a feature that the device does not offer is the device\u2019s doing', (t) => {
  const offered = { packed: false, mergeable: true, inOrder: false, version1: true };
  const selection = choose({ offered });
  t.is(why(selection, 'virtio_recv_pkts_packed')?.by, 'device');
  t.is(why(selection, 'virtio_recv_pkts_inorder')?.by, 'device');
  t.is(why(selection, 'virtio_recv_mergeable_pkts')?.by, 'user');
});

// ---- all inputs ----------------------------------------------------------------------------------------------------

function* everyInput(): Generator<SelectInput> {
  const flags = [false, true];
  const isaSets: SimdIsa[][] = [[], ['SSE'], ['AVX512'], ['SSE', 'AVX2', 'AVX512'], ['NEON']];
  for (let bits = 0; bits < 2 ** 9; bits++) {
    const flag = (bit: number) => flags[(bits >> bit) & 1]!;
    for (const isas of isaSets) {
      for (const maxSimdBitwidth of [0, 64, 128, 256, 512]) {
        yield {
          packed: flag(0),
          mergeable: flag(1),
          inOrder: flag(2),
          version1: flag(3),
          vectorized: flag(4),
          rxOffloads: { checksum: flag(5), lro: flag(6), vlanStrip: flag(7), rssHash: flag(8) },
          maxSimdBitwidth,
          isas,
          lacking: [],
        };
      }
    }
  }
}

test('every input has one of the eleven recipes, and its parts agree with each other', (t) => {
  const known = new Set(recipes.map(([recipe]) => recipe));
  const seen = new Set<Recipe>();
  for (const all of everyInput()) {
    const s = selectPaths(all);
    const text = JSON.stringify([all, s]);
    const check = (holds: boolean, what: string) => {
      if (!holds) t.fail(`${what}: ${text}`);
    };
    seen.add(s.recipe);
    check(known.has(s.recipe), 'an unknown recipe');
    check(s.recipe.startsWith(all.packed ? 'packed' : 'split'), 'the recipe names the other ring');
    check(
      s.rx.includes('_packed') === all.packed && s.tx.includes('_packed') === all.packed,
      'paths of the other ring',
    );
    check(s.rejected.length === 9, 'every path is chosen or rejected');
    check(!s.rejected.some(({ what }) => what === s.rx || what === s.tx), 'chosen and rejected');
    const vector = s.rx.endsWith('_vec') || s.tx.endsWith('_vec');
    check(vector === (s.simd !== undefined), 'SIMD code and no vectorized path, or the other way round');
    check(!vector || (all.vectorized && all.isas.includes(s.simd!)), 'vectorized without being asked or able');
    check(!s.rx.endsWith('_vec') || !all.mergeable, 'vectorized Rx with mergeable buffers');
    check(s.infos.length === 0 || all.vectorized, 'log lines that nobody asked for');
    const half = all.packed ? s.rx.endsWith('_vec') && s.tx.endsWith('_vec') : s.rx.endsWith('_vec');
    const silent = !all.packed && all.inOrder;
    check(!all.vectorized || half || silent || s.infos.length > 0, 'vectorized=1 was refused without a word');
    check(new Set(s.infos).size === s.infos.length, 'a line twice');
    check(s.rxBurstMode.startsWith(s.rx.endsWith('_vec') ? 'Vector' : 'Scalar'), 'Rx burst mode');
    check(s.txBurstMode.startsWith(s.tx.endsWith('_vec') ? 'Vector' : 'Scalar'), 'Tx burst mode');
  }
  t.is(seen.size, 11);
  t.is(known.size, 11);
});

test('scalar choices do not depend on SIMD code, widths or offloads', (t) => {
  const inputs = [...everyInput()].filter((all) => !all.vectorized);
  fc.assert(
    fc.property(fc.constantFrom(...inputs), (all) => {
      const plain = selectPaths({ ...all, isas: [], maxSimdBitwidth: 0, rxOffloads: none });
      const s = selectPaths(all);
      return s.rx === plain.rx && s.tx === plain.tx && s.recipe === plain.recipe;
    }),
  );
  t.pass();
});
