/** MAC addresses: text to bytes and back, and what is no address. */
import test from 'ava';
import fc from 'fast-check';
import { formatMac, isUnicast, macBytes, parseMac } from '../../../driver/wire/mac.js';

test('each way of writing an address means the same one', (t) => {
  for (const text of [
    '02:00:00:00:0A:FF',
    '02:00:00:00:0a:ff',
    '2:0:0:0:a:ff',
    '02-00-00-00-0a-FF',
    '0200:0000:0aff',
  ]) {
    t.is(parseMac(text), '02:00:00:00:0A:FF', text);
  }
});

test('what is no address is not taken for one', (t) => {
  const mixed = ['02-00:00:00:00:01', '02:00:00:00:00-01', '0200-0000:0001'];
  const lengths = [
    '',
    ':',
    '02:00:00:00:00',
    '02:00:00:00:00:01:02',
    '020:000:000:001',
    '02:00:00:00:00:001',
    '0200:00',
  ];
  for (const text of [
    ...mixed,
    ...lengths,
    '020000000001',
    ' 02:00:00:00:00:01',
    '02:00:00:00:00:0x',
    '-2:0:0:0:0:1',
  ]) {
    t.is(parseMac(text), undefined, text);
  }
});

test('property: bytes become text and the same bytes again', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
      const text = formatMac(bytes);
      t.deepEqual(macBytes(text), bytes);
      t.is(parseMac(text.toLowerCase()), text);
      t.is(parseMac(text.replaceAll(':', '-')), text);
    }),
    { numRuns: 300 },
  );
});

test('a unicast address is no address of a group, and not zero', (t) => {
  for (const mac of ['02:00:00:00:00:01', 'FE:00:00:00:00:00', '00:00:00:00:00:01'])
    t.true(isUnicast(macBytes(mac)), mac);
  for (const mac of ['01:00:5E:00:00:01', 'FF:FF:FF:FF:FF:FF', '00:00:00:00:00:00'])
    t.false(isUnicast(macBytes(mac)), mac);
});
