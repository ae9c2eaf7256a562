/**
 * Signalling an eventfd through Linux AIO. The completion of a request adds 1 to an eventfd (IOCB_FLAG_RESFD). The kernel
 * ignores the flags of the file and never waits: a full counter stays full. write(2) waits when a peer has cleared
 * O_NONBLOCK and filled the counter, and pwritev2 with RWF_NOWAIT is refused for eventfds.
 *
 * The request is a read of no bytes, which is complete before io_submit returns. Since Linux 5.8 it reads the eventfd itself,
 * which completes with EINVAL (fewer than 8 bytes) and needs no other file; before that /dev/null.
 */
import { addressOf, c, lastErrnoNumber, systemCalls } from './libc.js';

/** Requests that the context is made for; the kernel rounds up to a page of completions, 120 or so. */
const CONTEXT_REQUESTS = 32;
const EVENTS = 256;
const EVENT_SIZE = 32;

const IOCB_CMD_PREAD = 0;
const IOCB_FLAG_RESFD = 1;
const EAGAIN = 11;
const O_CLOEXEC = 0o2000000;
const EFD_CLOEXEC_NONBLOCK = 0o2004000;

// struct iocb, in words: data 0, key 2, rw_flags 3, opcode 4 (low half), fildes 5, buf 6, nbytes 8, offset 10, flags 14, resfd 15
const FILDES = 5;
const FLAGS = 14;
const RESFD = 15;
const IOCB_WORDS = 16;

/** Adds 1 to an eventfd. Never waits. @returns false when the descriptor is not an eventfd */
export type AioSignal = (fd: number) => boolean;

/**
 * Opens an AIO context for this thread; undefined where the kernel or a sandbox does not allow it, fs.aio-max-nr is reached, or
 * VPMD_NO_AIO is 1.
 */
export function openAioSignal(): AioSignal | undefined {
  const { ioSetup, ioDestroy } = systemCalls;
  if (ioSetup < 0 || process.env['VPMD_NO_AIO'] === '1') return undefined;
  const context = new BigUint64Array(1);
  if (c.syscall(ioSetup, CONTEXT_REQUESTS, addressOf(context), 0, 0, 0) < 0) return undefined;
  // numbers are what koffi converts fastest
  const ctx = Number(context[0]!);
  let file = -1;
  const destroy = () => {
    c.syscall(ioDestroy, ctx, 0, 0, 0, 0);
    if (file >= 0) c.close(file);
    file = -1;
  };
  if (works(signalWith(ctx, file))) {
    process.once('exit', destroy); // exit of a thread: the context belongs to the process and would outlive the thread
    return signalWith(ctx, file);
  }
  file = c.open('/dev/null', O_CLOEXEC);
  if (file >= 0 && works(signalWith(ctx, file))) {
    process.once('exit', destroy);
    return signalWith(ctx, file);
  }
  destroy();
  return undefined;
}

/** @param file what is read, or -1 for the eventfd itself. */
function signalWith(ctx: number, file: number): AioSignal {
  const { ioSubmit, ioGetevents } = systemCalls;
  const iocb = new Int32Array(IOCB_WORDS);
  iocb[4] = IOCB_CMD_PREAD;
  iocb[FLAGS] = IOCB_FLAG_RESFD;
  const list = new BigUint64Array([addressOf(iocb)]);
  const listAt = Number(addressOf(list));
  const events = new Uint8Array(EVENTS * EVENT_SIZE);
  const eventsAt = Number(addressOf(events));
  const keep = [iocb, list, events];
  return (fd) => {
    iocb[FILDES] = file < 0 ? fd : file;
    iocb[RESFD] = fd;
    if (c.syscall(ioSubmit, ctx, 1, listAt, 0, 0) === 1) return true;
    // the context is full of completions, which nothing reads: once in 120 signals
    if (lastErrnoNumber() !== EAGAIN || keep.length === 0) return false;
    c.syscall(ioGetevents, ctx, 0, EVENTS, eventsAt, 0);
    return c.syscall(ioSubmit, ctx, 1, listAt, 0, 0) === 1;
  };
}

function works(signal: AioSignal): boolean {
  const fd = c.eventfd(0, EFD_CLOEXEC_NONBLOCK);
  if (fd < 0) return false;
  const counter = new BigUint64Array(1);
  const done = signal(fd) && c.read(fd, counter, 8) === 8 && counter[0] === 1n;
  c.close(fd);
  return done;
}
