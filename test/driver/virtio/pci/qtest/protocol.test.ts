/** The qtest protocol against answers that were written before they were asked for, and the mutex around it. */
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { QtestSocket } from '../../../../../driver/virtio/pci/qtest/protocol.js';
import { BridgeTable, MAX_DOORBELLS, sharedBytes, SharedMutex } from '../../../../../driver/virtio/pci/qtest/shared.js';
import { closeFd } from '../../../../../native/region.js';
import { receiveWithFds, sendWithFds, socketPair } from '../../../../../native/socket.js';

/** A socket whose other end has already answered. */
function answered(t: ExecutionContext, text: string, hangUp = false) {
  const [fd, far] = socketPair();
  const open = new Set([fd, far]);
  t.teardown(() => open.forEach(closeFd));
  sendWithFds(far, new TextEncoder().encode(text));
  if (hangUp) {
    closeFd(far);
    open.delete(far);
  }
  const socket = new QtestSocket({ fd, shared: new SharedArrayBuffer(sharedBytes), timeoutMs: 50 });
  const asked = () => {
    const bytes = new Uint8Array(4096);
    const { length } = receiveWithFds(far, bytes);
    return new TextDecoder().decode(bytes.subarray(0, Math.max(length, 0)));
  };
  const answer = (line: string) => sendWithFds(far, new TextEncoder().encode(`${line}\n`));
  return { socket, asked, answer };
}

test('every width, both address spaces: the lines that QEMU knows, and its answers', (t) => {
  const { socket, asked, answer } = answered(t, '');
  const next = (line: string) => (answer(line), socket);
  t.is(next('OK 0x0000000000000012').read('memory', 0xe0000000, 1), 0x12);
  t.is(next('OK 0x000000000000ffff').read('memory', 0x10, 2), 0xffff);
  t.is(next('OK 0x00000000fffffffe').read('memory', 0x10, 4), 0xfffffffe);
  t.is(next('OK 0x0012').read('io', 0xcfc, 2), 0x12);
  next('OK').write('memory', 0xfffffffc, 4, 0xffffffff);
  next('OK').write('io', 0xcf8, 4, 0x80002000);
  next('OK').write('memory', 0x20, 2, 3);
  t.is(
    asked(),
    'readb 0xe0000000\nreadw 0x10\nreadl 0x10\ninw 0xcfc\nwritel 0xfffffffc 0xffffffff\noutl 0xcf8 0x80002000\nwritew 0x20 0x3\n',
  );
  t.false(socket.gone);
});

test('lines about interrupts come in between and are passed over', (t) => {
  const { socket } = answered(t, 'IRQ raise 4\nIRQ lower 4\nOK 0x07\n');
  t.is(socket.read('memory', 0, 1), 7);
});

test('one that hangs up is gone for ever: all ones, and writes go nowhere', (t) => {
  const { socket } = answered(t, 'OK 0x', true);
  t.is(socket.read('memory', 0, 4), 0xffffffff);
  t.true(socket.gone);
  t.regex(socket.whyGone, /closed its socket/);
  t.is(socket.read('io', 0, 1), 0xff);
  t.is(socket.read('memory', 0, 2), 0xffff);
  socket.write('memory', 0, 4, 1);
});

test('one that does not answer in time is gone, as a late answer would be taken for the next', (t) => {
  const { socket } = answered(t, 'OK 0x0');
  t.is(socket.read('memory', 0, 4), 0xffffffff);
  t.true(socket.gone);
  t.regex(socket.whyGone, /does not answer \(50 ms waited\)/);
});

for (const [what, text] of [
  ['a refusal', "FAIL Unknown command 'readb'\n"],
  ['another protocol', '{"QMP": {"version": {}}}\n'],
  ['a line without end', 'x'.repeat(5000)],
  ['a value that is none', 'OK banana\n'],
] as const) {
  test(`${what} is an error, and the connection is not used again`, (t) => {
    const { socket } = answered(t, text);
    t.throws(() => socket.read('memory', 0, 1), { code: 'EPEER', message: /give the socket of QEMU's -qtest option/ });
    t.true(socket.gone);
  });
}

test('the mutex keeps two threads apart, and is free after an exception', async (t) => {
  const shared = new SharedArrayBuffer(sharedBytes + 8);
  const words = new Int32Array(shared);
  const mutex = new SharedMutex(words, 0);
  t.throws(() => mutex.run(() => void JSON.parse('{')));
  const worker = new Worker(new URL('./support/mutex-thread.js', import.meta.url), { workerData: shared });
  const ended = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
  const counter = words.length - 1;
  const ready = words.length - 2;
  while (Atomics.load(words, ready) === 0) Atomics.wait(words, ready, 0, 10);
  // a plain increment, which loses counts when two threads are in it
  for (let i = 0; i < 20_000; i++) mutex.run(() => words[counter]!++);
  await ended;
  t.is(words[counter], 40_000);
});

test('the table of doorbells is full at its size; clearing a function leaves the others', (t) => {
  const table = new BridgeTable(new Int32Array(sharedBytes / 4));
  for (let fd = 0; fd < MAX_DOORBELLS; fd++) {
    t.true(table.addDoorbell(7, { fd, space: 'io', address: 0xc010, value: fd }));
  }
  t.false(table.addDoorbell(7, { fd: 1, space: 'io', address: 0, value: 0 }));
  const high = { fd: 5, space: 'memory', address: 0xe0003000, value: 2 } as const;
  table.addDoorbell(6, high);
  table.setVectors(6, [-1, 9]);
  t.is(table.clear(7).length, MAX_DOORBELLS);
  t.is(table.doorbellCount(7), 0);
  t.deepEqual(table.doorbell(6, 0), high);
  t.deepEqual([table.vectorCount(6), table.vectorFd(6, 0), table.vectorFd(6, 1)], [2, -1, 9]);
});
