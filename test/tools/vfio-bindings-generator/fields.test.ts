/** fields.ts, by which generated bindings read and write: every kind at random places, against plain arithmetic. */
import test from 'ava';
import fc from 'fast-check';
import * as fields from '../../../driver/wire/linux/fields.js';

type AnyField = fields.Field<number | bigint>;

const kinds: readonly (readonly [name: string, of: (offset: number) => AnyField, bits: number])[] = [
  ...([
    ['u8', fields.u8, 8],
    ['s8', fields.s8, 8],
    ['u16', fields.u16, 16],
    ['s16', fields.s16, 16],
  ] as const),
  ...([
    ['u32', fields.u32, 32],
    ['s32', fields.s32, 32],
    ['u64', fields.u64, 64],
    ['s64', fields.s64, 64],
  ] as const),
  ...([
    ['be16', fields.be16, 16],
    ['be32', fields.be32, 32],
    ['be64', fields.be64, 64],
  ] as const),
];

/** Bytes of a value, least first unless `big`. */
function bytesOf(value: bigint, bits: number, big: boolean): number[] {
  const bytes = Array.from({ length: bits / 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
  return big ? bytes.reverse() : bytes;
}

for (const [name, of, bits] of kinds) {
  const signed = name.startsWith('s');
  const least = signed ? -(1n << BigInt(bits - 1)) : 0n;
  const value = fc.bigInt({ min: least, max: least + (1n << BigInt(bits)) - 1n });

  test(`${name}: the bytes of the value, at base and offset, in a view that begins anywhere; no other byte changes`, (t) => {
    fc.assert(
      fc.property(value, fc.nat(9), fc.nat(9), fc.nat(9), (wanted, offset, base, start) => {
        const memory = new Uint8Array(40).fill(0xa5);
        const view = new DataView(memory.buffer, start);
        const field = of(offset);
        const typed = bits === 64 ? wanted : Number(wanted);
        field.set(view, typed, base);
        const expected = new Uint8Array(40).fill(0xa5);
        expected.set(bytesOf(wanted, bits, name.startsWith('be')), start + base + offset);
        t.deepEqual(memory, expected);
        t.is(field.get(view, base), typed);
        t.is(field.width, bits / 8);
      }),
    );
  });

  test(`${name}: bits for which there is no room are dropped; outside the view is a RangeError`, (t) => {
    const field = of(2);
    const view = new DataView(new ArrayBuffer(2 + bits / 8));
    const tooMuch = (1n << BigInt(bits)) + 3n;
    if (bits === 64) field.set(view, tooMuch);
    else field.set(view, Number(tooMuch));
    t.is(BigInt(field.get(view)), 3n);
    t.throws(() => field.get(view, 1), { instanceOf: RangeError });
    t.throws(() => field.set(view, field.get(view), 1), { instanceOf: RangeError });
  });
}

test('numbers: element i is i widths behind the first, also with a base', (t) => {
  const list = fields.numbers(fields.be16, 3, 4);
  const view = new DataView(new ArrayBuffer(32));
  list.set(view, 2, 0x1234, 8);
  t.is(view.getUint16(8 + 3 + 4), 0x1234);
  t.is(list.get(view, 2, 8), 0x1234);
  t.deepEqual([list.offset, list.stride, list.length, list.at(2, 8)], [3, 2, 4, 15]);
  t.is(fields.numbers(fields.u64, 0).length, undefined);
});

test('bytes: they are the memory itself; too few, too many or outside the view is a RangeError', (t) => {
  const memory = new Uint8Array(16);
  const view = new DataView(memory.buffer, 4, 10);
  const field = fields.bytes(1, 6);
  field.set(view, Uint8Array.of(1, 2, 3, 4, 5, 6), 3);
  t.deepEqual([...memory], [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0]);
  field.get(view, 3)[0] = 9;
  t.is(memory[8], 9);
  // one more would still be inside of the buffer
  t.throws(() => field.get(view, 4), { instanceOf: RangeError });
  t.throws(() => field.get(view, -2), { instanceOf: RangeError });
  t.throws(() => field.set(view, new Uint8Array(6), 4), { instanceOf: RangeError });
  t.throws(() => field.set(view, new Uint8Array(5)), { instanceOf: RangeError });
  t.throws(() => field.set(view, new Uint8Array(7)), { instanceOf: RangeError });
});

test('elements: where each begins', (t) => {
  const list = fields.elements(16, 24);
  t.deepEqual([list.at(0), list.at(2), list.at(2, 100)], [16, 64, 164]);
});
