/** The PCI capability list (virtio 1.2 section 4.1.4), as honest devices and hostile ones write it. */
import test from 'ava';
import fc from 'fast-check';
import { readCapabilities } from '../../../../driver/virtio/pci/capabilities.js';
import { FakeFunction, MODERN_CAPS, MSIX_AT, type FakeCap } from './support/mock-function.js';

const [COMMON, ISR, DEVICE, NOTIFY] = MODERN_CAPS as readonly [FakeCap, FakeCap, FakeCap, FakeCap];
const FIRST_CAP = MSIX_AT + 12;

function read(caps: readonly FakeCap[], change: (fn: FakeFunction) => void = () => undefined) {
  const fn = new FakeFunction({ caps });
  change(fn);
  return readCapabilities(fn);
}

/** A device whose first capability is `cap`, and all others in order. */
const withCap = (cap: FakeCap) => read([cap, ...MODERN_CAPS.filter(({ type }) => type !== cap.type)]);

test("QEMU's layout: all four structures, the multiplier and MSI-X", (t) => {
  t.deepEqual(read(MODERN_CAPS), {
    modern: {
      common: { bar: 4, offset: 0, length: 0x1000, multiplier: 0 },
      isr: { bar: 4, offset: 0x1000, length: 0x1000, multiplier: 0 },
      device: { bar: 4, offset: 0x2000, length: 0x1000, multiplier: 0 },
      notify: { bar: 4, offset: 0x3000, length: 0x1000, multiplier: 4 },
    },
    missing: [],
    rejected: [],
    msix: { at: MSIX_AT, vectors: 4 },
  });
});

test('the first valid capability of a type counts, not the last as in DPDK', (t) => {
  const { modern, rejected } = read([
    { ...COMMON, bar: 6 },
    COMMON,
    { ...COMMON, offset: 0x800, length: 56 },
    ISR,
    DEVICE,
    NOTIFY,
  ]);
  t.is(modern?.common.offset, 0);
  t.deepEqual(rejected, [`common configuration capability at 0x${FIRST_CAP.toString(16)}: invalid bar: 6`]);
});

for (const [title, cap, why] of [
  ['BAR 6', { ...COMMON, bar: 6 }, 'invalid bar: 6'],
  ['BAR 255', { ...COMMON, bar: 255 }, 'invalid bar: 255'],
  ['a BAR that is not mapped', { ...DEVICE, bar: 2 }, 'bar 2 base addr is NULL'],
  [
    'offset + length beyond 32 bits',
    { ...COMMON, offset: 0xfffff000, length: 0x1000 },
    'offset(4294963200) + length(4096) overflows',
  ],
  [
    'a structure that ends one byte behind its BAR',
    { ...NOTIFY, length: 0x1001 },
    'invalid cap: overflows bar space: 16385 > 16384',
  ],
  ['an empty structure', { ...ISR, length: 0 }, 'a structure of 0 bytes, at least 1 are needed'],
  ['a common configuration of 55 bytes', { ...COMMON, length: 55 }, 'a structure of 55 bytes, at least 56 are needed'],
  [
    'a device configuration without a whole MAC address',
    { ...DEVICE, length: 5 },
    'a structure of 5 bytes, at least 6 are needed',
  ],
  ['a common configuration at an odd place', { ...COMMON, offset: 2 }, 'offset 2 is not a multiple of 4'],
  ['notification registers at an odd place', { ...NOTIFY, offset: 0x2fff }, 'offset 12287 is not a multiple of 2'],
  ['an odd multiplier', { ...NOTIFY, multiplier: 3 }, 'notify_off_multiplier 3 is odd, registers of 2 bytes are not'],
  ['a capability that is too short', { ...COMMON, capLength: 15 }, '15 bytes long, at least 16 are needed'],
  [
    'a notification capability without multiplier',
    { ...NOTIFY, capLength: 16 },
    '16 bytes long, at least 20 are needed',
  ],
] as const) {
  test(`rejected with its reason, and the device is not modern: ${title}`, (t) => {
    const { modern, missing, rejected } = withCap(cap);
    t.is(modern, undefined);
    t.is(missing.length, 1);
    t.is(rejected.length, 1);
    t.true(rejected[0]!.endsWith(`capability at 0x${FIRST_CAP.toString(16)}: ${why}`), rejected[0]);
    t.true(rejected[0]!.startsWith(missing[0]!));
  });
}

for (const [title, cap] of [
  ['a structure that ends with its BAR', { ...NOTIFY, length: 0x1000 }],
  ['multiplier 0: one register for all queues', { ...NOTIFY, multiplier: 0 }],
  ['a common configuration of 56 bytes', { ...COMMON, length: 56 }],
  ['a capability that is longer than known', { ...COMMON, capLength: 64 }],
  ['structures that overlap', { ...ISR, offset: 0, length: 0x4000 }],
] as const) {
  test(`accepted: ${title}`, (t) => {
    const { modern, rejected } = withCap(cap);
    t.truthy(modern);
    t.deepEqual(rejected, []);
  });
}

test('each missing structure makes the device legacy, and is named', (t) => {
  for (const absent of MODERN_CAPS) {
    const { modern, missing, rejected } = read(MODERN_CAPS.filter((cap) => cap !== absent));
    t.is(modern, undefined);
    t.is(missing.length, 1);
    t.deepEqual(rejected, []);
  }
  t.deepEqual(read([]).missing, ['common configuration', 'notification', 'ISR status', 'device configuration']);
});

test('configuration access, shared memory and types to come are passed over without a word', (t) => {
  const others = [5, 8, 9, 0, 255].map((type) => ({ type, bar: 99, length: 0 }));
  const { modern, rejected } = read([...others, ...MODERN_CAPS]);
  t.truthy(modern);
  t.deepEqual(rejected, []);
});

test('a list that leads back to itself ends there', (t) => {
  const { modern, rejected } = read(MODERN_CAPS, ({ config }) => config.setUint8(FIRST_CAP + 1, MSIX_AT));
  t.is(modern, undefined);
  t.deepEqual(rejected, ['the capability list leads back to 0x40']);
});

test('a list that leads into the header, or between two capabilities, ends there', (t) => {
  for (const at of [0x3c, 0x04, 0x41, 0x42, 0xff]) {
    const { rejected } = read(MODERN_CAPS, ({ config }) => config.setUint8(0x34, at));
    t.deepEqual(rejected, [`the capability list leads to 0x${at.toString(16)}, where none can be`]);
  }
});

test('a capability in the last four bytes does not fit: nothing is read beyond the configuration space', (t) => {
  const { rejected } = read([], ({ config }) => {
    config.setUint8(MSIX_AT + 1, 0xfc);
    config.setUint8(0xfc, 0x09);
    config.setUint8(0xfe, 16);
    config.setUint8(0xff, 1);
  });
  t.deepEqual(rejected, ['common configuration capability at 0xfc: it does not fit into the configuration space']);
});

test('no list: nothing is looked for', (t) => {
  const { modern, msix } = read(MODERN_CAPS, ({ config }) => config.setUint16(6, 0, true));
  t.is(modern, undefined);
  t.is(msix, undefined);
});

test('a device that is gone has no capabilities', (t) => {
  const { modern, rejected } = read(MODERN_CAPS, (fn) => fn.pull());
  t.is(modern, undefined);
  t.deepEqual(rejected, ['the capability list leads to 0xff, where none can be']);
});

test('random configuration spaces: the walk ends, and what it accepts lies in its BAR', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 256, maxLength: 256 }),
      fc.array(fc.nat(47), { maxLength: 12 }),
      (bytes, order) => {
        const fn = new FakeFunction();
        bytes.forEach((byte, at) => fn.config.setUint8(at, byte));
        fn.config.setUint16(6, 0x0010, true);
        // random bytes seldom make a list: link some places, and make virtio capabilities of them
        let link = 0x34;
        for (const [i, place] of order.entries()) {
          const at = 64 + 4 * place;
          fn.config.setUint8(link, at);
          link = at + 1;
          fn.config.setUint8(at, 0x09);
          if (at < 240) {
            fn.config.setUint8(at + 3, 1 + (i % 4));
            fn.config.setUint8(at + 4, bytes[at]! % 7);
            fn.config.setUint8(at + 10, 0);
            fn.config.setUint8(at + 11, 0);
          }
        }
        const { modern } = readCapabilities(fn);
        for (const { bar, offset, length } of modern === undefined
          ? []
          : [modern.common, modern.notify, modern.isr, modern.device]) {
          t.true(offset + length <= fn.bar(bar)!.byteLength);
        }
        t.true(fn.accesses < 48 * 10);
      },
    ),
  );
});
