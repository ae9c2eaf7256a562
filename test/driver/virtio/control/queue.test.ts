/** The control virtqueue against a slow reference device: split and packed, every place of the ring, and devices that lie. */
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { ControlQueue, MAX_CONTROL_DATA, type ControlQueueOptions } from '../../../../driver/virtio/control/queue.js';
import {
  announceCommand,
  rxModeCommand,
  setPairsCommand,
  type ControlCommand,
} from '../../../../driver/virtio/control/commands.js';
import { createEal, type Eal } from '../../../../driver/eal/eal.js';
import type { ControlThreadData } from './support/control-thread.js';
import { advanceUsed, referenceControl, type ControlTerms, type TakenCommand } from './support/reference-control.js';

type Shape = Partial<Pick<ControlQueueOptions, 'packed' | 'size' | 'eventIdx' | 'timeoutMs'>>;

function makeEal(t: ExecutionContext): Eal {
  const eal = createEal({ noHuge: true, memoryMiB: 8, log: () => undefined });
  t.teardown(() => eal.close());
  return eal;
}

function termsOf(eal: Eal, queue: ControlQueue, packed: boolean, eventIdx = false): ControlTerms {
  const { address, byteLength } = eal.memory!;
  const mapping = { address, byteLength };
  return { mapping, addressBase: eal.deviceAddress(0), setup: queue.queueSetup(2), packed, eventIdx };
}

/** A queue, and the device at its other end; `answer` is called whenever the doorbell rings. */
function connect(eal: Eal, shape: Shape, answer: (taken: TakenCommand) => void = () => undefined) {
  const { packed = false, size = 64, eventIdx = false, timeoutMs = 30 } = shape;
  const positions: number[] = [];
  const queue = new ControlQueue({
    ...{ eal, name: 'port0_cvq', packed, size, eventIdx, timeoutMs },
    notify: (position) => {
      positions.push(position);
      const taken = ends.device.take();
      if (taken !== undefined) answer(taken);
    },
  });
  const terms = termsOf(eal, queue, packed, eventIdx);
  const ends = { queue, terms, positions, device: referenceControl(terms) };
  return ends;
}

/** Waits until a device's thread runs: this one will block. */
async function started(worker: Worker, state: Int32Array): Promise<void> {
  let failure: unknown;
  worker.once('error', (error) => (failure = error));
  while (Atomics.load(state, 0) !== 1) {
    if (failure !== undefined) throw failure as Error;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const formats = [
  ['split', false],
  ['packed', true],
] as const;

const commands = (size: number) =>
  fc.record({
    class: fc.nat(255),
    command: fc.nat(255),
    args: fc.array(fc.uint8Array({ minLength: 1, maxLength: 500 }), { maxLength: Math.min(4, size - 2) }),
  });

const shapes = fc.oneof(
  fc.record({ packed: fc.constant(false), size: fc.constantFrom(4, 8, 64), eventIdx: fc.boolean() }),
  fc.record({ packed: fc.constant(true), size: fc.integer({ min: 4, max: 70 }), eventIdx: fc.boolean() }),
);

test('any commands, any ring: the device sees each one as it was sent, and its answer comes back', (t) => {
  const eal = makeEal(t);
  const runs = shapes.chain((shape) =>
    fc.tuple(fc.constant(shape), fc.array(fc.tuple(commands(shape.size), fc.nat(255)), { maxLength: 100 })),
  );
  fc.assert(
    fc.property(runs, ([shape, list]) => {
      let now = 0;
      const seen: TakenCommand[] = [];
      const { queue, device, positions } = connect(eal, shape, (taken) => {
        seen.push(taken);
        device.use(taken, list[now]![1]);
      });
      for (; now < list.length; now++) {
        const [command, ack] = list[now]!;
        t.is(queue.send(command), ack);
        const { class: seenClass, command: seenCommand, args } = seen[now]!;
        t.deepEqual({ class: seenClass, command: seenCommand, args: [...args] }, command);
        t.is(positions[now], device.position);
      }
      queue.close();
    }),
    { numRuns: 60 },
  );
});

for (const [format, packed] of formats) {
  test(`${format}: more commands than an index of 16 bits counts`, (t) => {
    const { queue, device } = connect(makeEal(t), { packed, size: 4 }, (taken) => device.use(taken, taken.command));
    let wrong = 0;
    for (let i = 0; i < 0x10000 + 10; i++) {
      if (queue.send({ class: 0, command: i & 0xff, args: [] }) !== (i & 0xff)) wrong++;
    }
    t.is(wrong, 0);
  });

  test(`${format}: a device that uses a command without an answer has refused it`, (t) => {
    const { queue, device } = connect(makeEal(t), { packed }, (taken) => device.use(taken, undefined, taken.id, 0));
    t.is(queue.send(announceCommand()), 0xff);
  });

  test(`${format}: the length that the device says it has written means nothing`, (t) => {
    const lengths = [0, 1, 0xffffffff];
    const { queue, device } = connect(makeEal(t), { packed }, (taken) =>
      device.use(taken, 0, taken.id, lengths[taken.command]),
    );
    for (let command = 0; command < lengths.length; command++) t.is(queue.send({ class: 4, command, args: [] }), 0);
  });

  test(`${format}: an answer that never comes is a time-out, and nothing is sent until the device was reset`, (t) => {
    const eal = makeEal(t);
    let answers = 0;
    const { queue, positions } = connect(eal, { packed, timeoutMs: 5 }, () => void answers++);
    t.throws(() => queue.send(setPairsCommand(2)), {
      code: 'ETIMEOUT',
      message: 'the device did not answer control command 4/0 in 5 ms: reset the port',
    });
    t.throws(() => queue.send(setPairsCommand(2)), { code: 'EPEER', message: /out of use until the device is reset/ });
    t.deepEqual([answers, positions.length], [1, 1]);
    queue.close();
  });

  test(`${format}: a late answer does no harm; after a reset of both sides all is well`, (t) => {
    let late: TakenCommand | undefined;
    const ends = connect(makeEal(t), { packed, size: 8, timeoutMs: 5 }, (taken) => {
      if (taken.command === 0) ends.device.use(taken, 0);
      else late = taken;
    });
    const { queue, terms } = ends;
    t.is(queue.send(rxModeCommand(0, true)), 0);
    t.throws(() => queue.send(rxModeCommand(1, true)), { code: 'ETIMEOUT' });
    ends.device.use(late!, 0);
    t.throws(() => queue.send(rxModeCommand(0, true)), { code: 'EPEER' });
    queue.reset();
    t.deepEqual(queue.queueSetup(2), terms.setup);
    ends.device = referenceControl(terms);
    t.is(queue.send(rxModeCommand(0, true)), 0);
  });

  test(`${format}: a device that uses another buffer than the one it was given is not believed`, (t) => {
    for (const wrong of [1, 63, 64, 0xffff]) {
      const { queue, device } = connect(makeEal(t), { packed, timeoutMs: 1000 }, (taken) =>
        device.use(taken, 0, taken.id + wrong),
      );
      t.throws(() => queue.send(setPairsCommand(1)), {
        code: 'EPEER',
        message: /broke the rules of its control queue/,
      });
      t.throws(() => queue.send(setPairsCommand(1)), { code: 'EPEER', message: /out of use/ });
    }
  });

  test(`${format}: a doorbell that cannot be rung puts the queue out of use`, (t) => {
    const eal = makeEal(t);
    const gone = new Error('the device is gone');
    const queue = new ControlQueue({
      ...{ eal, name: 'cvq', packed, size: 64 },
      notify: () => {
        throw gone;
      },
    });
    t.is(
      t.throws(() => queue.send(setPairsCommand(1))),
      gone,
    );
    t.throws(() => queue.send(setPairsCommand(1)), { code: 'EPEER', message: /the device is gone/ });
  });

  test(`${format}: a device on another thread that takes its time`, async (t) => {
    const eal = makeEal(t);
    const name = 'port0_cvq';
    const queue = new ControlQueue({ eal, name, packed, size: 4, timeoutMs: 20_000, notify: () => undefined });
    const terms = termsOf(eal, queue, packed);
    const state = new Int32Array(new SharedArrayBuffer(4));
    const workerData: ControlThreadData = { terms, delayMs: 3, state };
    const worker = new Worker(new URL('./support/control-thread.ts', import.meta.url), { workerData });
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    try {
      await started(worker, state);
      for (let i = 0; i < 20; i++) t.is(queue.send({ class: 1, command: i, args: [Uint8Array.of(i)] }), 7);
    } finally {
      Atomics.store(state, 0, 2);
      Atomics.notify(state, 0);
      await ended;
    }
  });

  test(`${format}: arguments that do not fit are refused before the device hears of them`, (t) => {
    const { queue, device, positions } = connect(makeEal(t), { packed, size: 4 }, (taken) => device.use(taken, 0));
    const send = (...lengths: number[]) =>
      queue.send({ class: 1, command: 0, args: lengths.map((length) => new Uint8Array(length)) });
    t.throws(() => send(1, 1, 1), { code: 'ECONFIG', message: /at most 2 of 2048 bytes together/ });
    t.throws(() => send(MAX_CONTROL_DATA, 1), { code: 'ECONFIG' });
    t.throws(() => send(1, 0), { code: 'ECONFIG', message: /none of them empty/ });
    t.is(positions.length, 0);
    t.is(send(MAX_CONTROL_DATA - 1, 1), 0);
  });

  test(`${format}: the memory comes back, also when there is not enough of it`, (t) => {
    const eal = makeEal(t);
    eal.reserve('first', 64); // makes the memory
    const reserved = new Set<number>();
    let left = 1;
    const counted = {
      reserve: (reservation: string, byteLength: number, align?: number) => {
        if (left-- === 0) throw new Error('full');
        const made = eal.reserve(reservation, byteLength, align);
        reserved.add(made.offset);
        return made;
      },
      release: (reservation: { name: string; offset: number }) => {
        reserved.delete(reservation.offset);
        eal.release(reservation);
      },
      deviceAddress: (offset: number) => eal.deviceAddress(offset),
    };
    const options = { eal: counted, name: 'cvq', packed, size: 64, notify: () => undefined };
    t.throws(() => new ControlQueue(options), { message: 'full' });
    t.is(reserved.size, 0);
    left = 2;
    const queue = new ControlQueue(options);
    t.is(reserved.size, 2);
    queue.close();
    queue.close();
    t.is(reserved.size, 0);
    t.throws(() => queue.send(setPairsCommand(1)), { code: 'EPEER', message: /it was closed/ });
  });
}

test('split: a used index that jumps, or goes back, is not believed', (t) => {
  for (const jump of [2, 64, 65, 0xfffe, 0xffff]) {
    const { queue, device } = connect(makeEal(t), { timeoutMs: 1000 }, (taken) => {
      if (taken.command === 0) device.use(taken, 0);
      else advanceUsed(device, jump);
    });
    for (let i = 0; i < 3; i++) queue.send({ class: 0, command: 0, args: [] });
    t.throws(() => queue.send({ class: 0, command: 1, args: [] }), {
      code: 'EPEER',
      message: `the device broke the rules of its control queue: it moved the used index by ${jump}, with one command under way; reset it`,
    });
  }
});

test('sizes that no ring may have', (t) => {
  const eal = makeEal(t);
  const make = (packed: boolean, size: number) => () => connect(eal, { packed, size });
  for (const size of [0, 1, 3, 5, 63, 65536, -4, 4.5]) t.throws(make(false, size), { code: 'EPEER' });
  for (const size of [0, 3, 32769, 65535]) t.throws(make(true, size), { code: 'EPEER' });
  t.throws(make(false, 2), {
    message: "the device's control queue has 2 descriptors: expected a power of two from 4 to 32768",
  });
  t.notThrows(make(true, 5));
});

test('the set-up names the parts of the ring, and where the device is to start', (t) => {
  const eal = makeEal(t);
  const split = connect(eal, { size: 64 }, (taken) => split.device.use(taken, 0));
  const packed = connect(eal, { packed: true, size: 64 }, (taken) => packed.device.use(taken, 0));
  const { desc } = split.terms.setup;
  t.deepEqual(split.terms.setup, { index: 2, size: 64, desc, driver: desc + 1024, device: desc + 4096, base: 0 });
  t.is(desc % 4096, 0);
  t.is(packed.terms.setup.base, 0x80008000);
  const nothing: ControlCommand = announceCommand();
  t.deepEqual([split.queue.send(nothing), packed.queue.send(nothing)], [0, 0]);
  t.is(split.queue.queueSetup(2).base, 1);
  t.is(packed.queue.queueSetup(2).base, 0x80028002);
});
