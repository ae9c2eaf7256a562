/** A thread for the tests of shared eventfds: it signals one, or is the peer that does its worst for two seconds. */
import { parentPort, workerData } from 'node:worker_threads';
import { signalPeer } from '../../../native/peer-event.js';
import { fillAndBlock } from '../../support/hostile-eventfd.js';

const { fd, does } = workerData as { fd: number; does: 'signal' | 'worst' };
if (does === 'signal') signalPeer(fd);
else {
  parentPort!.postMessage('go');
  for (const end = Date.now() + 2000; Date.now() < end;) fillAndBlock(fd);
}
