/** Routes of l3fwd-power: the sample's table, files, and what is wrong with a line of one. */
import test from 'ava';
import fc from 'fast-check';
import { defaultRoutes, enabledRoutes, parseIpv6, parseRoutes, routeLines } from '../../../tools/l3fwd-power/routes.js';

const hex = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('hex');

test("the sample's table: 1.1.1.0/24 to 8.1.1.0/24 and the IPv6 rows beside them, of ports 0 to 7", (t) => {
  const { ipv4, ipv6 } = defaultRoutes();
  t.is(ipv4.length, 8);
  t.is(ipv6.length, 8);
  t.deepEqual(ipv4[0], { address: 0x01010100, depth: 24, port: 0 });
  t.deepEqual(ipv4[7], { address: 0x08010100, depth: 24, port: 7 });
  t.is(hex(ipv6[7]!.address), `08${'01'.repeat(15)}`);
  t.like(ipv6[7], { depth: 48, port: 7 });
});

test('only routes of enabled ports get in, and each is announced as the sample does', (t) => {
  t.deepEqual(routeLines(enabledRoutes(defaultRoutes(), [0, 7, 12])), [
    'LPM: Adding route 0x01010100 / 24 (0)',
    'LPM: Adding route 0x08010100 / 24 (7)',
    'LPM: Adding route 0101:0101:0101:0101:0101:0101:0101:0101 / 48 (0)',
    'LPM: Adding route 0801:0101:0101:0101:0101:0101:0101:0101 / 48 (7)',
  ]);
  t.deepEqual(enabledRoutes(defaultRoutes(), []), { ipv4: [], ipv6: [] });
});

test('a file: both families, with and without R, comments, blank lines, tabs, CRLF, no newline at the end', (t) => {
  const text = [
    '# routes of the lab',
    'R10.0.0.0/8 0',
    '',
    '  r192.168.1.77/24\t3   # host bits are not looked at',
    'R 0.0.0.0/0 255\r',
    '255.255.255.255/0x20 0x10',
    'R2001:db8::/32 1',
    '::/0 2',
    '#R1.1.1.0/24 9',
    'Rdead:BEEF::192.0.2.1/128 4',
  ].join('\n');
  const { ipv4, ipv6 } = parseRoutes(text, 'routes.txt');
  t.deepEqual(ipv4, [
    { address: 0x0a000000, depth: 8, port: 0 },
    { address: 0xc0a8014d, depth: 24, port: 3 },
    { address: 0, depth: 0, port: 255 },
    { address: 0xffffffff, depth: 32, port: 16 },
  ]);
  t.deepEqual(
    ipv6.map(({ address, depth, port }) => [hex(address), depth, port]),
    [
      [`20010db8${'0'.repeat(24)}`, 32, 1],
      ['0'.repeat(32), 0, 2],
      ['deadbeef0000000000000000c0000201', 128, 4],
    ],
  );
});

test('a file without routes has none', (t) => {
  for (const text of ['', '\n\n', '# nothing', ' \r\n']) t.deepEqual(parseRoutes(text, 'f'), { ipv4: [], ipv6: [] });
});

const wrong: readonly (readonly [line: string, message: string])[] = [
  ['R10.0.0.0/33 1', "the depth of '10.0.0.0' is a number from 0 to 32, found '33'"],
  ['R10.0.0.0/-1 1', "the depth of '10.0.0.0' is a number from 0 to 32, found '-1'"],
  ['R::1/129 1', "the depth of '::1' is a number from 0 to 128, found '129'"],
  ['R10.0.0.0/24/2 1', "the depth of '10.0.0.0' is a number from 0 to 32, found '24/2'"],
  ['R10.0.0/24 1', "'10.0.0' is neither an IPv4 nor an IPv6 address"],
  ['R10.0.0.256/24 1', "'10.0.0.256' is neither an IPv4 nor an IPv6 address"],
  ['Rfe80::1%eth0/64 1', "'fe80::1%eth0' is neither an IPv4 nor an IPv6 address"],
  ['R10.0.0.0/24 256', "a port is a number from 0 to 255, found '256'"],
  ['R10.0.0.0/24 1.5', "a port is a number from 0 to 255, found '1.5'"],
  ['R10.0.0.0/24', "expected ADDRESS/DEPTH PORT, such as 'R10.0.0.0/24 1', found 'R10.0.0.0/24'"],
  ['R10.0.0.0 1', "expected ADDRESS/DEPTH PORT, such as 'R10.0.0.0/24 1', found 'R10.0.0.0 1'"],
  ['R10.0.0.0/24 1 2', "expected ADDRESS/DEPTH PORT, such as 'R10.0.0.0/24 1', found 'R10.0.0.0/24 1 2'"],
  [
    'E10.0.0.1 10.0.0.2 1 2 17 0',
    "expected ADDRESS/DEPTH PORT, such as 'R10.0.0.0/24 1', found 'E10.0.0.1 10.0.0.2 1 2 17 0'",
  ],
];

for (const [line, message] of wrong) {
  test(`an error with its file and line: ${line}`, (t) => {
    const text = `# a comment\nR1.1.1.0/24 0\n${line}\nR1.1.1.0/99 0`;
    t.throws(() => parseRoutes(text, '/etc/routes'), { code: 'EOPTION', message: `/etc/routes:3: ${message}` });
  });
}

test('IPv6 addresses in every way to write them', (t) => {
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const sparse = bytes.chain((all) =>
    fc.nat(0xff).map((mask) => all.map((byte, i) => ((mask >> (i >> 1)) & 1) * byte)),
  );
  fc.assert(
    fc.property(fc.oneof(bytes, sparse), (address) => {
      const groups = Array.from({ length: 8 }, (_, i) => (address[i * 2]! * 256 + address[i * 2 + 1]!).toString(16));
      const full = groups.map((group) => group.padStart(4, '0')).join(':');
      const dotted = `${groups.slice(0, 6).join(':')}:${address.slice(12).join('.')}`;
      // URL writes IPv6 addresses in their shortest form
      const short = new URL(`http://[${full}]/`).hostname.slice(1, -1);
      for (const text of [full, groups.join(':'), short, short.toUpperCase(), dotted]) {
        if (hex(parseIpv6(text)) !== hex(address)) throw new Error(`${text} came out as ${hex(parseIpv6(text))}`);
      }
    }),
    { numRuns: 500 },
  );
  for (const text of ['', ':', '::1::', '1:2:3:4:5:6:7', '12345::', '1.2.3.4', '::g']) t.is(parseIpv6(text), undefined);
});
