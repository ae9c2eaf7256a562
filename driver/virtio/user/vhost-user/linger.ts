/**
 * Leaving a back-end that has not confirmed that it stopped: it may still use the memory that it was told of. This side ends its
 * half of the connection. Once the other side has closed too, or the time-out is over, the memory can be used again.
 */
import { pollFd, POLLHUP } from '../../../../native/event.js';
import { finishSending } from '../../../../native/socket.js';
import type { VhostUserClient } from './client.js';

const LOOK_MS = 50;

/**
 * Ends the connection in the background. The wait does not keep the process alive.
 * @param timeoutMs milliseconds that the back-end has to close.
 * @param done called once, from the event loop, when the connection is closed.
 */
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
