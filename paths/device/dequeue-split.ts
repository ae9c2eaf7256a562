/** The device's side of a guest's split Tx ring: virtio_dev_tx_split. */
import { DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_WORDS, ETHER_HDR_LEN } from '../layout.js';
import type { Mempool } from '../mempool.js';
import { NOMBUF } from '../stats.js';
import { CHAIN_BAD, CHAIN_LATER, HEAD_RANGE, WORK_PER_BURST } from './chain.js';
import type { GuestMemory } from './guest-memory.js';
import type { DeviceQueue } from './queue.js';
import type { RingDescription, RingState } from './ring-state.js';
import { SplitRing } from './split-ring.js';
import { STOP, takeChain, TAKEN } from './take-chain.js';
import { countPacket, MAX_BURST } from './transfer.js';

const UNUSUAL = DESC_F_NEXT | DESC_F_INDIRECT | DESC_F_WRITE;

export class DequeueSplit extends SplitRing implements DeviceQueue {
  private readonly mbufs = new Int32Array(MAX_BURST);

  constructor(spec: RingDescription, state: RingState, memory: GuestMemory) {
    super(spec, state, memory, 0);
  }

  enqueue(): number {
    return 0;
  }

  dequeue(pool: Mempool, pkts: Uint32Array, n: number): number {
    let pending = this.pending();
    if (n > MAX_BURST) n = MAX_BURST;
    if (pending > n) pending = n;
    if (pending === 0) return 0;

    const { mbufs, memory, chain, stats, position, availU16, descU32, desc, usedU32, usedEntries } = this;
    const { size, hdrSize } = this.spec;
    const { headroom, dataRoom, dataLen, dataOff, pktLen, olFlags } = pool;
    const mask = size - 1;
    const availEntries = this.avail + 2;
    this.access.select(pool);
    const { u8, copiers } = this.access;
    const got = pool.getBulk(mbufs, pending);
    if (got < pending) {
      stats[NOMBUF]! += pending - got;
      pending = got;
    }

    chain.begin();
    let done = 0; // chains consumed
    let count = 0; // packets
    while (done < pending && chain.work < WORK_PER_BURST) {
      const slot = (position + done) & mask;
      const head = availU16[availEntries + slot]!;
      if (head >= size) {
        this.giveUp(HEAD_RANGE);
        break;
      }
      const m = mbufs[count]!;
      const word = desc + head * DESC_WORDS;
      const bytes = descU32[word + 2]! - hdrSize;
      let taken = false;
      if ((descU32[word + 3]! & UNUSUAL) === 0 && bytes >= ETHER_HDR_LEN && bytes <= dataRoom) {
        const from = memory.resolve(descU32[word]!, descU32[word + 1]!, bytes + hdrSize);
        if (from >= 0) {
          const to = pool.bufOff(m) + headroom;
          copiers[memory.hit]!(to, from + hdrSize, bytes);
          dataOff[m] = headroom;
          dataLen[m] = bytes;
          pktLen[m] = bytes;
          olFlags[m] = 0;
          taken = true;
        }
      }
      if (!taken) {
        const result = this.takeOther(pool, m, head);
        if (result === STOP) break;
        taken = result === TAKEN;
      }
      if (taken) {
        countPacket(stats, u8, pool.bufOff(m) + headroom, pktLen[m]!);
        pkts[count++] = m;
      }
      const entry = usedEntries + slot * 2;
      usedU32[entry] = head;
      usedU32[entry + 1] = 0; // we wrote nothing into the buffer
      done++;
    }
    for (let i = count; i < pending; i++) pool.put(mbufs[i]!);
    if (done > 0) this.publish(done);
    return count;
  }

  /** Any chain but the simplest. Reads the descriptors again: no value that was read before is used. */
  private takeOther(pool: Mempool, m: number, head: number): number {
    const { chain, stats } = this;
    const { hdrSize } = this.spec;
    chain.clear();
    const result = chain.walkSplit(this.descU32, this.desc, head);
    if (result === CHAIN_LATER) return STOP;
    if (result > CHAIN_BAD) {
      this.giveUp(result);
      return STOP;
    }
    return takeChain(chain, result, hdrSize, pool, m, this.access.copiers, stats);
  }
}
