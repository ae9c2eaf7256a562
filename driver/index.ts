/**
 * The driver's API. docs/api.md has examples: make an Eal, attach ports, configure and start them. Then run bursts on this
 * thread (`port.rx`, `port.tx`), or pass `port.spec()` to an lcore, which opens queues with `openRx` and `openTx`.
 */
export { createEal, Eal, Lcores, parseLcores, type LcoreMap, type LcoreOption, type LcoreState } from './eal/eal.js';
export { attach, type AttachOptions } from './port/attach.js';
export { hotplugAdd, hotplugRemove, type Bus } from './port/hotplug.js';
export { Port, portsOf, type PortPart } from './port/port.js';
export type { PortFilters, PortInterrupts, PortRss, RetaEntries, RssInfo, RssUpdate } from './port/parts.js';
export { loadQueues, openRx, openTx, type PortQueueSpec, type RxQueue, type TxQueue } from './port/queue.js';
export { parseVirtioUser, type PciDevargs, type PortArgs, type VirtioUserDevargs } from './devargs/devargs.js';
export { isPci, parsePci } from './virtio/pci/probe.js';
export { featureName, featureNames } from './wire/virtio-features.js';
export {
  ForwardStream,
  openStream,
  type BurstWatch,
  type ForwardingMode,
  type StreamSettings,
  type StreamSpec,
} from './port/stream.js';
export { readStreamCounts, streamCountersBytes, type StreamCounts } from './port/stream-counters.js';
export { RxInterrupts } from './eal/rx-interrupt.js';
export { rxReady, type RxReadyOptions } from './port/rx-ready.js';
export { Mempool, NIL, type MempoolSpec } from '../paths/mempool.js';
export { bigEndian16, swapBytes } from '../paths/bytes.js';
export * from '../paths/mbuf.js';
export { PacketHeaders, parseHeaders } from '../paths/packet-headers.js';
export type { QueueSpec, RxPath, RxPathName, TxPath, TxPathName } from '../paths/guest/queue.js';
export { isVirtioPmdError, SystemError, VirtioPmdError, type ErrorCode } from '../native/errors.js';
export * from './eal/types.js';
export * from './port/types.js';
