/** The eleven path recipes of the PMD guide, in its order: vdev arguments, and the paths that they select. */
import { VirtioPmdError } from '../../native/errors.js';
import type { RxPathName, TxPathName } from '../../paths/guest/queue.js';

export interface Recipe {
  /** The name in `paths/select` and `show port P path`. */
  readonly name: string;
  /** Devargs that a virtio_user vdev needs for it. */
  readonly devargs: string;
  readonly rx: RxPathName;
  readonly tx: TxPathName;
}

const standard = 'virtio_xmit_pkts';
const inorder = 'virtio_xmit_pkts_inorder';
const packed = 'virtio_xmit_pkts_packed';
const packedVec = 'virtio_xmit_pkts_packed_vec';

const recipe = (name: string, devargs: string, rx: RxPathName, tx: TxPathName): Recipe => ({ name, devargs, rx, tx });

export const RECIPES: readonly Recipe[] = [
  recipe('split mergeable', 'mrg_rxbuf=1,in_order=0', 'virtio_recv_mergeable_pkts', standard),
  recipe('split non-mergeable', 'mrg_rxbuf=0,in_order=0', 'virtio_recv_pkts', standard),
  recipe('split vector Rx', 'mrg_rxbuf=0,in_order=0,vectorized=1', 'virtio_recv_pkts_vec', standard),
  recipe('split in-order mergeable', 'mrg_rxbuf=1,in_order=1', 'virtio_recv_pkts_inorder', inorder),
  recipe('split in-order non-mergeable', 'mrg_rxbuf=0,in_order=1', 'virtio_recv_pkts_inorder', inorder),
  recipe('packed mergeable', 'packed_vq=1,mrg_rxbuf=1,in_order=0', 'virtio_recv_mergeable_pkts_packed', packed),
  recipe('packed non-mergeable', 'packed_vq=1,mrg_rxbuf=0,in_order=0', 'virtio_recv_pkts_packed', packed),
  recipe(
    'packed in-order mergeable',
    'packed_vq=1,mrg_rxbuf=1,in_order=1',
    'virtio_recv_mergeable_pkts_packed',
    packed,
  ),
  recipe('packed in-order non-mergeable', 'packed_vq=1,mrg_rxbuf=0,in_order=1', 'virtio_recv_pkts_packed', packed),
  recipe(
    'packed vector Rx+Tx',
    'packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1',
    'virtio_recv_pkts_packed_vec',
    packedVec,
  ),
  recipe(
    'packed vector Tx only',
    'packed_vq=1,mrg_rxbuf=1,in_order=1,vectorized=1',
    'virtio_recv_mergeable_pkts_packed',
    packedVec,
  ),
];

/** The recipe with a name. @throws VirtioPmdError EOPTION when there is none. */
export function recipeNamed(name: string): Recipe {
  const found = RECIPES.find((candidate) => candidate.name === name);
  if (found !== undefined) return found;
  throw new VirtioPmdError('EOPTION', `there is no recipe '${name}'`);
}
