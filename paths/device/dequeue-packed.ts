/** The device's side of a guest's packed Tx ring: virtio_dev_tx_packed. */
import { DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_WORDS, ETHER_HDR_LEN } from '../layout.js';
import type { Mempool } from '../mempool.js';
import { NOMBUF } from '../stats.js';
import { CHAIN_BAD, CHAIN_LATER, CHAIN_TOO_LONG, WORK_PER_BURST } from './chain.js';
import type { GuestMemory } from './guest-memory.js';
import { PackedRing } from './packed-ring.js';
import type { DeviceQueue } from './queue.js';
import type { RingDescription, RingState } from './ring-state.js';
import { STOP, takeChain, TAKEN } from './take-chain.js';
import { countPacket, MAX_BURST } from './transfer.js';

const UNUSUAL = (DESC_F_NEXT | DESC_F_INDIRECT | DESC_F_WRITE) << 16;

export class DequeuePacked extends PackedRing implements DeviceQueue {
  private readonly mbufs = new Int32Array(MAX_BURST);

  constructor(spec: RingDescription, state: RingState, memory: GuestMemory) {
    super(spec, state, memory, 0);
  }

  enqueue(): number {
    return 0;
  }

  dequeue(pool: Mempool, pkts: Uint32Array, n: number): number {
    if (n > MAX_BURST) n = MAX_BURST;
    if (n === 0 || !this.begin() || !this.look(0, n)) return 0;

    const { mbufs, memory, chain, stats, descU32, desc } = this;
    const { hdrSize } = this.spec;
    const { headroom, dataRoom, dataLen, dataOff, pktLen, olFlags } = pool;
    this.access.select(pool);
    const { u8, copiers } = this.access;
    // a list takes at least one descriptor
    const wanted = this.ready < n ? this.ready : n;
    const got = pool.getBulk(mbufs, wanted);
    stats[NOMBUF]! += wanted - got;

    chain.begin();
    let consumed = 0; // in descriptors
    let chains = 0;
    let count = 0; // in packets
    while (chains < got && chain.work < WORK_PER_BURST && this.look(consumed, n)) {
      const m = mbufs[count]!;
      const word = desc + this.at(consumed) * DESC_WORDS;
      const bytes = descU32[word + 2]! - hdrSize;
      const tail = descU32[word + 3]!; // id, and flags in the upper half
      let taken = false;
      let descriptors = 1;
      let id = tail & 0xffff;
      if ((tail & UNUSUAL) === 0 && bytes >= ETHER_HDR_LEN && bytes <= dataRoom) {
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
        const result = this.takeOther(pool, m, consumed);
        if (result === STOP) break;
        taken = result === TAKEN;
        descriptors = chain.descriptors;
        id = chain.id;
      }
      if (taken) {
        countPacket(stats, u8, pool.bufOff(m) + headroom, pktLen[m]!);
        pkts[count++] = m;
      }
      this.use(consumed, id, 0); // we wrote nothing into the buffer
      consumed += descriptors;
      chains++;
    }
    for (let i = count; i < got; i++) pool.put(mbufs[i]!);
    this.consumed = consumed;
    this.publish();
    return count;
  }

  /** Any list but the simplest. Reads the descriptors again: no value that was read before is used. */
  private takeOther(pool: Mempool, m: number, ahead: number): number {
    const { chain, stats } = this;
    const { hdrSize, size } = this.spec;
    chain.clear();
    const result = chain.walkPacked(this.descU32, this.desc, this.at(ahead));
    if (result === CHAIN_LATER) return STOP;
    // a list may not contain descriptors that this burst has used
    if (result > CHAIN_BAD || ahead + chain.descriptors > size) {
      this.giveUp(result > CHAIN_BAD ? result : CHAIN_TOO_LONG);
      return STOP;
    }
    return takeChain(chain, result, hdrSize, pool, m, this.access.copiers, stats);
  }
}
