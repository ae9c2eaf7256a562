/**
 * Chooses the Rx and Tx path of a port, with reasons: the decision tables of virtio_ethdev.c (virtio_dev_configure and
 * set_rxtx_funcs) as one pure function. Its input has no feature bits and no devargs: the driver passes booleans for what was
 * negotiated and what the application asked for.
 *
 * Three deliberate differences from DPDK:
 * - vectorized paths run the widest SIMD code that CPU, native helper and SIMD bit width allow: packed ones do not need
 *   AVX-512, and the split one does not stop at SSE;
 * - a choice depends only on its input, not on an earlier configuration of the port;
 * - missing SIMD code is checked last, so that the log always shows what the table says about `vectorized=1`.
 */
import {
  aBoolean,
  aNumber,
  anArray,
  checkArguments,
  checkOptions,
  madeBy,
  optional,
  withOptions,
  type OptionKinds,
} from '../native/arguments.js';
import type { SimdIsa, LackingIsa } from '../native/helper.js';
import type { RxPathName, TxPathName } from './guest/queue.js';

/** The eleven recipes of the PMD guide. */
export type Recipe =
  | 'split mergeable'
  | 'split non-mergeable'
  | 'split vector Rx'
  | 'split in-order mergeable'
  | 'split in-order non-mergeable'
  | 'packed mergeable'
  | 'packed non-mergeable'
  | 'packed in-order mergeable'
  | 'packed in-order non-mergeable'
  | 'packed vector Rx+Tx'
  | 'packed vector Tx only';

/** Register width in bits. */
const widths: Readonly<Record<SimdIsa, number>> = { SSE: 128, NEON: 128, AVX2: 256, AVX512: 512 };

/** Ring features on which the choice depends. */
export interface RingFeatures {
  /** RING_PACKED. */
  readonly packed: boolean;
  /** MRG_RXBUF. */
  readonly mergeable: boolean;
  /** IN_ORDER. */
  readonly inOrder: boolean;
  /** VERSION_1. */
  readonly version1: boolean;
}

/** The requested Rx offloads that some path cannot do. */
export interface RxOffloads {
  /** UDP_CKSUM or TCP_CKSUM. */
  readonly checksum: boolean;
  /** TCP_LRO. */
  readonly lro: boolean;
  /** VLAN_STRIP. */
  readonly vlanStrip: boolean;
  /** RSS_HASH. */
  readonly rssHash: boolean;
}

export interface SelectInput extends RingFeatures {
  /** What the device offered: distinguishes "not requested" from "not offered". Default: everything. */
  readonly offered?: RingFeatures;
  /** The devarg vectorized=1. */
  readonly vectorized: boolean;
  readonly rxOffloads: RxOffloads;
  /** --force-max-simd-bitwidth in bits; 0: no limit. */
  readonly maxSimdBitwidth: number;
  /** Instruction sets whose code can run here. Empty: none, and every path is scalar. */
  readonly isas: readonly SimdIsa[];
  /** Instruction sets whose code cannot run here, and why. */
  readonly lacking: readonly LackingIsa[];
}

/** What would have to change to make a rejected path possible. */
export type Culprit = 'user' | 'device' | 'helper' | 'offload';

/** A path that was not chosen. `why` is a whole sentence: the first condition that ruled it out, and what to change. */
export interface Rejection {
  readonly what: RxPathName | TxPathName;
  readonly by: Culprit;
  readonly why: string;
}

export interface Selection {
  readonly recipe: Recipe;
  readonly rx: RxPathName;
  readonly tx: TxPathName;
  /** The instruction set of the vectorized paths; undefined when both are scalar. */
  readonly simd: SimdIsa | undefined;
  /** Wider instruction sets, and why their code does not run. Empty when both paths are scalar. */
  readonly widerIsas: readonly LackingIsa[];
  /** INFO lines on why vectorized=1 had no effect, in DPDK's order. Empty without vectorized=1. */
  readonly infos: readonly string[];
  /** Every Rx and Tx path that was not chosen, Rx first. */
  readonly rejected: readonly Rejection[];
  /** The burst mode in `show rxq info` and `show txq info`. */
  readonly rxBurstMode: string;
  readonly txBurstMode: string;
}

/** A row of a decision table that applies: its log line (if any), and its text as a reason. */
interface Obstacle {
  readonly info: string | undefined;
  readonly by: Culprit;
  readonly why: string;
}

export const allOffered: RingFeatures = { packed: true, mergeable: true, inOrder: true, version1: true };

const ringFeatures: OptionKinds<RingFeatures> = {
  packed: aBoolean,
  mergeable: aBoolean,
  inOrder: aBoolean,
  version1: aBoolean,
};

const rxOffloadKinds: OptionKinds<RxOffloads> = {
  checksum: aBoolean,
  lro: aBoolean,
  vlanStrip: aBoolean,
  rssHash: aBoolean,
};

const selectInput: OptionKinds<SelectInput> = {
  ...ringFeatures,
  offered: optional(withOptions(ringFeatures)),
  vectorized: aBoolean,
  rxOffloads: withOptions(rxOffloadKinds),
  maxSimdBitwidth: aNumber,
  isas: anArray,
  lacking: anArray,
};

/** Chooses the paths. Every input has exactly one result. */
export function selectPaths(input: SelectInput): Selection {
  checkOptions('selectPaths', input, selectInput);
  const { packed } = input;
  const widest = widestIsa(input);
  const common = packed ? packedObstacles(input) : [];
  const rxOnly = packed ? (common.length === 0 ? packedRxObstacles(input) : []) : splitRxObstacles(input);
  const missing = common.length + rxOnly.length === 0 ? simdObstacles(input) : [];
  // on a packed ring Tx may be vectorized when Rx is not; then Tx still needs SIMD code
  const missingTx = packed && common.length === 0 ? simdObstacles(input) : [];
  const rxObstacles = [...common, ...rxOnly, ...missing];
  const txObstacles = [...common, ...missingTx];

  const vecRx = input.vectorized && rxObstacles.length === 0;
  const vecTx = input.vectorized && packed && txObstacles.length === 0;
  const rx = chooseRx(input, vecRx);
  const tx = chooseTx(input, vecTx);
  const used = vecRx || vecTx ? widest : undefined;
  const logged = new Set([...rxObstacles, ...txObstacles].map((obstacle) => obstacle.info));
  return {
    recipe: recipeOf(input, vecRx, vecTx),
    rx,
    tx,
    simd: used,
    widerIsas: used === undefined ? [] : widerIsas(input, used),
    infos: input.vectorized ? [...logged].filter((line) => line !== undefined) : [],
    rejected: [
      ...rxPaths.filter((path) => path !== rx).map((path) => rejectRx(path, input, rxObstacles[0], vecRx)),
      ...txPaths.filter((path) => path !== tx).map((path) => rejectTx(path, input, txObstacles[0])),
    ],
    rxBurstMode: rxBurstMode(rx, used),
    txBurstMode: txBurstModes[tx],
  };
}

/** The lines that scripts look for in the log of a starting port: Rx, Tx, and the instruction set if there is one. */
export function usingLines(
  selection: Pick<Selection, 'rx' | 'tx'> & Partial<Pick<Selection, 'simd'>>,
  portId: number,
): string[] {
  checkArguments('usingLines', {
    selection: [selection, madeBy('selectPaths', 'rx', 'tx')],
    portId: [portId, aNumber],
  });
  const { rx, tx, simd } = selection;
  return [
    `virtio: using ${rxTitles[rx]} Rx path on port ${portId}`,
    `virtio: using ${txTitles[tx]} Tx path on port ${portId}`,
    ...(simd === undefined ? [] : [`virtio: using ${simd} code on port ${portId}`]),
  ];
}

// ---- the decision tables -------------------------------------------------------------------------------------------

const MIN_WIDTH = 128;

/** The widest instruction set that --force-max-simd-bitwidth allows. */
function widestIsa({ isas, maxSimdBitwidth }: SelectInput): SimdIsa | undefined {
  const allowed = isas.filter((isa) => maxSimdBitwidth === 0 || widths[isa] <= maxSimdBitwidth);
  return allowed.sort((a, b) => widths[b] - widths[a])[0];
}

/** True when the bit width is what forbids vector instructions (and not the lack of SIMD code). */
function widthForbids(input: SelectInput): boolean {
  const { isas, maxSimdBitwidth } = input;
  if (maxSimdBitwidth !== 0 && maxSimdBitwidth < MIN_WIDTH) return true;
  return isas.length > 0 && widestIsa(input) === undefined;
}

function widthWhy({ maxSimdBitwidth }: SelectInput, needed: number): string {
  return `the SIMD bit width is limited to ${maxSimdBitwidth}: use --force-max-simd-bitwidth=${needed} or more`;
}

/** The obstacle when the bit width forbids vector instructions. */
function widthObstacle(input: SelectInput): Cause {
  const needed = input.isas.length === 0 ? MIN_WIDTH : Math.min(...input.isas.map((isa) => widths[isa]));
  return { by: 'user', why: widthWhy(input, needed) };
}

function widerIsas(input: SelectInput, used: SimdIsa): LackingIsa[] {
  const forbidden = input.isas.map((isa) => ({ isa, why: widthWhy(input, widths[isa]) }));
  return [...forbidden, ...input.lacking].filter(({ isa }) => widths[isa] > widths[used]);
}

/** Packed: what rules out vectorized Rx and Tx. */
function packedObstacles(input: SelectInput): Obstacle[] {
  const info = 'disabled packed ring vectorized path for requirements not met';
  if (!input.inOrder) return [{ info, ...absent(input, 'inOrder') }];
  if (!input.version1) return [{ info, ...absent(input, 'version1') }];
  if (widthForbids(input)) return [{ info, ...widthObstacle(input) }];
  return [];
}

/** Packed: what rules out vectorized Rx alone. Each row logs, even when an earlier one did. */
function packedRxObstacles({ mergeable, rxOffloads }: SelectInput): Obstacle[] {
  const rows: Obstacle[] = [];
  const disabled = (reason: string) => `disabled packed ring vectorized rx for ${reason} enabled`;
  if (mergeable) rows.push({ info: disabled('mrg_rxbuf'), ...present('mergeable') });
  if (rxOffloads.lro) rows.push({ info: disabled('TCP_LRO'), ...offload('TCP_LRO') });
  if (rxOffloads.rssHash) rows.push({ info: disabled('RSS_HASH'), ...offload('RSS_HASH') });
  return rows;
}

/** Split: what rules out vectorized Rx. In-order rings log nothing and end the table. */
function splitRxObstacles(input: SelectInput): Obstacle[] {
  const { inOrder, mergeable, rxOffloads } = input;
  if (inOrder) return [{ info: undefined, ...present('inOrder') }];
  const rows: Obstacle[] = [];
  const disabled = 'disabled split ring vectorized rx';
  if (mergeable) rows.push({ info: `${disabled} for mrg_rxbuf enabled`, ...present('mergeable') });
  const asked = rxOffloads.checksum
    ? 'UDP_CKSUM or TCP_CKSUM'
    : rxOffloads.lro
      ? 'TCP_LRO'
      : rxOffloads.vlanStrip
        ? 'VLAN_STRIP'
        : undefined;
  if (asked !== undefined) rows.push({ info: `${disabled} for offloading enabled`, ...offload(asked) });
  if (widthForbids(input)) {
    rows.push({ info: `${disabled}, max SIMD bitwidth too low`, ...widthObstacle(input) });
  }
  return rows;
}

/** The last check, when the tables allow a vectorized path: missing SIMD code. */
function simdObstacles({ isas, lacking, packed }: SelectInput): Obstacle[] {
  if (isas.length > 0) return [];
  const what = packed ? 'packed ring vectorized path' : 'split ring vectorized rx';
  const why = `no SIMD code: ${whyNone(lacking)}`;
  return [{ info: `disabled ${what}, ${why}`, by: 'helper', why }];
}

/** "SSE, AVX2: one reason; AVX512: another one". */
function whyNone(lacking: readonly LackingIsa[]): string {
  const reasons = [...new Set(lacking.map(({ why }) => why))];
  const isasFor = (reason: string) => lacking.filter(({ why }) => why === reason).map(({ isa }) => isa);
  return (
    reasons.map((why) => `${isasFor(why).join(', ')}: ${why}`).join('; ') || 'there are none for this architecture'
  );
}

function chooseRx({ packed, inOrder, mergeable }: SelectInput, vectorized: boolean): RxPathName {
  if (packed) {
    if (vectorized) return 'virtio_recv_pkts_packed_vec';
    return mergeable ? 'virtio_recv_mergeable_pkts_packed' : 'virtio_recv_pkts_packed';
  }
  if (vectorized) return 'virtio_recv_pkts_vec';
  if (inOrder) return 'virtio_recv_pkts_inorder';
  return mergeable ? 'virtio_recv_mergeable_pkts' : 'virtio_recv_pkts';
}

function chooseTx({ packed, inOrder }: SelectInput, vectorized: boolean): TxPathName {
  if (packed) return vectorized ? 'virtio_xmit_pkts_packed_vec' : 'virtio_xmit_pkts_packed';
  return inOrder ? 'virtio_xmit_pkts_inorder' : 'virtio_xmit_pkts';
}

/** The guide names a recipe after its Rx path, and after Tx only where mergeable buffers keep Rx scalar. */
function recipeOf({ packed, inOrder, mergeable }: SelectInput, vecRx: boolean, vecTx: boolean): Recipe {
  if (packed && vecRx) return 'packed vector Rx+Tx';
  if (packed && vecTx && mergeable) return 'packed vector Tx only';
  if (vecRx) return 'split vector Rx';
  const merge = mergeable ? 'mergeable' : 'non-mergeable';
  const ring = packed ? 'packed' : 'split';
  return inOrder ? `${ring} in-order ${merge}` : `${ring} ${merge}`;
}

// ---- reasons -------------------------------------------------------------------------------------------------------

const devargs: Readonly<Record<keyof RingFeatures, readonly [feature: string, on: string, off: string]>> = {
  packed: ['RING_PACKED', 'add packed_vq=1', 'use packed_vq=0'],
  mergeable: ['MRG_RXBUF', 'use mrg_rxbuf=1', 'use mrg_rxbuf=0'],
  inOrder: ['IN_ORDER', 'use in_order=1', 'use in_order=0'],
  version1: ['VERSION_1', 'ask for VERSION_1', 'use a legacy device'],
};

type Cause = Pick<Obstacle, 'by' | 'why'>;

function absent(input: SelectInput, feature: keyof RingFeatures): Cause {
  const [name, on] = devargs[feature];
  const offered = (input.offered ?? allOffered)[feature];
  return offered
    ? { by: 'user', why: `${name} is not negotiated because it was not asked for: ${on}` }
    : { by: 'device', why: `${name} is not negotiated because the device does not offer it: use one that does` };
}

function present(feature: keyof RingFeatures): Cause {
  const [name, , off] = devargs[feature];
  return { by: 'user', why: `${name} is negotiated: ${off}` };
}

function offload(name: string): Cause {
  return { by: 'offload', why: `the Rx offload ${name} is requested: do without it` };
}

const notAsked: Cause = { by: 'user', why: 'vectorized paths were not asked for: add vectorized=1' };
const vectorizedWins: Cause = { by: 'user', why: 'a vectorized path is possible and was asked for: use vectorized=0' };

function rejectRx(what: RxPathName, input: SelectInput, obstacle: Obstacle | undefined, vecRx: boolean): Rejection {
  return { what, ...rxCause(what, input, obstacle, vecRx) };
}

function rxCause(what: RxPathName, input: SelectInput, obstacle: Obstacle | undefined, vecRx: boolean): Cause {
  const ofPacked = what.includes('_packed');
  if (ofPacked !== input.packed) return ofPacked ? absent(input, 'packed') : present('packed');
  if (what.endsWith('_vec')) return vectorizedCause(input, obstacle);
  if (what === 'virtio_recv_pkts_inorder') return input.inOrder ? vectorizedWins : absent(input, 'inOrder');
  if (!input.packed && input.inOrder) return present('inOrder');
  const ofMergeable = what.includes('_mergeable');
  if (ofMergeable && !input.mergeable) return absent(input, 'mergeable');
  if (!ofMergeable && input.mergeable) return present('mergeable');
  // this path would have been the scalar choice
  return vecRx ? vectorizedWins : notAsked;
}

function rejectTx(what: TxPathName, input: SelectInput, obstacle: Obstacle | undefined): Rejection {
  return { what, ...txCause(what, input, obstacle) };
}

function txCause(what: TxPathName, input: SelectInput, obstacle: Obstacle | undefined): Cause {
  const ofPacked = what.includes('_packed');
  if (ofPacked !== input.packed) return ofPacked ? absent(input, 'packed') : present('packed');
  if (what.endsWith('_vec')) return vectorizedCause(input, obstacle);
  if (input.packed) return vectorizedWins;
  return what === 'virtio_xmit_pkts_inorder' ? absent(input, 'inOrder') : present('inOrder');
}

function vectorizedCause(input: SelectInput, obstacle: Obstacle | undefined): Cause {
  if (!input.vectorized || obstacle === undefined) return notAsked;
  return { by: obstacle.by, why: obstacle.why };
}

// ---- names ---------------------------------------------------------------------------------------------------------

const rxTitles: Readonly<Record<RxPathName, string>> = {
  virtio_recv_pkts: 'standard',
  virtio_recv_mergeable_pkts: 'mergeable buffer',
  virtio_recv_pkts_inorder: 'inorder',
  virtio_recv_pkts_vec: 'vectorized',
  virtio_recv_pkts_packed: 'packed ring standard',
  virtio_recv_mergeable_pkts_packed: 'packed ring mergeable buffer',
  virtio_recv_pkts_packed_vec: 'packed ring vectorized',
};

const txTitles: Readonly<Record<TxPathName, string>> = {
  virtio_xmit_pkts: 'standard',
  virtio_xmit_pkts_inorder: 'inorder',
  virtio_xmit_pkts_packed: 'packed ring standard',
  virtio_xmit_pkts_packed_vec: 'packed ring vectorized',
};

const rxPaths = Object.keys(rxTitles) as readonly RxPathName[];
const txPaths = Object.keys(txTitles) as readonly TxPathName[];

/** In-order Rx has the same name as standard Rx, as in DPDK. */
const rxBurstModes: Readonly<Record<Exclude<RxPathName, `${string}_vec`>, string>> = {
  virtio_recv_pkts: 'Scalar',
  virtio_recv_mergeable_pkts: 'Scalar mergeable',
  virtio_recv_pkts_inorder: 'Scalar',
  virtio_recv_pkts_packed: 'Scalar standard packed ring',
  virtio_recv_mergeable_pkts_packed: 'Scalar mergeable packed ring',
};

const txBurstModes: Readonly<Record<TxPathName, string>> = {
  virtio_xmit_pkts: 'Scalar',
  virtio_xmit_pkts_inorder: 'Scalar in order',
  virtio_xmit_pkts_packed: 'Scalar packed ring',
  virtio_xmit_pkts_packed_vec: 'Vector packed ring',
};

function rxBurstMode(rx: RxPathName, simd: SimdIsa | undefined): string {
  if (rx === 'virtio_recv_pkts_vec') return `Vector ${simd}`;
  if (rx === 'virtio_recv_pkts_packed_vec') return `Vector ${simd} packed ring`;
  return rxBurstModes[rx];
}
