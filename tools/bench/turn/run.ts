/**
 * `node run.ts '{...}'`: turns of the driver with a device in the same thread. One recipe per process, so that the compiler
 * optimizes for that recipe alone. Prints one line of JSON.
 */
import { pinThread } from '../../../native/cpu.js';
import { VirtioPmdError } from '../../../native/errors.js';
import { helperStatus } from '../../../native/helper.js';
import { createEal } from '../../../driver/eal/eal.js';
import { openRx, openTx } from '../../../paths/guest/open.js';
import {
  BROKEN,
  brokenReason,
  layoutOf,
  queueSharedBytes,
  queueState,
  resetQueue,
  STARTED,
  TX_SLOT_SIZE,
  type QueueSpec,
} from '../../../paths/guest/queue.js';
import { NET_HDR_MRG } from '../../../paths/layout.js';
import { selectPaths } from '../../../paths/select.js';
import { parseVirtioUser } from '../../../driver/devargs/devargs.js';
import { recipeNamed } from '../../common/recipes.js';
import { instantDevice, type InstantDevice } from './instant-device.js';
import { ourCpu } from '../common/testpmd.js';

export interface TurnJob {
  readonly recipe: string;
  readonly burst: number;
  /** Widest vector registers to use, in bits; 0: no limit. */
  readonly simd: number;
  /** Bytes of a packet. */
  readonly size: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** Output of the process. */
export interface TurnResult {
  readonly rx: string;
  readonly tx: string;
  readonly isa?: string;
  /** Nanoseconds per packet, window by window. */
  readonly windows: readonly number[];
}

const RING = 256;
const MBUFS = 8192;
const FREE_THRESH = 32;
/** Packets between two readings of the clock: about half a millisecond. */
const WINDOW_PACKETS = 32768;

/** @throws VirtioPmdError EPEER when nothing is forwarded. */
function runTurns({ recipe, burst, simd, size, seconds, warmUpSeconds }: TurnJob): TurnResult {
  const args = parseVirtioUser(`net_virtio_user0,path=none,${recipeNamed(recipe).devargs}`);
  const ring = { packed: args.packedVq, mergeable: args.mrgRxbuf, inOrder: args.inOrder };
  const { isas, lacking } = helperStatus();
  const selection = selectPaths({
    ...{ ...ring, version1: true, vectorized: args.vectorized, maxSimdBitwidth: simd, isas, lacking },
    rxOffloads: { checksum: false, lro: false, vlanStrip: false, rssHash: false },
  });
  pinThread([ourCpu]);
  using eal = createEal({ noHuge: true, log: () => {} });
  const mempool = eal.createMempool({ count: MBUFS });
  const pool = eal.mempool(mempool);
  const queue = (path: QueueSpec['path']): QueueSpec => {
    const zone = eal.reserve(`${path}_zone`, RING * TX_SLOT_SIZE).offset;
    const { mapping, offset } = eal.reserve(path, layoutOf({ packed: ring.packed, size: RING }).byteLength, 4096);
    const spec: QueueSpec = {
      ...{ portId: 0, queueId: 0, path, mapping, ...ring, size: RING, ringOff: offset, hdrSize: NET_HDR_MRG },
      ...{ indirect: true, eventIdx: false, anyLayout: true, freeThresh: FREE_THRESH, nbDesc: RING, vlanStrip: false },
      ...{ txZoneOff: zone, txZoneAddress: eal.deviceAddress(zone), mempool, doorbell: { kind: 'none' } },
      shared: new SharedArrayBuffer(queueSharedBytes(RING)),
      simd: path.endsWith('_vec') ? selection.simd : undefined,
    };
    resetQueue(spec, pool);
    queueState(spec).words[STARTED] = 1;
    return spec;
  };
  const specs = [queue(selection.rx), queue(selection.tx)] as const;
  const [rx, tx] = [openRx(specs[0], pool), openTx(specs[1], pool)];
  const [rxDevice, txDevice] = specs.map((spec) => instantDevice(spec, size)) as [InstantDevice, InstantDevice];
  const pkts = new Uint32Array(burst);
  rx.fill();

  const turns = (packets: number) => {
    let done = 0;
    while (done < packets) {
      rxDevice.use();
      const n = rx.recv(pkts, burst);
      const sent = tx.xmit(pkts, n);
      txDevice.use();
      if (sent === 0) throw new VirtioPmdError('EPEER', whyStuck(specs));
      done += sent;
    }
    return done;
  };
  const windows: number[] = [];
  for (const end = performance.now() + warmUpSeconds * 1000; performance.now() < end;) turns(WINDOW_PACKETS);
  for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
    const begun = performance.now();
    const packets = turns(WINDOW_PACKETS);
    windows.push(((performance.now() - begun) * 1e6) / packets);
  }
  rxDevice.check();
  txDevice.check();
  const { rx: rxPath, tx: txPath, simd: isa } = selection;
  return { rx: rxPath, tx: txPath, ...(isa === undefined ? {} : { isa }), windows };
}

function whyStuck(specs: readonly QueueSpec[]): string {
  const broken = specs.map((spec) => queueState(spec).words[BROKEN]!).find((code) => code !== 0);
  return broken === undefined ? 'the driver forwards nothing' : brokenReason(broken);
}

try {
  process.stdout.write(`${JSON.stringify(runTurns(JSON.parse(process.argv[2]!) as TurnJob))}\n`);
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
