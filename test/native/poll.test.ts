/** Waiting for several descriptors at once. */
import test, { type ExecutionContext } from 'ava';
import { createEventFd, drainFd, PollSet, signalFd } from '../../native/event.js';
import { c } from '../../native/libc.js';
import { closeFd } from '../../native/region.js';
import { acceptUnix, connectUnix, listenUnix } from '../../native/socket.js';
import { join } from 'node:path';
import { temporaryDirectory } from '../support/peers.js';

function eventFd(t: ExecutionContext): number {
  const fd = createEventFd();
  t.teardown(() => closeFd(fd));
  return fd;
}

test('only the descriptors that are readable are ready, each at its position', (t) => {
  const fds = Array.from({ length: 20 }, () => eventFd(t));
  const set = new PollSet(fds.length);
  t.is(set.wait(0), 0, 'an empty set');
  for (let mask = 0; mask < 64; mask++) {
    const wanted = fds.map((_, i) => ((mask * 0x9e3779b1) >>> (i % 32)) % 2 === 1);
    set.clear();
    t.deepEqual(
      fds.map((fd) => set.add(fd)),
      fds.map((_, i) => i),
    );
    fds.forEach((fd, i) => wanted[i] && signalFd(fd));
    t.is(set.wait(0), wanted.filter(Boolean).length);
    t.deepEqual(
      fds.map((_, i) => set.isReady(i)),
      wanted,
    );
    fds.forEach((fd, i) => t.is(drainFd(fd), wanted[i]!));
    t.is(set.wait(0), 0, 'and none once they are read empty');
    t.false(fds.some((_, i) => set.isReady(i)));
  }
});

test('a set that is cleared forgets what was in it', (t) => {
  const [a, b] = [eventFd(t), eventFd(t)];
  const set = new PollSet(2);
  set.add(a);
  set.add(b);
  signalFd(b);
  t.is(set.wait(-1), 1);
  set.clear();
  t.is(set.wait(0), 0);
  t.is(set.add(a), 0);
  t.is(set.wait(1), 0);
  t.false(set.isReady(0));
});

test('a peer that hangs up makes its socket ready', (t) => {
  const path = join(temporaryDirectory(t), 's');
  const listener = listenUnix(path);
  const near = connectUnix(path);
  const far = acceptUnix(listener);
  t.teardown(() => {
    closeFd(near);
    closeFd(listener);
  });
  const set = new PollSet(1);
  set.add(near);
  t.is(set.wait(0), 0);
  closeFd(far);
  t.is(set.wait(1000), 1);
  t.true(set.isReady(0));
});

test('a descriptor that does not exist is told of at once, and does not hide the others', (t) => {
  const fd = eventFd(t);
  const set = new PollSet(2);
  set.add(1_000_000);
  set.add(fd);
  signalFd(fd);
  t.is(set.wait(-1), 2);
  t.true(set.isReady(0));
  t.true(set.isReady(1));
  t.false(drainFd(1_000_000));
});

test('an eventfd that somebody made a blocking one is read without waiting', (t) => {
  const fd = eventFd(t);
  const F_SETFL = 4;
  t.is(c.fcntl(fd, F_SETFL, 0), 0);
  t.false(drainFd(fd), 'nothing is there');
  signalFd(fd);
  signalFd(fd);
  t.true(drainFd(fd));
  t.false(drainFd(fd));
});
