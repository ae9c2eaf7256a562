/**
 * Memory tables whose files, sizes and addresses lie: nothing outside of the attacker's own files is read or written, nothing
 * waits for a file that does not answer, and what is right works at every size.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Attacker, startTarget, terminate, unharmed, Victim, whyNoFuse, type Target } from './support/attack.js';
import { eventually, temporaryDirectory } from '../support/peers.js';
import { lacks, needs, wants } from '../support/needs.js';

const test = needs(lacks('cc'));
const fuseTest = needs(lacks('cc') || whyNoFuse());

const ALL = '0x170008000'; // MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1
const MIB = 1 << 20;
const GIB = 2 ** 30;
/** The attacker's own memory, with its rings; and where its second region begins. */
const OWN = 0x100000;
const SECOND = 0x1_0000_0000;
const USER = 0x7f00_0000_0000;
const hex = (n: number) => `0x${n.toString(16)}`;

interface Scene {
  readonly target: Target;
  readonly victim: Victim;
  readonly attacker: Attacker;
}

async function scene(t: ExecutionContext): Promise<Scene> {
  const target = await startTarget(t, 'switch');
  return { target, victim: await Victim.start(t, target.sockets), attacker: new Attacker(t) };
}

/** A connection with features and 64 MiB of memory of its own. */
async function begin({ attacker, target }: Scene): Promise<void> {
  await attacker.all('close 0', `connect 0 ${target.sockets[0]}`, `handshake 0 ${ALL}`);
  await attacker.ask(`memory 0 ${OWN} ${64 * MIB}`);
}

const rings = ['ring 0 0 split 256 0x100000', 'ring 0 1 split 256 0x110000', 'ready 0'];

/** Refused in one of the two ways that there are, in good time. */
const isRefusal = (answer: string) => answer === 'refused' || answer === 'closed';

fuseTest.serial(
  'files whose block size their owner chooses: no byte of another guest is read or written',
  async (t) => {
    const all = await scene(t);
    const { attacker, victim, target } = all;
    const directory = temporaryDirectory(t);
    const cases: readonly (readonly [block: number, offset: number, size: number, file: number])[] = [
      [2 * GIB, 0x7ff00000, 0x7fe00000, 4 * GIB],
      [2 * GIB, 0x7ff00000, 0x200000, 4 * GIB],
      [2 * GIB, 0x7ffff000, 0x2000, 4 * GIB],
      [4 * MIB, 0x3ff000, 0x7fe00000, 4 * GIB],
      [4 * MIB, 0x3ff000, 0x1000, 16 * MIB],
      [GIB, 0x3ff00000, 0x7fe00000, 4 * GIB],
      [4096, 0, 0x1000000, 0x1000000],
    ];
    for (const [i, [block, offset, size, file]] of cases.entries()) {
      const what = `a block size of ${hex(block)}, offset ${hex(offset)}, size ${hex(size)}`;
      await begin(all);
      const mount = join(directory, String(i));
      mkdirSync(mount);
      const numbers = [SECOND, size, USER + SECOND, offset, file, block].map(hex).join(' ');
      const made = await attacker.ask(`fuse 0 ${numbers} ${mount}`);
      t.regex(made, /^ok/, 'FUSE');
      const answer = await attacker.ask('table 0');
      t.log(`${what}: ${answer}`);
      if (!isRefusal(answer)) {
        // accepted: then it must hold. The victim's memory comes to lie below the new mapping.
        await attacker.all(...rings);
        await victim.again();
        const last = SECOND + Math.max(0, size - 30 * MIB);
        const range = `${hex(last)} ${hex(SECOND + size - last)} 0x10000 1500`;
        t.log(await attacker.ask(`sweep 0 read ${range}`));
        t.is(await attacker.ask('scan 0'), 'ok 0', `${what}: nothing of the victim was received`);
        t.log(await attacker.ask(`sweep 0 write ${range}`));
      }
      await unharmed(t, target, victim, what);
      t.true(isRefusal(answer), `${what}: only files of memory are accepted`);
    }
    t.is(await terminate(target), 'exit code 0');
  },
);

fuseTest.serial('a file that never answers fstat, or never gives a page, stops nobody', async (t) => {
  const all = await scene(t);
  const { attacker, victim, target } = all;
  const directory = temporaryDirectory(t);
  for (const manners of ['getattr', 'read']) {
    for (const command of ['table 0', 'add 0 1']) {
      await begin(all);
      if (command === 'add 0 1') t.is(await attacker.ask('table 0'), 'ok');
      const mount = join(directory, `${manners}${command.slice(0, 1)}`);
      mkdirSync(mount);
      const numbers = [SECOND, 4 * MIB, USER + SECOND, 0, 4 * MIB, 4096].map(hex).join(' ');
      const made = await attacker.ask(`fuse 0 ${numbers} ${mount}`);
      t.regex(made, /^ok/, 'FUSE');
      await attacker.ask(`manners ${manners}`);
      const answer = await attacker.ask(command);
      t.log(`${manners}, ${command}: ${answer}`);
      if (answer === 'ok') await attacker.ask(`ring 0 0 split 256 ${hex(SECOND)}`);
      await unharmed(t, target, victim, `${manners}, ${command}`);
      t.true(isRefusal(answer), `${manners}, ${command}: ${answer}`);
      await attacker.ask('manners serves');
    }
  }
  t.is(await terminate(target), 'exit code 0');
});

test.serial('what is no file of memory is refused', async (t) => {
  const all = await scene(t);
  const { attacker, victim, target } = all;
  const kinds = ['disk', 'zero', 'null', 'directory', 'proc', 'readonly', 'path', 'pipe', 'socket', 'datagram'];
  for (const kind of [...kinds, 'epoll', 'eventfd']) {
    await begin(all);
    const numbers = [SECOND, MIB, USER + SECOND, 0, MIB].map(hex).join(' ');
    t.is(await attacker.ask(`region 0 ${kind} ${numbers}`), 'ok 1', kind);
    const answer = await attacker.ask('table 0');
    t.true(isRefusal(answer), `${kind}: ${answer}`);
    await unharmed(t, target, victim, kind);
  }
  // and tmpfs, which is one, works
  await begin(all);
  const numbers = [SECOND, MIB, USER + SECOND, 4096, MIB + 8192].map(hex).join(' ');
  t.deepEqual(await attacker.all(`region 0 tmpfs ${numbers}`, 'table 0', ...rings), ['ok 1', 'ok', 'ok', 'ok', 'ok']);
  t.regex(await attacker.ask(`sweep 0 read ${hex(SECOND)} ${MIB} 4096 1500`), /^ok tried 256 used 256 .*stalls 0/);
  t.is(await terminate(target), 'exit code 0');
});

test.serial('numbers at the edges of 31, 32, 53 and 64 bits', async (t) => {
  const all = await scene(t);
  const { attacker, victim, target } = all;
  const edges = [2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n].flatMap((n) => [n - 4096n, n, n + 4096n]);
  edges.push(2n ** 64n - 4096n, 0n);
  let [accepted, cases] = [0, 0];
  const each = async (guest: bigint, size: bigint, user: bigint, offset: bigint, file: bigint) => {
    cases++;
    await begin(all);
    const numbers = [guest, size, user, offset, file].map((n) => `0x${n.toString(16)}`).join(' ');
    await attacker.ask(`region 0 memfd ${numbers}`);
    const answer = await attacker.ask('table 0');
    t.true(['ok', 'refused', 'closed'].includes(answer), `${numbers}: ${answer}`);
    if (answer !== 'ok') return;
    accepted++;
    await attacker.all(...rings);
    for (const way of ['read', 'write']) {
      for (const from of [guest - 3000n, guest + size - 6000n]) {
        const range = `0x${BigInt.asUintN(64, from).toString(16)} 9000 750 1500`;
        await attacker.ask(`sweep 0 ${way} ${range}`);
      }
    }
    t.is(await attacker.ask('scan 0'), 'ok 0', numbers);
  };
  const mib = BigInt(MIB);
  const second = BigInt(SECOND);
  const user = BigInt(USER) + second;
  for (const edge of edges) {
    const file = edge < 2n ** 42n ? edge + mib : 2n ** 42n;
    await each(edge, mib, user, 0n, mib);
    await each(second, mib, edge, 0n, mib);
    await each(second, mib, user, edge, file);
    await each(second, edge, user, 0n, file);
    await each(second, edge, user, edge, file);
    await each(edge - mib / 2n > 0n ? edge - mib / 2n : 0n, mib, edge - 4096n > 0n ? edge - 4096n : 0n, edge, file);
  }
  t.log(`${cases} cases, ${accepted} accepted`);
  await unharmed(t, target, victim, 'edges');
  t.is(await terminate(target), 'exit code 0');
});

/** Of 2 MiB and of 1 GiB: the kind of file (kinds.c), the page, and how many of them are needed. */
const hugepages = [
  {
    kind: 'hugetlb',
    page: 2 * MIB,
    count: 4,
    cases: [
      [0, 8],
      [2, 4],
      [2, 4, 4096],
      [4, 0, -4096],
      [6, 2, 4096],
    ],
  },
  {
    kind: 'gigantic',
    page: GIB,
    count: 1,
    cases: [
      [0, 1024],
      [512, 512],
      [2, 4, 4096],
      [1022, 2],
      [1022, 2, 4096],
    ],
  },
] as const;

/** Takes so many more hugepages, or what there is of them, if that is allowed. @returns what gives them back */
function reserve(page: number, more: number): () => void {
  const file = join(folderOf(page), 'nr_hugepages');
  const count = () => Number(readFileSync(file, 'utf8'));
  try {
    const before = count();
    writeFileSync(file, String(before + more));
    const got = Math.max(0, count() - before);
    return () => writeFileSync(file, String(Math.max(0, count() - got)));
  } catch {
    return () => {}; // not root, or no pages of that size: what is free will do, or nothing
  }
}

const folderOf = (page: number) => `/sys/kernel/mm/hugepages/hugepages-${page / 1024}kB`;
const moreOf = (page: number, count: number) => (page === GIB ? count : 4 * count);

/** Why there are not as many, or ''. */
function whyNoPages(page: number, count: number): string {
  const giveBack = reserve(page, moreOf(page, count));
  const file = join(folderOf(page), 'free_hugepages');
  const free = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
  giveBack();
  return free < count ? `no ${count} hugepages of ${page / MIB} MiB are free` : '';
}

for (const { kind, page, count, cases } of hugepages) {
  const missing = whyNoPages(page, count);
  // few machines have one of 1 GiB in one piece once they have run for a while
  const pagesTest = page === GIB && missing !== '' ? wants(missing) : needs(lacks('cc') || missing);
  pagesTest.serial(`hugepages of ${page / MIB} MiB with offsets and sizes between them`, async (t) => {
    t.teardown(reserve(page, moreOf(page, count)));
    const all = await scene(t);
    const { attacker, victim, target } = all;
    for (const [mib, sizeMib, more = 0] of cases) {
      await begin(all);
      const offset = mib * MIB + more;
      const size = sizeMib === 0 ? 8192 : sizeMib * MIB - Math.max(more, 0);
      const what = `offset ${hex(offset)}, size ${hex(size)}`;
      const numbers = [SECOND, size, USER + SECOND, offset, count * page].map(hex).join(' ');
      t.is(await attacker.ask(`region 0 ${kind} ${numbers}`), 'ok 1');
      const answer = await attacker.ask('table 0');
      t.log(`${what}: ${answer}`);
      t.true(answer === 'ok' || isRefusal(answer), answer);
      if (answer === 'ok') {
        await attacker.all(...rings);
        const step = Math.max(8192, Math.floor(size / 1000 / 4096) * 4096);
        for (const way of ['read', 'write']) {
          const swept = await attacker.ask(`sweep 0 ${way} ${hex(SECOND)} ${size - 1500} ${step} 1500`);
          t.regex(swept, /^ok tried (\d+) used \1 .*stalls 0/, what);
          await attacker.ask(`sweep 0 ${way} ${hex(SECOND + size - 700)} 4096 4096 1500`);
        }
      }
      await unharmed(t, target, victim, what);
    }
    t.is(await terminate(target), 'exit code 0');
  });
}

test.serial('files that are truncated while rings and buffers are in them', async (t) => {
  const all = await scene(t);
  const { attacker, victim, target } = all;
  for (const to of [0, 4096, 0x108000]) {
    await begin(all);
    t.deepEqual(await attacker.all('table 0', ...rings), ['ok', 'ok', 'ok', 'ok']);
    await attacker.ask('send 0 10 100');
    const truncating = attacker.ask(`truncate 0 0 ${to}`);
    const { lost, max } = await victim.measure(200);
    t.is(await truncating, 'ok');
    t.is(lost, 0, `truncated to ${to} bytes: at most ${max} us`);
    await unharmed(t, target, victim, `truncated to ${to} bytes`);
  }
  t.is(await terminate(target), 'exit code 0');
});

test.serial('regions of more than 2 GiB and of 256 GiB, with buffers and rings across every GiB', async (t) => {
  const all = await scene(t);
  const { attacker, victim, target } = all;
  for (const [size, offset] of [
    [2 * GIB, 0],
    [4 * GIB, 4096],
    [5 * GIB, 0x7ff00000],
    [256 * GIB - 64 * MIB, 0],
  ] as const) {
    const what = `size ${hex(size)}, offset ${hex(offset)}`;
    await begin(all);
    await attacker.ask(`sparse 0 ${[SECOND, size, offset].map(hex).join(' ')}`);
    t.deepEqual(await attacker.all('table 0', ...rings), ['ok', 'ok', 'ok', 'ok'], what);
    for (const way of ['read', 'write']) {
      const borders = [GIB, 2 * GIB, 3 * GIB, 4 * GIB, size].filter((border) => border <= size);
      for (const border of borders) {
        const from = SECOND + border - 6000;
        const swept = await attacker.ask(`sweep 0 ${way} ${hex(from)} ${border === size ? 4400 : 9000} 1501 1500`);
        t.regex(swept, /^ok tried (\d+) used \1 right \1 stalls 0/, `${what}: ${way} around ${hex(border)}`);
      }
      await attacker.ask(`sweep 0 ${way} ${hex(SECOND + size - 700)} 1 1 1500`); // beyond the end
      await attacker.all(...rings.slice(0, 2));
    }
    // rings of 256: descriptors 4096 bytes, avail ring 518, used ring 2054
    for (const back of [0, 2048, 4096, 4096 + 256, 4096 + 1024, 8192 - 16]) {
      const at = SECOND + GIB - back;
      const started = await attacker.all(`ring 0 0 split 256 ${hex(at)}`, `ring 0 1 split 256 ${hex(at + 16384)}`);
      t.deepEqual(started, ['ok', 'ok'], `${what}: a ring ${back} bytes in front of a GiB`);
      t.regex(await attacker.ask('send 0 600 200'), /^ok sent 600/, `${what}: a ring ${back} bytes in front of a GiB`);
    }
    await unharmed(t, target, victim, what);
  }
  t.is(await terminate(target), 'exit code 0');
});

test.serial('64 slots of memory: added, used across their borders, removed in any order', async (t) => {
  const all = await scene(t);
  const { attacker, victim, target } = all;
  await begin(all);
  t.deepEqual(await attacker.all('table 0', ...rings), ['ok', 'ok', 'ok', 'ok']);
  const count = 63;
  for (let i = 0; i < count; i++) {
    t.is(await attacker.ask(`memory 0 ${hex(SECOND + i * MIB)} ${MIB}`), `ok ${i + 1}`);
    t.is(await attacker.ask(`add 0 ${i + 1}`), 'ok', `slot ${i + 1}`);
  }
  const range = `${hex(SECOND + MIB - 700)} ${(count - 1) * MIB} ${MIB} 1500`;
  await attacker.ask(`sweep 0 read ${range}`); // the first use of each slot takes its time
  await attacker.all(...rings.slice(0, 2));
  for (const way of ['read', 'write']) {
    const swept = await attacker.ask(`sweep 0 ${way} ${range}`);
    t.is(swept, `ok tried ${count - 1} used ${count - 1} right ${count - 1} stalls 0`);
  }
  // many more: taken or refused, never harmful
  for (let i = count; i < 250; i++) {
    await attacker.ask(`memory 0 ${hex(SECOND + i * MIB)} ${MIB}`);
    const answer = await attacker.ask(`add 0 ${i + 1}`);
    t.true(answer === 'ok' || isRefusal(answer), answer);
  }
  for (let i = 0; i < 250; i++) {
    const slot = 1 + ((i * 97) % 250);
    const answer = await attacker.ask(`remove 0 ${slot}`);
    if (slot <= count) t.is(answer, 'ok', `slot ${slot}`);
  }
  // what overlaps is refused
  for (const [guest, user] of [
    [OWN + MIB, SECOND],
    [SECOND, OWN + MIB],
  ] as const) {
    const index = (await attacker.ask(`region 0 memfd ${[guest, MIB, USER + user, 0, MIB].map(hex).join(' ')}`)).slice(
      3,
    );
    t.true(isRefusal(await attacker.ask(`add 0 ${index}`)), `guest ${hex(guest)}, user ${hex(USER + user)}`);
  }
  await unharmed(t, target, victim, 'slots');
  t.is(await terminate(target), 'exit code 0');
});

test.serial('eight sparse regions of 2 GiB, again and again: mapped, and memory stays bounded', async (t) => {
  const all = await scene(t);
  const { attacker, victim, target } = all;
  const attack = attacker.ask(`flood ${target.sockets[0]} tables 3000`);
  await unharmed(t, target, victim, 'meanwhile');
  t.log(await attack);
  const rss = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${target.peer.pid}/status`, 'utf8'))![1]) / 1024;
  await eventually('memory is given back', rss, (mib) => mib < 400);
  t.is(await terminate(target), 'exit code 0');
});
