/**
 * The queues of a net_vhost port, for the lcores that poll them: eth_vhost_rx and eth_vhost_tx. Rx queue q takes what the
 * guest transmits on ring 2q + 1; Tx queue q fills the guest's ring 2q. The rings come and go with the guest: each burst looks
 * whether there is one.
 */
import { drainFd } from '../../native/event.js';
import { GuestMemory } from '../../paths/device/guest-memory.js';
import { MemoryState } from '../../paths/device/memory-state.js';
import { openRing } from '../../paths/device/open.js';
import type { DeviceQueue } from '../../paths/device/queue.js';
import { GENERATION, KICK_FD, RingState, STARTED } from '../../paths/device/ring-state.js';
import { MAX_BURST } from '../../paths/device/transfer.js';
import { RTE_MBUF_F_TX_VLAN } from '../../paths/mbuf.js';
import type { Mempool } from '../../paths/mempool.js';
import { insertVlan, stripVlan } from '../../paths/vlan.js';
import type { PortQueueSpec, QueueInterrupt, RxQueue, TxQueue } from '../port/queue.js';

export interface VhostQueueSpec extends PortQueueSpec {
  /** PORT_BYTES: what all queues of the port share. */
  readonly port: SharedArrayBuffer;
  /** Of the ring (`RingState`), and of the guest's memory (`MemoryState`). */
  readonly ring: SharedArrayBuffer;
  readonly memory: SharedArrayBuffer;
  /** QUEUE_BYTES: counters of the queue beside the ring's. */
  readonly counters: SharedArrayBuffer;
  /** Rx: the offload VLAN_STRIP. */
  readonly vlanStrip: boolean;
}

/** Int32 word of `port`: not 0 while the port is started. */
export const PORT_STARTED = 0;
export const PORT_BYTES = 64;

/** Float64 of `counters`: Tx packets for which the guest had no room. */
export const MISSED = 0;
export const QUEUE_BYTES = 64;

/** This thread's translation of addresses, by the shared memory table: the rings of a device use one together. */
const memories = new WeakMap<SharedArrayBuffer, { readonly generation: number; readonly memory: GuestMemory }>();

function memoryOf(shared: SharedArrayBuffer): GuestMemory {
  const state = new MemoryState(shared);
  const { generation } = state;
  const known = memories.get(shared);
  if (known?.generation === generation) return known.memory;
  const memory = new GuestMemory(state.slices);
  memories.set(shared, { generation, memory });
  return memory;
}

/** A ring of the guest, opened on this thread whenever it was started anew. */
class RingOfGuest {
  private readonly port: Int32Array;
  private readonly state: RingState;
  private readonly words: Int32Array;
  private opened: DeviceQueue | undefined;
  private generation: number | undefined;

  constructor(private readonly spec: VhostQueueSpec) {
    this.port = new Int32Array(spec.port);
    this.state = new RingState(spec.ring);
    this.words = this.state.words;
  }

  /** The ring, while port and ring are started. */
  get queue(): DeviceQueue | undefined {
    const { words } = this;
    if (this.port[PORT_STARTED] === 0 || words[STARTED] === 0) return undefined;
    return words[GENERATION] === this.generation ? this.opened : this.open();
  }

  private open(): DeviceQueue | undefined {
    this.generation = Atomics.load(this.words, GENERATION);
    try {
      this.opened = openRing(this.state, memoryOf(this.spec.memory));
    } catch (error) {
      this.opened = undefined;
      this.state.fail(error instanceof Error ? error.message : String(error));
    }
    return this.opened;
  }

  /** The last check before a copy failed (copy.ts): an error of ours, for which only this ring is stopped. */
  fail(error: unknown): void {
    this.state.fail(error instanceof Error ? error.message : String(error));
  }

  /** The guest's kick descriptor, or -1. */
  get kickFd(): number {
    return this.words[KICK_FD]!;
  }
}

function interruptOf(ring: RingOfGuest): QueueInterrupt {
  return {
    enable: () => ring.queue?.awaitKick() ?? false,
    disable: () => ring.queue?.ignoreKicks(),
    get fd() {
      return ring.queue !== undefined && ring.kickFd >= 0 ? ring.kickFd : undefined;
    },
    drain: () => ring.queue !== undefined && ring.kickFd >= 0 && drainFd(ring.kickFd),
  };
}

export function openRx(spec: VhostQueueSpec, pool: Mempool): RxQueue {
  const ring = new RingOfGuest(spec);
  const { vlanStrip } = spec;
  return {
    spec,
    recv(pkts, n) {
      const { queue } = ring;
      if (queue === undefined) return 0;
      let got = 0;
      try {
        got = queue.dequeue(pool, pkts, n);
      } catch (error) {
        ring.fail(error);
        return 0;
      }
      if (vlanStrip && got > 0) stripVlan(pool, pkts, got);
      return got;
    },
    fill: () => 0,
    interrupt: interruptOf(ring),
  };
}

export function openTx(spec: VhostQueueSpec, pool: Mempool): TxQueue {
  const ring = new RingOfGuest(spec);
  const counters = new Float64Array(spec.counters);
  const { olFlags } = pool;

  /** Inserts the tags that are asked for. @returns the packets that are left: those without room for a tag are freed */
  function tagged(pkts: Uint32Array, n: number): number {
    let kept = 0;
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      if ((olFlags[m]! & RTE_MBUF_F_TX_VLAN) !== 0 && !insertVlan(pool, m)) pool.free(m);
      else pkts[kept++] = m;
    }
    return kept;
  }

  return {
    spec,
    prepare: (_pkts, n) => n,
    xmit(pkts, n) {
      const { queue } = ring;
      if (queue === undefined) return 0;
      let asksForTag = 0;
      for (let i = 0; i < n; i++) asksForTag |= olFlags[pkts[i]!]! & RTE_MBUF_F_TX_VLAN;
      const kept = asksForTag === 0 ? n : tagged(pkts, n);
      let sent = 0;
      try {
        let step;
        do {
          step = queue.enqueue(pool, sent === 0 ? pkts : pkts.subarray(sent), kept - sent);
          sent += step;
        } while (step === MAX_BURST && sent < kept);
      } catch (error) {
        ring.fail(error);
      }
      pool.freeBulk(pkts, 0, sent);
      if (sent === kept && kept === n) return n;
      counters[MISSED]! += kept - sent;
      // packets that were freed count as sent: they stand first
      if (kept < n) pkts.copyWithin(n - kept + sent, sent, kept);
      return n - kept + sent;
    },
    // a copy is sent at once: there is nothing to free, and the room is the guest's
    cleanup: () => ring.queue?.offered() ?? 0,
  };
}
