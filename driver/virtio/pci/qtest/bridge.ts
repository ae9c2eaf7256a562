/**
 * The thread between eventfds and an emulated machine, which does not know them. It writes to the notification register of a
 * queue whose eventfd was signalled, and signals the eventfd of an MSI-X vector whose message has arrived in its word of RAM.
 *
 * It polls every millisecond, and more often for a while after it found work. It ends when it is told to, and when QEMU is
 * gone.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { drainFd, signalFd } from '../../../../native/event.js';
import { viewsOf, type Mapping } from '../../../../native/region.js';
import { QtestSocket, type QtestLink } from './protocol.js';
import {
  BRIDGE,
  BridgeTable,
  ENDED,
  MAX_FUNCTIONS,
  MAX_VECTORS,
  RUNNING,
  SharedMutex,
  STARTING,
  STOP,
  TABLE_LOCK,
} from './shared.js';

/** Plain data that is posted to the thread. */
export interface BridgeData {
  readonly link: QtestLink;
  /** The words of RAM that MSI-X messages go to: MAX_VECTORS for each function. */
  readonly messages: Mapping;
}

const IDLE_MS = 1;
const BUSY_MS = 0.1;
/** Turns without work before it polls less often. */
const PATIENCE = 100;

parentPort!.postMessage('loaded');

const { link, messages } = workerData as BridgeData;
const words = new Int32Array(link.shared);
const table = new BridgeTable(words);
const lock = new SharedMutex(words, TABLE_LOCK);
const socket = new QtestSocket(link);
const ram = viewsOf(messages).i32;

/** One turn. @returns whether there was work */
function turn(): boolean {
  let busy = false;
  for (let slot = 0; slot < MAX_FUNCTIONS; slot++) {
    for (let i = 0; i < table.doorbellCount(slot); i++) {
      if (!drainFd(table.doorbellFd(slot, i))) continue;
      const { space, address, value } = table.doorbell(slot, i);
      socket.write(space, address, 2, value);
      busy = true;
    }
    for (let i = 0; i < table.vectorCount(slot); i++) {
      const at = slot * MAX_VECTORS + i;
      if (Atomics.load(ram, at) === 0) continue;
      // cleared before the signal, so that a message that comes now is not lost
      Atomics.store(ram, at, 0);
      const fd = table.vectorFd(slot, i);
      if (fd >= 0) signalFd(fd);
      busy = true;
    }
  }
  return busy;
}

// ENDED means that the machine was closed before this thread had loaded: then nothing of it may be accessed any more
if (Atomics.compareExchange(words, BRIDGE, STARTING, RUNNING) === STARTING) {
  try {
    let idle = 0;
    while (Atomics.load(words, STOP) === 0 && !socket.gone) {
      idle = lock.run(turn) ? 0 : idle + 1;
      Atomics.wait(words, STOP, 0, idle < PATIENCE ? BUSY_MS : IDLE_MS);
    }
  } finally {
    Atomics.store(words, BRIDGE, ENDED);
    Atomics.notify(words, BRIDGE);
  }
}
