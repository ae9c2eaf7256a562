/**
 * The system calls we use, bound once per thread through koffi. Only files in native/ may import this one.
 *
 * koffi takes about 40 ns a call with integers or one hoisted BigInt pointer, so never call it per packet. `ssize_t` is not
 * a koffi type: int64_t is the same here. No callbacks and no asynchronous calls: both have open crash reports with worker
 * threads.
 */
import { getSystemErrorName } from 'node:util';
import { SystemError } from './errors.js';
import { getKoffi, hasKoffi, loadLibc } from './koffi.js';

const lib = loadLibc();

/** What koffi takes for a parameter. Wrong arguments crash the process, so the compiler derives types from the prototypes. */
type Argument<Parameter extends string> = Parameter extends `const char *${string}`
  ? string
  : Parameter extends `${string}*${string}`
    ? ArrayBufferView | null
    : number | bigint;
type ArgumentsOf<List extends string> = List extends ''
  ? []
  : List extends `${infer First}, ${infer Rest}`
    ? [Argument<First>, ...ArgumentsOf<Rest>]
    : [Argument<List>];
type Bound<Prototype extends string> = Prototype extends `${infer Result}(${infer List})`
  ? (...args: ArgumentsOf<List>) => Result extends `uintptr_t ${string}` ? bigint | number : number
  : never;

const bind = <Prototype extends string>(prototype: Prototype) => lib.func(prototype) as unknown as Bound<Prototype>;

export const c = {
  open: bind('int open(const char *path, int flags)'),
  close: bind('int close(int fd)'),
  read: bind('int64_t read(int fd, void *buf, size_t count)'),
  write: bind('int64_t write(int fd, const void *buf, size_t count)'),
  preadv2: bind('int64_t preadv2(int fd, const void *iov, int count, int64_t offset, int flags)'),
  pread: bind('int64_t pread(int fd, void *buf, size_t count, int64_t offset)'),
  pwrite: bind('int64_t pwrite(int fd, const void *buf, size_t count, int64_t offset)'),
  // the third argument is a number with some requests and a structure with others
  ioctl: bind('int ioctl(int fd, unsigned long request, uintptr_t argument)'),
  ioctlWith: bind('int ioctl(int fd, unsigned long request, void *argument)'),
  memfdCreate: bind('int memfd_create(const char *name, unsigned int flags)'),
  ftruncate: bind('int ftruncate(int fd, int64_t length)'),
  fallocate: bind('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
  dup3: bind('int dup3(int from, int to, int flags)'),
  fcntl: bind('int fcntl(int fd, int cmd, int64_t arg)'),
  mmap: bind('uintptr_t mmap(uintptr_t addr, size_t length, int prot, int flags, int fd, int64_t offset)'),
  munmap: bind('int munmap(uintptr_t addr, size_t length)'),
  memcpy: bind('void memcpy(uintptr_t dest, uintptr_t src, size_t n)'),
  eventfd: bind('int eventfd(unsigned int initval, int flags)'),
  socket: bind('int socket(int domain, int type, int protocol)'),
  bind: bind('int bind(int fd, const void *addr, uint32_t len)'),
  listen: bind('int listen(int fd, int backlog)'),
  accept4: bind('int accept4(int fd, uintptr_t addr, uintptr_t len, int flags)'),
  connect: bind('int connect(int fd, const void *addr, uint32_t len)'),
  socketpair: bind('int socketpair(int domain, int type, int protocol, void *fds)'),
  shutdown: bind('int shutdown(int fd, int how)'),
  recv: bind('int64_t recv(int fd, void *buf, size_t len, int flags)'),
  sendmsg: bind('int64_t sendmsg(int fd, const void *msg, int flags)'),
  recvmsg: bind('int64_t recvmsg(int fd, void *msg, int flags)'),
  setsockopt: bind('int setsockopt(int fd, int level, int option, const void *value, uint32_t len)'),
  getsockopt: bind('int getsockopt(int fd, int level, int option, void *value, void *len)'),
  send: bind('int64_t send(int fd, uintptr_t buf, size_t len, int flags)'),
  readv: bind('int64_t readv(int fd, uintptr_t iov, int count)'),
  writev: bind('int64_t writev(int fd, uintptr_t iov, int count)'),
  poll: bind('int poll(void *fds, unsigned long nfds, int timeout)'),
  gettid: bind('int gettid()'),
  sigaction: bind('int sigaction(int signal, const void *action, void *old)'),
  pthreadSigmask: bind('int pthread_sigmask(int how, const void *set, void *old)'),
  // for calls without a function in every glibc; every argument is a number or an address
  syscall: bind('long syscall(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e)'),
  // two such calls with structures, which live at least as long as the call
  timerCreate: bind('long syscall(long number, int clock, const void *event, void *id)'),
  timerSettime: bind('long syscall(long number, int timer, int flags, const void *value, void *old)'),
  schedSetaffinity: bind('int sched_setaffinity(int pid, size_t size, const void *mask)'),
  schedGetaffinity: bind('int sched_getaffinity(int pid, size_t size, void *mask)'),
};

/** System calls made by number; -1 on an unknown architecture. */
const numbers: Readonly<Record<string, readonly number[]>> = {
  x64: [206, 207, 208, 209, 222, 223, 226],
  arm64: [0, 1, 4, 2, 107, 110, 111],
};
const [ioSetup, ioDestroy, ioGetevents, ioSubmit, timerCreate, timerSettime, timerDelete] = (numbers[process.arch] ??
  Array.from({ length: 7 }, () => -1)) as [number, number, number, number, number, number, number];
export const systemCalls = { ioSetup, ioDestroy, ioGetevents, ioSubmit, timerCreate, timerSettime, timerDelete };

/** Address of a function of libc. */
export function functionAddress(name: string): bigint {
  return BigInt(getKoffi().load('libc.so.6').symbol(name) as bigint);
}

/** Symbolic errno of the last failed call of this thread ("ENOENT"). */
export function lastErrno(): string {
  const number = getKoffi().errno();
  return number > 0 ? getSystemErrorName(-number) : `errno ${number}`;
}

/** The same as a number, without garbage. */
export function lastErrnoNumber(): number {
  return getKoffi().errno();
}

/** Passes on the result of a call that reports failure as -1. @throws SystemError */
export function check(result: number, syscall: string, detail?: string): number {
  if (result >= 0) return result;
  throw new SystemError(syscall, lastErrno(), detail);
}

/** An ArrayBuffer over native memory. Touching it after the memory is unmapped crashes the process: see region.ts. */
export function viewOf(address: bigint, byteLength: number): ArrayBuffer {
  return getKoffi().view(address, byteLength) as ArrayBuffer;
}

/**
 * Address of a typed array's first byte, for structures that hold pointers. The caller must keep the array. V8 keeps a
 * small array in its heap, and moves it, until its buffer is asked for. 0 without koffi: modules ask for addresses while
 * they are loaded, and no call can use them then.
 */
export function addressOf(array: ArrayBufferView): bigint {
  if (!hasKoffi) return 0n;
  void array.buffer;
  return BigInt(getKoffi().address(array) as bigint | number);
}
