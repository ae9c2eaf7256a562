/** Opens the path of a queue from its plain description. Called once per queue and thread, never per burst. */
import { checkArguments, madeBy } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { checkedRx, checkedTx } from '../checked-paths.js';
import type { Mempool } from '../mempool.js';
import type { QueueSpec, RxPath, TxPath } from './queue.js';
import { openRxPackedMergeable } from './rx/packed-mergeable.js';
import { openRxPackedVec } from './rx/packed-vec.js';
import { openRxPacked } from './rx/packed.js';
import { openRxSplitInorder } from './rx/split-inorder.js';
import { openRxSplitMergeable } from './rx/split-mergeable.js';
import { openRxSplitVec } from './rx/split-vec.js';
import { openRxSplit } from './rx/split.js';
import { openTxPackedVec } from './tx/packed-vec.js';
import { openTxPacked } from './tx/packed.js';
import { openTxSplitInorder } from './tx/split-inorder.js';
import { openTxSplit } from './tx/split.js';

const aQueue = madeBy('port.spec()', 'path', 'mapping', 'shared');
const aPool = madeBy('eal.mempool or context.mempool', 'spec', 'putBulk');

/** Opens an Rx queue for the calling thread. @throws VirtioPmdError ECONFIG for SIMD code that cannot run here */
export function openRx(spec: QueueSpec, pool: Mempool): RxPath {
  checkArguments('openRx', { spec: [spec, aQueue], pool: [pool, aPool] });
  return checkedRx(spec, pool, openPlainRx);
}

/** Opens a Tx queue for the calling thread. @throws VirtioPmdError ECONFIG for SIMD code that cannot run here */
export function openTx(spec: QueueSpec, pool: Mempool): TxPath {
  checkArguments('openTx', { spec: [spec, aQueue], pool: [pool, aPool] });
  return checkedTx(spec, pool, openPlainTx);
}

function openPlainRx(spec: QueueSpec, pool: Mempool): RxPath {
  switch (spec.path) {
    case 'virtio_recv_pkts':
      return openRxSplit(spec, pool);
    case 'virtio_recv_mergeable_pkts':
      return openRxSplitMergeable(spec, pool);
    case 'virtio_recv_pkts_inorder':
      return openRxSplitInorder(spec, pool);
    case 'virtio_recv_pkts_packed':
      return openRxPacked(spec, pool);
    case 'virtio_recv_mergeable_pkts_packed':
      return openRxPackedMergeable(spec, pool);
    case 'virtio_recv_pkts_vec':
      return openRxSplitVec(spec, pool);
    case 'virtio_recv_pkts_packed_vec':
      return openRxPackedVec(spec, pool);
    default:
      throw new VirtioPmdError('ECONFIG', `${spec.path} does not receive`);
  }
}

function openPlainTx(spec: QueueSpec, pool: Mempool): TxPath {
  switch (spec.path) {
    case 'virtio_xmit_pkts':
      return openTxSplit(spec, pool);
    case 'virtio_xmit_pkts_inorder':
      return openTxSplitInorder(spec, pool);
    case 'virtio_xmit_pkts_packed':
      return openTxPacked(spec, pool);
    case 'virtio_xmit_pkts_packed_vec':
      return openTxPackedVec(spec, pool);
    default:
      throw new VirtioPmdError('ECONFIG', `${spec.path} does not transmit`);
  }
}
