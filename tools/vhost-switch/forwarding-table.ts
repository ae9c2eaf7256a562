/**
 * A bridge's forwarding database: the port on which a MAC address was last seen. It has at most 8192 entries, which expire
 * after 300 seconds (IEEE 802.1D's ageing time). Eight-way sets in typed arrays need no allocation, and a flood of addresses
 * only replaces entries of the same set.
 */
const WAYS = 8;
const SETS = 1024;
export const TABLE_SIZE = WAYS * SETS;
export const AGEING_SECONDS = 300;

export class ForwardingTable {
  /** First two bytes of the address plus 1 (so that 0 is an empty entry), and its last four. */
  private readonly high = new Uint32Array(TABLE_SIZE);
  private readonly low = new Uint32Array(TABLE_SIZE);
  private readonly port = new Int16Array(TABLE_SIZE);
  private readonly seen = new Uint32Array(TABLE_SIZE);

  private set(high: number, low: number): number {
    return ((Math.imul(low ^ (high << 7), 0x9e3779b1) >>> 22) & (SETS - 1)) * WAYS;
  }

  /**
   * Records that `high:low` (16 and 32 bits of the address) sent from `port` at second `now`. Group addresses are ignored. In
   * a full set the oldest entry is replaced.
   */
  learn(high: number, low: number, port: number, now: number): void {
    if (high & 0x0100) return;
    const first = this.set(high, low);
    let victim = first;
    let oldest = Infinity;
    for (let i = first; i < first + WAYS; i++) {
      if (this.high[i] === high + 1 && this.low[i] === low) {
        victim = i;
        break;
      }
      const seen = this.high[i] === 0 ? -1 : this.seen[i]!;
      if (seen >= oldest) continue;
      victim = i;
      oldest = seen;
    }
    this.high[victim] = high + 1;
    this.low[victim] = low;
    this.port[victim] = port;
    this.seen[victim] = now;
  }

  /** The port of an address, or -1 when it is unknown, too old, or a group address. */
  lookup(high: number, low: number, now: number): number {
    if (high & 0x0100) return -1;
    const first = this.set(high, low);
    for (let i = first; i < first + WAYS; i++) {
      if (this.high[i] !== high + 1 || this.low[i] !== low) continue;
      return now - this.seen[i]! < AGEING_SECONDS ? this.port[i]! : -1;
    }
    return -1;
  }

  /** Removes all entries of a port, when its guest is gone. */
  forget(port: number): void {
    for (let i = 0; i < TABLE_SIZE; i++) if (this.port[i] === port) this.high[i] = 0;
  }
}
