/** Eventfds that a hostile peer holds too. What would hang runs in a process of its own, which is ended then. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { openAioSignal } from '../../native/aio.js';
import { createEventFd, drainFd } from '../../native/event.js';
import { interrupted, interruptionProblem } from '../../native/interrupted.js';
import { c } from '../../native/libc.js';
import { signalInterrupted, signalPeer } from '../../native/peer-event.js';
import { closeFd } from '../../native/region.js';
import { socketPair } from '../../native/socket.js';
import { fillAndBlock } from '../support/hostile-eventfd.js';

function eventFd(t: ExecutionContext): number {
  const fd = createEventFd();
  t.teardown(() => closeFd(fd));
  return fd;
}

function counterOf(fd: number): bigint {
  const counter = new BigUint64Array(1);
  return c.read(fd, counter, 8) === 8 ? counter[0]! : 0n;
}

const aioContexts = () => readFileSync('/proc/self/maps', 'utf8').split('/[aio]').length - 1;

for (const [name, signal] of [
  ['signalPeer', signalPeer],
  ['signalInterrupted', signalInterrupted],
] as const) {
  test(`${name}: each signal adds 1, however many there are`, (t) => {
    const fd = eventFd(t);
    for (let i = 0; i < 5000; i++) t.true(signal(fd));
    t.is(counterOf(fd), 5000n);
  });

  test(`${name}: a counter that is full and a file that blocks: it returns, and the counter stays full`, (t) => {
    const fd = eventFd(t);
    for (let i = 0; i < 500; i++) {
      fillAndBlock(fd);
      signal(fd);
      signal(fd);
    }
    t.true(counterOf(fd) >= 0xffff_ffff_ffff_fffen);
    t.true(signal(fd), 'it has room again');
    t.true(drainFd(fd));
    t.false(drainFd(fd));
  });

  test(`${name}: descriptors that are no eventfds, or none at all`, (t) => {
    const [near, far] = socketPair();
    if (signal === signalPeer) t.false(signal(near));
    t.false(signal(1_000_000));
    t.false(signal(-1));
    t.is(c.recv(far, new Uint8Array(8), 8, 0x40), -1, 'nothing was written');
    closeFd(near);
    closeFd(far);
  });

  test(`${name}: a peer that fills, blocks and empties all the time`, (t) => {
    const args = ['--import', './tools/ts.mjs', 'test/native/support/peer-event-program.ts', name];
    const {
      stdout,
      stderr,
      signal: killedBy,
    } = spawnSync(process.execPath, args, { timeout: 60_000, encoding: 'utf8' });
    t.is(killedBy, null, 'it hangs');
    t.regex(stdout, /^[1-9]\d{2,}\n$/, stderr);
  });
}

test('two ways to read without waiting: of the eventfd itself, and what is interrupted', (t) => {
  t.not(openAioSignal(), undefined, 'Linux AIO is allowed here');
  t.is(interruptionProblem(), undefined);
  const fd = eventFd(t);
  fillAndBlock(fd);
  drainFd(fd);
  const start = performance.now();
  t.is(
    interrupted(() => c.read(fd, new Uint8Array(8), 8)),
    -1,
  );
  t.true(performance.now() - start < 5000);
});

test('the times of the interruption outlive collections of garbage', (t) => {
  const program = `
    const { interrupted } = await import('./native/interrupted.ts');
    const { c } = await import('./native/libc.ts');
    const fd = c.eventfd(0, 0);
    const kept = [];
    for (let i = 0; i < 20; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 5)); // buffers are freed by another thread
      for (let k = 0; k < 5000; k++) kept.push(new Uint8Array(32).fill(0xff).buffer);
      if (interrupted(() => c.read(fd, new Uint8Array(8), 8)) !== -1) throw new Error('nothing was to read');
    }
    console.log('interrupted');
  `;
  const args = ['--expose-gc', '--import', './tools/ts.mjs', '--input-type=module', '-e', program];
  t.is(spawnSync(process.execPath, args, { timeout: 30_000, encoding: 'utf8' }).stdout, 'interrupted\n');
});

test('a descriptor that the kernel cannot read without waiting is read only when there is something', (t) => {
  // inotify has no RWF_NOWAIT, as eventfds before Linux 5.8
  const fd = c.syscall(process.arch === 'x64' ? 294 : 26, 0, 0, 0, 0, 0);
  t.true(fd >= 0);
  t.false(drainFd(fd), 'a blocking file with nothing to read');
  closeFd(fd);
});

test('VPMD_NO_AIO=1 does without Linux AIO', (t) => {
  const program = `
    const { openAioSignal } = await import('./native/aio.ts');
    const { signalPeer, checkPeerSignals } = await import('./native/peer-event.ts');
    const { createEventFd, drainFd } = await import('./native/event.ts');
    const fd = createEventFd();
    checkPeerSignals();
    console.log(openAioSignal(), signalPeer(fd), drainFd(fd), drainFd(fd));
  `;
  const args = ['--import', './tools/ts.mjs', '--input-type=module', '-e', program];
  const env = { ...process.env, VPMD_NO_AIO: '1' };
  t.is(spawnSync(process.execPath, args, { env, encoding: 'utf8' }).stdout, 'undefined true true false\n');
});

test('a thread that has signalled takes its context with it', async (t) => {
  signalPeer(eventFd(t));
  const before = aioContexts();
  const fds = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 3; i++) {
    const fd = eventFd(t);
    const url = new URL('./support/peer-event-worker.js', import.meta.url);
    const worker = new Worker(url, { workerData: { fd, does: 'signal' } });
    t.is(await new Promise((resolve) => worker.once('exit', resolve)), 0);
    t.is(counterOf(fd), 1n);
  }
  t.is(aioContexts(), before);
  t.is(readdirSync('/proc/self/fd').length, fds + 3);
});
