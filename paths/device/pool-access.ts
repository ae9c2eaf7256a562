/** What a ring needs of its caller's mempool. Looked up only when the caller passes another mempool than before. */
import { viewsOf } from '../../native/region.js';
import type { Mempool } from '../mempool.js';
import type { Copier } from './copy.js';
import type { GuestMemory } from './guest-memory.js';

export class PoolAccess {
  /** Bytes of the mbufs. */
  u8: Uint8Array = new Uint8Array(0);
  /** By slice of the guest's memory: the function that copies between it and the mbufs, in the ring's direction. */
  copiers: readonly Copier[] = [];
  private pool: Mempool | undefined = undefined;

  /** @param direction DESC_F_WRITE: to the guest; 0: from the guest. */
  constructor(
    private readonly memory: GuestMemory,
    private readonly direction: number,
  ) {}

  select(pool: Mempool): void {
    if (this.pool === pool) return;
    const views = viewsOf(pool.spec.mapping);
    this.u8 = views.u8;
    this.copiers = this.memory.copiers(views, this.direction);
    this.pool = pool;
  }
}
