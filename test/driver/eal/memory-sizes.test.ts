/** Packet memory of any size that can be asked for: made, made as large as one file can be, or refused; no number wraps. */
import fc from 'fast-check';
import test from 'ava';
import { isVirtioPmdError } from '../../../native/errors.js';
import { createRegion, MAX_REGION_SIZE, type Region } from '../../../native/region.js';
import { formatMiB, formatSize } from '../../../native/sizes.js';
import { chooseBase } from '../../../driver/eal/addressing.js';
import { createEal } from '../../../driver/eal/eal.js';
import { Memory } from '../../../driver/eal/memory.js';
import { mbufsNeeded } from '../../../tools/testpmd/mbufs.js';

const MIB = 2 ** 20;
const MOST_MIB = MAX_REGION_SIZE / MIB;

/** Sizes from 0 to 2^40, with those around the powers of two, where 32-bit arithmetic wraps. */
const sizes = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 40 }),
  fc
    .tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: -2, max: 2 }))
    .map(([power, d]) => Math.max(0, 2 ** power + d)),
);

/** Every number in `text`, with its sign. */
const numbers = (text: string) => [...text.matchAll(/-?\d+(?:\.\d+)?/g)].map(([n]) => Number(n));

test('sizes in sentences: right to a tenth, never wrapped, numbers and bigints alike', (t) => {
  fc.assert(
    fc.property(sizes, (bytes) => {
      const [mib] = numbers(formatMiB(bytes));
      t.true(Math.abs(mib! * MIB - bytes) <= 0.051 * MIB, formatMiB(bytes));
      const [n, unit] = formatSize(bytes).split(' ');
      const scale = { bytes: 1, KiB: 1024, MiB: MIB }[unit!]!;
      t.true(Math.abs(Number(n) * scale - bytes) <= 0.051 * scale, formatSize(bytes));
      t.is(formatMiB(BigInt(bytes)), formatMiB(bytes));
      t.is(formatSize(BigInt(bytes)), formatSize(bytes));
    }),
  );
  t.deepEqual(
    [0, 1023, 1024, 1536, MIB, MIB + 1, MAX_REGION_SIZE, 2 ** 31, 2 ** 32, 2 ** 40].map(formatSize),
    ['0 bytes', '1023 bytes', '1 KiB', '1.5 KiB', '1 MiB', '1.0 MiB', '2046 MiB', '2048 MiB', '4096 MiB', '1048576 MiB'],
  ); // prettier-ignore
});

/** A Memory whose regions are not there at all, and what was asked of it. */
function memoryOf(memoryMiB: number | undefined) {
  const lines: string[] = [];
  const asked: number[] = [];
  const memory = new Memory({ memoryMiB, noHuge: true }, (line) => lines.push(line), {
    hugepages: () => ({ total: 0, free: 0 }),
    physicalPages: () => [],
    createRegion: (_name, byteLength): Region => {
      asked.push(byteLength);
      return { fd: -1, address: 4096n, byteLength, hugepages: false };
    },
  });
  return { memory, lines, asked };
}

test('-m: up to one file as asked for, more as much as one file holds, with one line that says so', (t) => {
  fc.assert(
    fc.property(
      sizes.filter((mib) => mib > 0),
      (mib) => {
        const { memory, lines, asked } = memoryOf(mib);
        memory.reserve('ring', 4096);
        t.deepEqual(asked, [Math.min(mib, MOST_MIB) * MIB]);
        t.deepEqual(
          lines,
          mib > MOST_MIB
            ? [
                `EAL: ${mib} MiB of packet memory were asked for: 2046 MiB are used, the most that one memory file holds`,
              ]
            : [],
        );
      },
    ),
  );
});

test('reservations of any size, with and without -m: there is room, or a sentence whose numbers are all true', (t) => {
  fc.assert(
    fc.property(sizes, fc.option(fc.integer({ min: 1, max: 8192 }), { nil: undefined }), (bytes, memoryMiB) => {
      const { memory, asked } = memoryOf(memoryMiB);
      const most = Math.min(memoryMiB ?? Infinity, MOST_MIB) * MIB;
      try {
        memory.reserve('mempool', bytes, 64, 0);
        t.true(bytes <= most);
      } catch (error) {
        if (!isVirtioPmdError(error, 'EMEMORY')) throw error;
        t.true(bytes > most, error.message);
        t.true(error.message.includes(`no room for mempool: ${formatMiB(bytes)} asked for`), error.message);
        // what is advised can be had
        const advice = /use -m (\d+)$/.exec(error.message)?.[1];
        if (advice === undefined) t.regex(error.message, /ask for fewer or smaller mbufs/);
        else t.true(Number(advice) * MIB >= bytes && Number(advice) <= MOST_MIB, error.message);
        t.false(numbers(error.message).some((n) => n < 0));
      }
      for (const size of asked) t.true(size > 0 && size <= MAX_REGION_SIZE);
    }),
  );
});

test('a region of any size beyond the largest is refused with its size', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: MAX_REGION_SIZE + 1, max: 2 ** 40 }), (bytes) => {
      const error = t.throws(() => createRegion('too-large', bytes, false), { code: 'EMEMORY' });
      t.true(numbers(error.message).every((n) => n >= 2046));
    }),
  );
  t.throws(() => chooseBase(2 ** 31, [[[0n, 4096n]]]), { message: /no room for 2048 MiB of packet memory/ });
});

test('mempools beyond one file: the sentence names the mempool and what to do', (t) => {
  for (const memoryMiB of [undefined, 4096]) {
    const lines: string[] = [];
    using eal = createEal({
      noHuge: true,
      pinMain: false,
      log: (line) => lines.push(line),
      ...(memoryMiB === undefined ? {} : { memoryMiB }),
    });
    for (const count of [990_000, 2_000_000, 0x7fffffff]) {
      t.throws(() => eal.createMempool({ name: 'big', count }), {
        code: 'EMEMORY',
        message:
          /^no room for mempool big \(\d+ mbufs\): \d{4,}(\.\d)? MiB asked for, and packet memory is one file of at most 2046 MiB: ask for fewer or smaller mbufs$/,
      });
    }
    eal.createMempool({ name: 'big', count: 800_000 }); // 1.7 GiB: pages are taken when they are touched
    t.is(lines.length, memoryMiB === undefined ? 0 : 1);
  }
});

test('default mbufs: never more than packet memory holds, however many queues and however large the rings', (t) => {
  fc.assert(
    fc.property(
      fc.record({
        queueSizes: fc.array(fc.integer({ min: 1, max: 32768 }), { maxLength: 32 }),
        queues: fc.integer({ min: 1, max: 65535 }),
        burst: fc.integer({ min: 1, max: 512 }),
        lcores: fc.integer({ min: 1, max: 128 }),
        cacheSize: fc.integer({ min: 1, max: 512 }),
        headroom: fc.constant(128),
        dataRoom: fc.integer({ min: 64, max: 65407 }),
      }),
      (needs) => {
        const count = mbufsNeeded(needs);
        t.true(count > 1000);
        t.true(count * (needs.headroom + needs.dataRoom) < MAX_REGION_SIZE);
      },
    ),
  );
});
