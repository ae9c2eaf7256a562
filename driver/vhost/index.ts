/**
 * vhost-user back-end library: the device's end of virtio-net rings.
 *
 *     const driver = new VhostDriver('/tmp/x.sock', { queues: 1 }, { newDevice: (device) => { guest = device; } });
 *     driver.start();
 *     for (;;) {
 *       driver.poll();                                     // connections and messages; once a millisecond is enough
 *       const n = guest.dequeueBurst(1, pool, pkts, 32);   // what the guest transmits (odd virtqueues)
 *       const taken = guest.enqueueBurst(0, pool, pkts, n); // what the guest receives (even ones)
 *       pool.freeBulk(pkts, 0, n);                         // enqueue copies: the mbufs stay ours
 *     }
 *
 * One thread does all of it. Peers cannot make it throw: their errors are logged, counted and refused.
 */
export type { Log, LogLevel } from '../eal/types.js';
export { VhostDriver, type VhostOptions } from './driver.js';
export { SUPPORTED_FEATURES, SUPPORTED_PROTOCOL_FEATURES } from './features.js';
export type { VhostCallbacks, VhostDevice } from './types.js';
export { vhostJob, VHOST_COUNTERS, vhostCounterBytes, type VhostJobData, type VhostMode } from './embedded.js';
