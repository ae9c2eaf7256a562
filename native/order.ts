/**
 * Ordering between us and whoever shares the memory (a peer process or a device), spelled once (virtio 1.2 sections
 * 2.7.13 and 2.8.21). `Atomics` are sequentially consistent in JavaScript: as a load they are an acquire, as a store
 * a release, and on x86 the store is an `xchg`, hence a full barrier too. 8 to 15 ns each (Node 20, AMD EPYC Milan):
 * once per burst, never per packet.
 *
 * Data paths call `Atomics.load` and `Atomics.store` themselves, as V8 might not inline a wrapper; the comment at each
 * names one of these three words:
 * - observe: a load after which nothing that the peer published before is stale;
 * - publish: a store before which everything we wrote is visible;
 * - fence: a full barrier, before asking whether the peer wants a notification.
 */

/**
 * Loads of other CPUs may be reordered; x86 keeps the order of loads and of stores by itself. VPMD_WEAK_ORDER=1 makes every
 * machine take the code of one that does not, which is how tests run it on x86.
 */
export const WEAK_ORDER = process.arch !== 'x64' || process.env['VPMD_WEAK_ORDER'] === '1';

const barrierWord = new Int32Array(new SharedArrayBuffer(4));

/** fence: no later load is done before every earlier store is visible. */
export function fence(): void {
  Atomics.add(barrierWord, 0, 0);
}
