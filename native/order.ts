/**
 * Memory ordering between us and the other side of shared memory, a peer process or a device (virtio 1.2 sections 2.7.13
 * and 2.8.21). `Atomics` are sequentially consistent in JavaScript: as a load they are an acquire, as a store
 * a release, and on x86 the store is an `xchg`, hence a full barrier too. 8 to 15 ns each (Node 20, AMD EPYC Milan):
 * once per burst, never per packet.
 *
 * Data paths call `Atomics.load` and `Atomics.store` themselves, as V8 might not inline a wrapper. The comment at each call
 * has one of these three words:
 * - observe: a load-acquire: later loads see everything that the peer wrote before it published;
 * - publish: a store-release: the peer sees everything that we wrote before it;
 * - fence: a full barrier, before asking whether the peer wants a notification.
 */

/**
 * True where the CPU may reorder loads; x86 keeps the order of loads and of stores by itself. VPMD_WEAK_ORDER=1 selects the
 * code for weakly ordered CPUs on every machine: tests use it on x86.
 */
export const WEAK_ORDER = process.arch !== 'x64' || process.env['VPMD_WEAK_ORDER'] === '1';

const barrierWord = new Int32Array(new SharedArrayBuffer(4));

/** fence: every earlier store is visible before any later load. */
export function fence(): void {
  Atomics.add(barrierWord, 0, 0);
}
