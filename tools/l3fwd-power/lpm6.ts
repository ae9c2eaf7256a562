/**
 * IPv6 longest prefix match: a trie as in rte_lpm6. The root is indexed by the first 16 bits of the address, every other node
 * by the next 8. The number of loads in a lookup depends on the longest prefix nearby. It is in shared memory, built once for
 * all lcores.
 */
import { VirtioPmdError } from '../../native/errors.js';
import type { Route6 } from './routes.js';

const ROOT = 1 << 16;
const NODE = 256;
const ROOT_BITS = 16;
/** Limit of nodes: 256 MiB. */
const MAX_NODES = 1 << 18;

export class Lpm6 {
  /** 0: no route; the complement of a node's number; or the port + 1. The root comes first, then the nodes. */
  private readonly entries: Int32Array;

  constructor(shared: SharedArrayBuffer) {
    this.entries = new Int32Array(shared);
  }

  /** Builds the trie for all lcores. Of two routes with the same prefix the later counts. @throws VirtioPmdError EMEMORY */
  static build(routes: readonly Route6[]): SharedArrayBuffer {
    const count = countNodes(routes);
    if (count > MAX_NODES) {
      throw new VirtioPmdError(
        'EMEMORY',
        `${routes.length} IPv6 routes need ${count} tables of 1 KiB, and there is room for ${MAX_NODES}: leave some out`,
      );
    }
    const shared = new SharedArrayBuffer((ROOT + count * NODE) * 4);
    const entries = new Int32Array(shared);
    let nodes = 0;
    // shorter prefixes first: later writes are better matches, and there is no node below the entries that are written
    for (const { address, depth, port } of [...routes].sort((a, b) => a.depth - b.depth)) {
      let node = 0;
      let index = (address[0]! << 8) | address[1]!;
      let bits = ROOT_BITS;
      for (; depth > bits; bits += 8) {
        const at = node + index;
        if (entries[at]! >= 0) {
          const child = ROOT + nodes * NODE;
          entries.fill(entries[at]!, child, child + NODE);
          entries[at] = ~nodes++;
        }
        node = ROOT + ~entries[at]! * NODE;
        index = address[bits >> 3]!;
      }
      const size = 2 ** (bits - depth);
      const from = node + index - (index % size);
      entries.fill(port + 1, from, from + size);
    }
    return shared;
  }

  /** The port of the longest prefix of the address in the 16 bytes at `at`; -1 without one. */
  lookup(u8: Uint8Array, at: number): number {
    const { entries } = this;
    let entry = entries[(u8[at]! << 8) | u8[at + 1]!]!;
    for (let next = at + 2; entry < 0; next++) entry = entries[ROOT + ~entry * NODE + u8[next]!]!;
    return entry - 1;
  }
}

/** Counts the nodes: one for each distinct beginning, of two or more whole bytes, of a longer route. */
function countNodes(routes: readonly Route6[]): number {
  const beginnings = new Set<string>();
  for (const { address, depth } of routes) {
    const text = Buffer.from(address).toString('latin1');
    for (let bytes = ROOT_BITS / 8; bytes * 8 < depth; bytes++) beginnings.add(text.slice(0, bytes));
  }
  return beginnings.size;
}
