import test from 'ava';
import fc from 'fast-check';
import { canonicalAddress, checkAddress } from '../../../../driver/virtio/pci/address.js';

test('the domain may be left out, as may leading zeros', (t) => {
  t.is(canonicalAddress('0000:00:03.0'), '0000:00:03.0');
  t.is(canonicalAddress('00:03.0'), '0000:00:03.0');
  t.is(canonicalAddress('0:3.7'), '0000:00:03.7');
  t.is(canonicalAddress('AB:1F.1'), '0000:ab:1f.1');
});

test('a domain above 16 bits, as behind a VMD controller', (t) => {
  t.is(canonicalAddress('10000:e1:00.0'), '10000:e1:00.0');
});

test('what is out of range or something else is no address', (t) => {
  const wrong = [
    '',
    '3.0',
    '00:03',
    '00:03.8',
    '00:20.0',
    '100:03.0',
    '00:03.0 ',
    'g0:03.0',
    '0000:00:03.0,a=b',
    '00:03:0',
  ];
  for (const text of wrong) t.is(canonicalAddress(text), undefined, text);
});

test('the error names what was given and what is expected', (t) => {
  t.throws(() => checkAddress('eth0'), {
    code: 'EDEVARGS',
    message: /^"eth0" is no PCI address: expected \[domain:\]bus:device\.function in hex, 0000:00:03\.0 for example/,
  });
});

test('every address in the kernel’s form stays as it is', (t) => {
  const hex = (most: number, width: number) =>
    fc.integer({ min: 0, max: most }).map((value) => value.toString(16).padStart(width, '0'));
  const address = fc
    .tuple(hex(0xfffff, 4), hex(0xff, 2), hex(0x1f, 2), hex(7, 1))
    .map(([domain, bus, device, fn]) => `${domain}:${bus}:${device}.${fn}`);
  fc.assert(fc.property(address, (text) => t.is(checkAddress(text), text)));
});
