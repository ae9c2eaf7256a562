/** Where BARs are put: a configuration space that behaves as PCI says, with sizes of all kinds. */
import test from 'ava';
import fc from 'fast-check';
import { assignBars, type ConfigSpace } from '../../../../../driver/virtio/pci/qtest/bars.js';

type FakeBar = { readonly kind: 'io' | 'memory' | 'wide'; readonly size: number } | undefined;

/** BARs whose low bits are fixed; a wide one takes the next one's place. Reading anything while decoding is on is noted. */
function fakeConfig(bars: readonly FakeBar[]) {
  const words = new Uint32Array(6);
  const low: number[] = [0, 0, 0, 0, 0, 0];
  const masks = [0, 0, 0, 0, 0, 0];
  let slot = 0;
  const slots: number[] = [];
  for (const bar of bars) {
    slots.push(slot);
    if (bar !== undefined) {
      masks[slot] = ~(bar.size - 1) >>> 0;
      low[slot] = { io: 1, memory: 0, wide: 0xc }[bar.kind];
      if (bar.kind === 'wide') masks[++slot] = 0xffffffff;
    }
    slot++;
  }
  let command = 0;
  let sizedWhileDecoding = false;
  const config: ConfigSpace = {
    readConfig: (offset) => {
      const i = (offset - 0x10) >> 2;
      return offset === 4 ? command : ((words[i]! & masks[i]!) | low[i]!) >>> 0;
    },
    writeConfig: (offset, _width, value) => {
      if (offset === 4) command = value;
      else {
        if (command !== 0) sizedWhileDecoding = true;
        words[(offset - 0x10) >> 2] = value;
      }
    },
  };
  return { config, slots, state: () => ({ command, sizedWhileDecoding, words }) };
}

const window = { memory: 0xe0000000, memoryBytes: 0x2000000, io: 0xc000, ioBytes: 0x400 };
const aBar = fc.oneof(
  fc.constant(undefined),
  fc.record({ kind: fc.constant('io' as const), size: fc.integer({ min: 2, max: 7 }).map((n) => 1 << n) }),
  fc.record({
    kind: fc.constantFrom('memory' as const, 'wide' as const),
    size: fc.integer({ min: 4, max: 21 }).map((n) => 1 << n),
  }),
);

test('every BAR is aligned to its size, inside the window and apart from the others', (t) => {
  fc.assert(
    fc.property(fc.array(aBar, { maxLength: 3 }), (bars) => {
      const { config, slots, state } = fakeConfig(bars);
      const regions = assignBars(config, window, 'fake');
      t.deepEqual([state().command, state().sizedWhileDecoding], [7, false]);
      const taken: [number, number][] = [];
      bars.forEach((bar, i) => {
        const region = regions[slots[i]!];
        if (bar === undefined) {
          t.is(region, undefined);
          return;
        }
        t.is(region!.byteLength, bar.size);
        t.is(region!.kind, bar.kind === 'io' ? 'io' : 'memory');
        t.is(region!.address % bar.size, 0);
        t.is((state().words[slots[i]!]! & ~(bar.kind === 'io' ? 3 : 15)) >>> 0, region!.address);
        const [from, length] = bar.kind === 'io' ? [window.io, window.ioBytes] : [window.memory, window.memoryBytes];
        t.true(region!.address >= from && region!.address + bar.size <= from + length);
        t.true(taken.every(([at, end]) => region!.address >= end || region!.address + bar.size <= at));
        taken.push([region!.address, region!.address + bar.size]);
      });
    }),
  );
});

test('the upper half of a 64-bit BAR is none of its own', (t) => {
  const { config } = fakeConfig([undefined, { kind: 'wide', size: 0x4000 }, { kind: 'memory', size: 0x1000 }]);
  const regions = assignBars(config, window, 'fake');
  t.deepEqual(
    regions.map((region) => region?.byteLength),
    [undefined, 0x4000, undefined, 0x1000, undefined, undefined],
  );
});

test('an I/O BAR that decodes 16 bits only has its true size', (t) => {
  const words = [0, 0];
  const config: ConfigSpace = {
    readConfig: (offset) => (offset === 0x10 ? ((words[0]! & 0xffe0) | 1) >>> 0 : 0),
    writeConfig: (offset, _width, value) => void (offset === 0x10 && (words[0] = value)),
  };
  t.deepEqual(assignBars(config, window, 'fake')[0], { kind: 'io', address: 0xc000, byteLength: 0x20 });
});

test('more than the window holds is refused, with the number of the BAR', (t) => {
  const { config } = fakeConfig([
    { kind: 'memory', size: 0x1000000 },
    { kind: 'wide', size: 0x2000000 },
  ]);
  t.throws(() => assignBars(config, window, 'fake'), {
    code: 'ECONFIG',
    message: /^fake: BAR 1 wants 0x2000000 bytes/,
  });
});
