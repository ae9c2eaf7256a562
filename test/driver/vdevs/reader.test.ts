/** Capture files: any that a slow writer makes, cut at every byte, damaged, and read while they grow or shrink. */
import { appendFileSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { checkInput } from '../../../driver/vdevs/pcap/files.js';
import { temporaryDirectory } from '../../support/peers.js';
import { packetOf, pcapFile, pcapngFile, type Block } from './support/captures.js';
import { readAll } from './support/read-all.js';

/** A file with these bytes. */
function fileOf(t: ExecutionContext, bytes: Uint8Array): string {
  const path = join(temporaryDirectory(t), 'f');
  writeFileSync(path, bytes);
  return path;
}

const aPacket = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));

test('property: pcap in both byte orders and resolutions, with any snapshot length', (t) => {
  const path = join(temporaryDirectory(t), 'f');
  const options = fc.record({
    big: fc.boolean(),
    nano: fc.boolean(),
    snaplen: fc.constantFrom(0, 14, 96, 65535, 262144, 262145, 0xffffffff),
  });
  fc.assert(
    fc.property(fc.array(aPacket, { maxLength: 30 }), options, (packets, chosen) => {
      writeFileSync(path, pcapFile(packets, chosen));
      const limit = chosen.snaplen === 0 ? Infinity : chosen.snaplen;
      const expected = packets.map((packet) => packet.subarray(0, limit));
      const { packets: got, trouble } = readAll(path);
      t.deepEqual(got, expected);
      t.is(trouble, undefined);
    }),
    { numRuns: 100 },
  );
});

const aSection: fc.Arbitrary<Block[]> = fc
  .tuple(
    fc.boolean(),
    fc.uint8Array({ maxLength: 9 }),
    fc.array(
      fc.record({
        linktype: fc.constantFrom(1, 1, 1, 113, 65535),
        snaplen: fc.constantFrom(0, 50, 262144),
        tsresol: fc.option(fc.constantFrom(0, 6, 9, 0x8a), { nil: undefined }),
      }),
      { minLength: 1, maxLength: 11 },
    ),
    fc.array(
      fc.record({
        kind: fc.constantFrom('enhanced', 'old', 'simple', 'unknown'),
        id: fc.nat(),
        bytes: aPacket,
        options: fc.uint8Array({ maxLength: 9 }),
        type: fc.constantFrom(0, 4, 5, 7, 0xbad, 0x80000001),
      }),
      { maxLength: 20 },
    ),
  )
  .map(([big, options, interfaces, rest]) => [
    { kind: 'section', big, options },
    ...interfaces.map(({ tsresol, ...some }): Block => {
      return { kind: 'interface', ...some, ...(tsresol === undefined ? {} : { tsresol }) };
    }),
    ...rest.map(({ kind, id, bytes, options: more, type }): Block => {
      const one = id % interfaces.length;
      const { snaplen } = interfaces[0]!;
      if (kind === 'unknown') return { kind, type, body: bytes };
      if (kind === 'simple') {
        return { kind, packet: snaplen === 0 ? bytes : bytes.subarray(0, snaplen), original: bytes.length };
      }
      return kind === 'old'
        ? { kind, id: one, packet: bytes }
        : { kind: 'enhanced', id: one, packet: bytes, options: more };
    }),
  ]);

test('property: pcapng of several sections in both byte orders, with every kind of block and options', (t) => {
  const path = join(temporaryDirectory(t), 'f');
  fc.assert(
    fc.property(fc.array(aSection, { minLength: 1, maxLength: 4 }), (sections) => {
      writeFileSync(path, pcapngFile(sections.flat()));
      const expected: Uint8Array[] = [];
      let foreign = 0;
      for (const section of sections) {
        const interfaces = section.flatMap((block) => (block.kind === 'interface' ? [block.linktype] : []));
        for (const block of section) {
          if (!('packet' in block)) continue;
          if (interfaces['id' in block ? block.id : 0] === 1) expected.push(block.packet);
          else foreign++;
        }
      }
      t.deepEqual(readAll(path), { packets: expected, foreign, trouble: undefined });
    }),
    { numRuns: 100 },
  );
});

const ethernet: Block = { kind: 'interface', linktype: 1, snaplen: 0 };
const section: Block = { kind: 'section', big: true };

test('files and packets that are larger than what is read at once', (t) => {
  const packets = Array.from({ length: 120 }, (_, i) => packetOf((i * i * 37) % 70_000, i));
  packets.push(packetOf(262144, 1), packetOf(14, 2), packetOf(262144, 3));
  t.deepEqual(readAll(fileOf(t, pcapFile(packets))).packets, packets);
  const blocks = packets.map((packet): Block => ({ kind: 'enhanced', id: 0, packet }));
  const large: Block = { kind: 'unknown', type: 99, body: new Uint8Array(500_000) };
  t.deepEqual(readAll(fileOf(t, pcapngFile([section, ethernet, large, ...blocks, large]))).packets, packets);
});

const small = [packetOf(14, 1), packetOf(0, 2), packetOf(61, 3)];
const smallBlocks: readonly Block[] = [
  section,
  ethernet,
  { kind: 'enhanced', id: 0, packet: small[0]!, options: Uint8Array.of(1, 2, 3, 4) },
  { kind: 'unknown', type: 5, body: new Uint8Array(8) },
  { kind: 'simple', packet: small[1]! },
  { kind: 'old', id: 0, packet: small[2]! },
];

/** Ends of the parts of a file: where it may be cut without a warning. */
function endsOf(sizes: readonly number[]): number[] {
  let at = 0;
  return sizes.map((size) => (at += size));
}

for (const [format, whole, ends, header] of [
  ['pcap', pcapFile(small), endsOf([24, ...small.map((packet) => 16 + packet.length)]), 24],
  ['pcapng', pcapngFile(smallBlocks), smallBlocks.map((_, i) => pcapngFile(smallBlocks.slice(0, i + 1)).length), 28],
] as const) {
  test(`${format}, cut at every byte: the packets before the cut, and a warning within one`, (t) => {
    const packetEnds = format === 'pcap' ? ends.slice(1) : [ends[2]!, ends[4]!, ends[5]!];
    const path = join(temporaryDirectory(t), 'f');
    for (let length = 0; length <= whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      if (length < header) {
        t.throws(() => readAll(path), {
          code: 'ECONFIG',
          message: /expected a capture file|was cut within its header/,
        });
        continue;
      }
      const { packets, trouble } = readAll(path);
      t.deepEqual(packets, small.slice(0, packetEnds.filter((end) => end <= length).length), `${length}`);
      if (ends.includes(length)) t.is(trouble, undefined, `${length}`);
      else t.regex(trouble ?? '', /ends in the middle of a packet/, `${length}`);
    }
  });
}

/** `bytes` with a 32-bit number in place of another. */
function patched(bytes: Buffer, at: number, value: number, big: boolean): Buffer {
  const copy = Buffer.from(bytes);
  if (big) copy.writeUInt32BE(value, at);
  else copy.writeUInt32LE(value, at);
  return copy;
}

test('damaged files: the packets before it, then a warning', (t) => {
  const first: Block = { kind: 'enhanced', id: 0, packet: small[0]! };
  const before = pcapngFile([section, ethernet, first]).length;
  const second = pcapngFile([section, ethernet, first, first]);
  const other = (block: Block) => pcapngFile([section, ethernet, first, block]);
  for (const [what, bytes] of Object.entries({
    'a length above that of any packet': patched(pcapFile([small[0]!, small[2]!]), 24 + 16 + 14 + 8, 262145, false),
    'a block shorter than any': patched(second, before + 4, 8, true),
    'a block that is no multiple of four': patched(second, before + 4, 49, true),
    'a block with another length at its end': patched(second, second.length - 4, 44, true),
    'a packet longer than its block': patched(second, before + 20, 15 + 4, true),
    'an interface that nobody has described': other({ kind: 'enhanced', id: 1, packet: small[0]! }),
    'a simple packet shorter than it says': other({ kind: 'simple', packet: small[0]!, original: 300 }),
    'a section in no byte order': patched(other(section), before + 8, 5, true),
  })) {
    const { packets, trouble } = readAll(fileOf(t, bytes));
    t.deepEqual(packets, [small[0]!], what);
    t.regex(trouble ?? '', /is damaged/, what);
  }
  const next = pcapngFile([section, ethernet, first, section]);
  next.writeUInt16BE(2, before + 12);
  t.regex(readAll(fileOf(t, next)).trouble ?? '', /another version of pcapng/);
  t.regex(readAll(fileOf(t, pcapngFile([section, { kind: 'simple', packet: small[0]! }]))).trouble ?? '', /is damaged/);
  const crowd = [section, ...Array.from({ length: 4097 }, () => ethernet), first];
  t.regex(readAll(fileOf(t, pcapngFile(crowd))).trouble ?? '', /more than 4096 interfaces/);
  t.is(readAll(fileOf(t, pcapngFile([...crowd.slice(0, 4097), { ...first, id: 4095 }]))).packets.length, 1);
});

test('property: any bytes of a file changed: packets, or a sentence, and an end', (t) => {
  const path = join(temporaryDirectory(t), 'f');
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(fc.boolean(), changes, (isPcap, list) => {
      const bytes = isPcap ? pcapFile(small) : pcapngFile(smallBlocks);
      for (const [at, value] of list) bytes[at % bytes.length] = value;
      writeFileSync(path, bytes);
      try {
        readAll(path);
      } catch (error) {
        t.like(error as object, { name: 'VirtioPmdError', code: 'ECONFIG' });
      }
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

test('headers that are refused, each with its sentence', (t) => {
  const gzip = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0);
  const newer = pcapngFile([{ kind: 'section', big: false }]);
  newer.writeUInt16LE(2, 12);
  for (const [bytes, message] of [
    [new Uint8Array(0), /has 0 bytes: expected a capture file/],
    [Uint8Array.of(0xa1, 0xb2, 0xc3), /has 3 bytes: expected a capture file/],
    [gzip, /is compressed with gzip: decompress it first \(gunzip\)/],
    [Buffer.from('{"packets": [], "none": true}'), /is no capture file: it begins with 0x7b227061; expected pcap or/],
    [pcapFile([], { magic: 0xa1b2cd34 }), /is no capture file/],
    [pcapFile([], { version: [2, 3] }), /is pcap of version 2\.3: expected version 2\.4/],
    [pcapFile([], { big: true, version: [1, 4] }), /is pcap of version 1\.4/],
    [pcapFile([], { linktype: 113 }), /has packets of link type 113: expected Ethernet, which is 1/],
    [newer, /is pcapng of version 2\.0: expected version 1/],
    [patched(pcapngFile([section]), 8, 0, true), /is no capture file/],
  ] as const) {
    const path = fileOf(t, bytes);
    t.throws(() => readAll(path), { code: 'ECONFIG', message }, String(message));
    t.throws(() => checkInput({ device: 'net_pcap0', key: 'rx_pcap', path }, false), { message });
  }
  const directory = join(temporaryDirectory(t), 'd');
  mkdirSync(directory);
  t.throws(() => readAll(directory), { code: 'ECONFIG', message: `net_pcap0: rx_pcap=${directory}: is a directory: expected a capture file` }); // prettier-ignore
  t.throws(() => readAll('/nowhere/f'), { code: 'ECONFIG', message: /there is no such file: expected a capture file/ });
  t.throws(() => readAll('/dev/null'), { code: 'ECONFIG', message: /is not a regular file/ });
});

test('the length of a frame check sequence in the link type is no other link type', (t) => {
  t.deepEqual(readAll(fileOf(t, pcapFile(small, { linktype: 0x14000001 }))).packets, small);
});

test('pcapng whose first packet is not Ethernet is refused at once', (t) => {
  const blocks: Block[] = [section, { kind: 'interface', linktype: 113, snaplen: 0 }, { kind: 'simple', packet: small[0]! }]; // prettier-ignore
  const file = { device: 'net_pcap0', key: 'rx_pcap', path: fileOf(t, pcapngFile(blocks)) } as const;
  t.throws(() => checkInput(file, false), {
    code: 'ECONFIG',
    message: /its first packet is of an interface that is not/,
  });
});

test('a file that grows is read to its new end; one that is cut while it is read ends there', (t) => {
  const more = pcapFile([packetOf(100, 9)]).subarray(24);
  const growing = fileOf(t, pcapFile(small));
  t.is(readAll(growing, (n) => n === 2 && appendFileSync(growing, more)).packets.length, 4);

  const packets = Array.from({ length: 3000 }, (_, i) => packetOf(100, i));
  const shrinking = fileOf(t, pcapFile(packets));
  const { packets: got, trouble } = readAll(shrinking, (n) => n === 10 && truncateSync(shrinking, 2000));
  t.true(got.length >= 10 && got.length < 3000, String(got.length));
  t.deepEqual(got, packets.slice(0, got.length));
  t.regex(trouble ?? '', /ends in the middle of a packet/);
});
