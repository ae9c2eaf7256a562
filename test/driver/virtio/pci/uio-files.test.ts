/** The system calls that the bus drivers make, on files that every machine has. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  hollowOut,
  hollowOutMapping,
  ioctl,
  openDeviceFile,
  readAt,
  readNow,
  writeAt,
  writeNow,
} from '../../../../native/device-file.js';
import { destroyRegion, createRegion, mapFd, unmap, viewsOf } from '../../../../native/region.js';
import { temporaryDirectory } from '../../../support/peers.js';

/** Bytes that can be read now, into an int. */
const FIONREAD = 0x541b;
const WORD = Uint8Array.of(1, 2, 3, 4);

function fifo(t: ExecutionContext): number {
  const path = join(temporaryDirectory(t), 'fifo');
  t.is(spawnSync('mkfifo', [path]).status, 0);
  const fd = openDeviceFile(path);
  t.teardown(() => closeSync(fd));
  return fd;
}

test('reads and writes at a position, beyond 2^31 too', (t) => {
  const path = join(temporaryDirectory(t), 'file');
  writeFileSync(path, '');
  const fd = openDeviceFile(path);
  t.teardown(() => closeSync(fd));
  const far = 2 ** 40 + 8;
  t.is(writeAt(fd, WORD, 8), 4);
  t.is(writeAt(fd, WORD, far), 4);
  const bytes = new Uint8Array(2);
  t.is(readAt(fd, bytes, far + 1), 2);
  t.deepEqual([...bytes], [2, 3]);
  t.is(readAt(fd, bytes, far + 3), 1);
  t.is(readAt(fd, bytes, far + 4), 0);
});

test('part of an array is read into, the rest stays', (t) => {
  const path = join(temporaryDirectory(t), 'file');
  writeFileSync(path, WORD);
  const fd = openDeviceFile(path);
  t.teardown(() => closeSync(fd));
  const bytes = new Uint8Array(8);
  readAt(fd, bytes.subarray(2, 4), 0);
  t.deepEqual([...bytes], [0, 0, 1, 2, 0, 0, 0, 0]);
  writeAt(fd, Uint8Array.of(9, 8, 7, 6).subarray(1, 3), 0);
  t.deepEqual([...readFileSync(path)], [8, 7, 3, 4]);
});

test('a read that would wait returns at once', (t) => {
  const fd = fifo(t);
  const bytes = new Uint8Array(4);
  t.is(readNow(fd, bytes), 0);
  writeNow(fd, WORD);
  t.is(readNow(fd, bytes), 4);
  t.deepEqual(bytes, WORD);
  t.is(readNow(fd, bytes), 0);
});

test('a request fills the structure it is given', (t) => {
  const fd = fifo(t);
  writeNow(fd, WORD);
  const answer = new Uint8Array(4);
  t.is(ioctl(fd, FIONREAD, answer, 'FIONREAD'), 0);
  t.deepEqual([...answer], [4, 0, 0, 0]);
});

test('a request that a file does not know, with a number and with a structure; a file that is not open', (t) => {
  const fd = openSync('/dev/null', 'r');
  t.teardown(() => closeSync(fd));
  for (const argument of [0, new Uint8Array(4)]) {
    t.throws(() => ioctl(fd, FIONREAD, argument, 'FIONREAD'), { code: 'ESYSTEM', message: /^ioctl FIONREAD: ENOTTY/ });
  }
  t.throws(() => readAt(-1, new Uint8Array(1), 0), { code: 'ESYSTEM', message: /^pread: EBADF/ });
  t.throws(() => openDeviceFile('/nowhere/vfio'), {
    message: /no such file or directory \[ENOENT\] \(\/nowhere\/vfio\)/,
  });
});

test('a file that is given up: its descriptor reads nothing, and what is written to it is gone', (t) => {
  const path = join(temporaryDirectory(t), 'file');
  writeFileSync(path, WORD);
  const fd = openDeviceFile(path);
  t.teardown(() => closeSync(fd));
  hollowOut(fd);
  t.is(readAt(fd, new Uint8Array(4), 0), 0);
  t.is(writeAt(fd, Uint8Array.of(9), 0), 1);
  t.deepEqual([...readFileSync(path)], [1, 2, 3, 4]);
  t.throws(() => hollowOut(-1), { code: 'ESYSTEM', message: /^dup3: EBADF/ });
});

test('a mapping that is given up: stores through it reach nobody', (t) => {
  const region = createRegion('device', 8192, false);
  t.teardown(() => destroyRegion(region));
  const mapping = { byteLength: 4096, address: mapFd(region.fd, 4096, 4096) };
  const [inside, outside] = [viewsOf(mapping), viewsOf(region)];
  inside.u16[0] = 1;
  t.is(outside.u16[2048], 1);
  hollowOutMapping(mapping);
  t.is(inside.u16[0], 0);
  inside.u16[0] = 2;
  t.is(outside.u16[2048], 1);
  unmap(mapping);
});
