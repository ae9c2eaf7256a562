/** Signals an eventfd, in the way that is named, while another thread fills it, makes it blocking and empties it. Prints how often. */
import { Worker } from 'node:worker_threads';
import { createEventFd } from '../../../native/event.js';
import { signalInterrupted, signalPeer } from '../../../native/peer-event.js';

const signal = process.argv[2] === 'signalPeer' ? signalPeer : signalInterrupted;
const fd = createEventFd();
const worker = new Worker(new URL('./peer-event-worker.js', import.meta.url), { workerData: { fd, does: 'worst' } });
worker.once('message', () => {
  let signals = 0;
  for (const end = Date.now() + 1500; Date.now() < end; signals++) signal(fd);
  process.stdout.write(`${signals}\n`);
});
