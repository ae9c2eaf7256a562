/**
 * Leaving a back-end that has not said that it stopped: it may still use the memory it was told of, until it has noticed.
 * This side says that it has finished; once the other has closed too, or has had its time, the memory is ours again.
 */
import { pollFd, POLLHUP } from '../../../../native/event.js';
import { finishSending } from '../../../../native/socket.js';
import type { VhostUserClient } from './client.js';

const LOOK_MS = 50;

/** @param done called once, from the event loop, when the connection is closed. It keeps no process alive. */
export function leave(client: VhostUserClient, timeoutMs: number, done: () => void): void {
  const until = performance.now() + timeoutMs;
  finishSending(client.fd);
  const timer = setInterval(() => {
    const closed = (pollFd(client.fd, 0, 0) & POLLHUP) !== 0;
    if (!closed && performance.now() < until) return;
    clearInterval(timer);
    client.close();
    done();
  }, LOOK_MS);
  timer.unref();
}
