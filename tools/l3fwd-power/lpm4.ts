/**
 * IPv4 longest prefix match, DIR-24-8 as in rte_lpm: a table of 2^24 entries for the first three bytes of the address, and a
 * group of 256 for each /24 with longer prefixes in it. A lookup takes one or two loads. It is in shared memory, built once
 * for all lcores.
 */
import { VirtioPmdError } from '../../native/errors.js';
import type { Route4 } from './routes.js';

// An entry: 0: no route; EXTENDED with the number of a group; otherwise the port + 1.
const EXTENDED = 0x8000;
const GROUP_MASK = EXTENDED - 1;
const MAX_GROUPS = EXTENDED;
const TABLE24 = 1 << 24;
const GROUP = 256;

export class Lpm4 {
  private readonly entries: Uint16Array;

  constructor(shared: SharedArrayBuffer) {
    this.entries = new Uint16Array(shared);
  }

  /** Builds the tables for all lcores. Of two routes with the same prefix the later counts. @throws VirtioPmdError EMEMORY */
  static build(routes: readonly Route4[]): SharedArrayBuffer {
    const deep = new Set(routes.filter(({ depth }) => depth > 24).map(({ address }) => address >>> 8));
    if (deep.size > MAX_GROUPS) {
      throw new VirtioPmdError(
        'EMEMORY',
        `the routes longer than /24 lie in ${deep.size} networks of /24, and there is room for ${MAX_GROUPS}: leave some out`,
      );
    }
    const shared = new SharedArrayBuffer((TABLE24 + deep.size * GROUP) * 2);
    const entries = new Uint16Array(shared);
    let groups = 0;
    // shorter prefixes first: later writes are better matches
    for (const { address, depth, port } of [...routes].sort((a, b) => a.depth - b.depth)) {
      const high = address >>> 8;
      if (depth <= 24) {
        const size = 2 ** (24 - depth);
        const from = high - (high % size);
        entries.fill(port + 1, from, from + size);
        continue;
      }
      if (entries[high]! < EXTENDED) {
        const at = TABLE24 + groups * GROUP;
        entries.fill(entries[high]!, at, at + GROUP);
        entries[high] = EXTENDED | groups++;
      }
      const size = 2 ** (32 - depth);
      const low = address & 0xff;
      const from = TABLE24 + (entries[high]! & GROUP_MASK) * GROUP + low - (low % size);
      entries.fill(port + 1, from, from + size);
    }
    return shared;
  }

  /** The port of the longest prefix of `address`, a signed or unsigned 32-bit number; -1 without one. */
  lookup(address: number): number {
    const { entries } = this;
    const entry = entries[address >>> 8]!;
    if (entry < EXTENDED) return entry - 1;
    return entries[TABLE24 + (entry & GROUP_MASK) * GROUP + (address & 0xff)]! - 1;
  }
}
