/** The device's side of a guest's split Rx ring: virtio_dev_rx_split. */
import { DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_WORDS } from '../layout.js';
import type { Mempool } from '../mempool.js';
import { countDrop, DROP_SEGMENTS, DROP_TOO_LONG } from '../stats.js';
import { CHAIN_BAD, CHAIN_GOOD, CHAIN_LATER, HEAD_RANGE, WORK_PER_BURST, WORK_PER_PACKET } from './chain.js';
import type { GuestMemory } from './guest-memory.js';
import type { DeviceQueue } from './queue.js';
import type { RingDescription, RingState } from './ring-state.js';
import { SplitRing } from './split-ring.js';
import { countPacket, MAX_BURST, packetToChain, writeHeader } from './transfer.js';

const KIND = DESC_F_NEXT | DESC_F_INDIRECT | DESC_F_WRITE;

export class EnqueueSplit extends SplitRing implements DeviceQueue {
  private gathered = 0;

  constructor(spec: RingDescription, state: RingState, memory: GuestMemory) {
    super(spec, state, memory, DESC_F_WRITE);
  }

  dequeue(): number {
    return 0;
  }

  enqueue(pool: Mempool, pkts: Uint32Array, n: number): number {
    const pending = this.pending();
    if (n > MAX_BURST) n = MAX_BURST;
    if (pending === 0 || n === 0) return 0;

    const { memory, chain, stats, position, availU16, descU32, desc, usedU32, usedEntries } = this;
    const { size, hdrSize } = this.spec;
    const { dataLen, pktLen } = pool;
    const mask = size - 1;
    const availEntries = this.avail + 2;
    this.access.select(pool);
    const { u8, copiers } = this.access;

    chain.begin();
    let taken = 0; // packets
    let done = 0; // buffers
    while (taken < n && done < pending && chain.work < WORK_PER_BURST) {
      const m = pkts[taken]!;
      const length = pktLen[m]!;
      const slot = (position + done) & mask;
      const head = availU16[availEntries + slot]!;
      if (head >= size) {
        this.giveUp(HEAD_RANGE);
        break;
      }
      const word = desc + head * DESC_WORDS;
      const room = descU32[word + 2]!;
      if ((descU32[word + 3]! & KIND) === DESC_F_WRITE && room >= length + hdrSize && dataLen[m] === length) {
        const to = memory.resolve(descU32[word]!, descU32[word + 1]!, room);
        if (to >= 0) {
          const from = pool.dataStart(m);
          writeHeader(memory.views[memory.hit]!, to, hdrSize, 1);
          copiers[memory.hit]!(to + hdrSize, from, length);
          const entry = usedEntries + slot * 2;
          usedU32[entry] = head;
          usedU32[entry + 1] = length + hdrSize;
          countPacket(stats, u8, from, length);
          done++;
          taken++;
          continue;
        }
      }

      const outcome = this.takeGathered(pool, m, done, pending);
      if (outcome === STOP) break;
      done += this.gathered;
      taken += outcome;
    }
    if (done > 0) this.publish(done);
    return taken;
  }

  /**
   * Any buffer but the simplest. `gathered` is then the number of buffers that were used up.
   * @returns 1: the packet is done; 0: only buffers were used up; STOP: nothing can be done now.
   */
  private takeGathered(pool: Mempool, m: number, done: number, pending: number): number {
    const { chain, stats, memory } = this;
    const { size, hdrSize, mergeable } = this.spec;
    const { u8, copiers } = this.access;
    const length = pool.pktLen[m]!;
    const buffers = this.gather(length + hdrSize, done, pending);
    this.gathered = Math.abs(buffers);
    if (buffers > 0) {
      if (!chain.ready()) return STOP;
      packetToChain(chain, memory, pool, copiers, m, hdrSize, buffers);
      chain.countCopy(length, pool.nbSegs[m]!);
      countPacket(stats, u8, pool.dataStart(m), length);
      return 1;
    }
    if (buffers < 0) return 0; // unusable buffers are returned; the packet tries the next ones
    const isAll = done === 0 && pending === size;
    if (chain.isLater || this.isBroken || (mergeable && !isAll)) return STOP;
    // too long even for all buffers of the guest: waiting would not help
    countDrop(stats, DROP_TOO_LONG);
    return 1;
  }

  /**
   * Collects buffers, from the `done`th pending one on, until they hold `need` bytes, and writes their used entries (not
   * published yet).
   * @returns how many (their pieces are in the chain); 0: there are not enough now, or the ring is broken; -k: the kth is not
   *   usable (not writable, unmapped, no room for a header), or there are too many empty descriptors. The first k are then
   *   returned with length 0.
   */
  private gather(need: number, done: number, pending: number): number {
    const { chain, position, availU16, descU32, desc, usedU32, usedEntries } = this;
    const { size, hdrSize, mergeable } = this.spec;
    const mask = size - 1;
    const availEntries = this.avail + 2;
    chain.clear();
    const limit = chain.work + WORK_PER_PACKET;
    for (let k = done; k < pending; k++) {
      const slot = (position + k) & mask;
      const head = availU16[availEntries + slot]!;
      if (head >= size) {
        this.giveUp(HEAD_RANGE);
        return 0;
      }
      const before = chain.bytes;
      const result = chain.walkSplit(descU32, desc, head);
      if (result === CHAIN_LATER) return 0;
      if (result > CHAIN_BAD) {
        this.giveUp(result);
        return 0;
      }
      const room = chain.bytes - before;
      const entry = usedEntries + slot * 2;
      usedU32[entry] = head;
      if (result !== CHAIN_GOOD || room < hdrSize || chain.work > limit) {
        countDrop(this.stats, DROP_SEGMENTS);
        for (let j = done; j <= k; j++) usedU32[usedEntries + ((position + j) & mask) * 2 + 1] = 0;
        return done - k - 1;
      }
      if (before + room >= need) {
        usedU32[entry + 1] = need - before;
        return k - done + 1;
      }
      if (!mergeable) return 0;
      usedU32[entry + 1] = room;
    }
    return 0;
  }
}

const STOP = -1;
