import test from 'ava';
import { isVirtioPmdError } from '../../../native/errors.js';
import { viewsOf } from '../../../native/region.js';
import { copierOf } from '../../../paths/device/copy.js';
import { GuestMemory, MAX_SLICES } from '../../../paths/device/guest-memory.js';
import { openDeviceQueue } from './support/device-queue.js';
import type { GuestSlice } from '../../../paths/device/queue.js';
import { BOUNDARY, GUEST_BASE, MockSplit, USER_BASE, World } from './support/mock-driver.js';

const low = (address: number) => address % 2 ** 32;
const high = (address: number) => Math.floor(address / 2 ** 32);

test('resolve: first and last byte, one too many, an address above 2^53, a wrap-around', (t) => {
  const world = new World(8);
  t.teardown(() => world.destroy());
  const { memory } = world;
  const resolve = (address: number, length: number) => memory.resolve(low(address), high(address), length);
  t.is(resolve(GUEST_BASE, 1), -1, 'not touched yet');
  memory.touch(0);
  memory.touch(1);
  t.is(resolve(GUEST_BASE, 1), 0);
  t.is(resolve(GUEST_BASE, BOUNDARY), 0);
  t.is(resolve(GUEST_BASE, BOUNDARY + 1), -1, 'crosses into the adjacent region: not in one piece');
  t.is(resolve(GUEST_BASE + BOUNDARY, 1 << 20), BOUNDARY);
  t.is(memory.hit, 1);
  t.is(resolve(GUEST_BASE + BOUNDARY, (1 << 20) + 1), -1);
  t.is(resolve(GUEST_BASE - 1, 1), -1);
  t.is(resolve(GUEST_BASE, 2 ** 32 - 1), -1);
  t.is(memory.resolve(0, 0xffffffff, 1), -1);
  t.is(memory.resolve(0xffffffff, 0xffffffff, 0xffffffff), -1);
  t.is(memory.resolve(0xffffffff, 0xffffffff, 1), -1);
});

test('copyOut crosses adjacent regions and refuses what leaves them', (t) => {
  const world = new World(8);
  t.teardown(() => world.destroy());
  world.write(GUEST_BASE + BOUNDARY - 3, [1, 2, 3, 4, 5]);
  world.memory.touch(0);
  world.memory.touch(1);
  const out = new Uint8Array(5);
  const at = GUEST_BASE + BOUNDARY - 3;
  t.true(world.memory.copyOut(low(at), high(at), 5, out));
  t.deepEqual([...out], [1, 2, 3, 4, 5]);
  const end = GUEST_BASE + (4 << 20) - 4;
  t.false(world.memory.copyOut(low(end), high(end), 5, out));
});

test('a memory table: too many regions, overlap, no size, beyond 2^53, longer than its mapping', (t) => {
  const world = new World(8);
  t.teardown(() => world.destroy());
  const views = viewsOf(world.guest);
  const region = (guestAddr: number, size = 4096, offset = 0): GuestSlice => ({
    guestAddr,
    userAddr: USER_BASE + guestAddr,
    size,
    views,
    address: Number(world.guest.address),
    viewBytes: views.u8.length,
    offset,
  });
  const refused = (regions: GuestSlice[], sentence: RegExp) => {
    const error = t.throws(() => new GuestMemory(regions), { message: sentence });
    t.true(isVirtioPmdError(error, 'EPEER'));
  };
  refused(
    Array.from({ length: MAX_SLICES + 1 }, (_, i) => region(i * 4096)),
    /1025 parts/,
  );
  refused([region(4096), region(0, 4097)], /overlaps/);
  refused([region(0, 0)], /no size/);
  refused([region(2 ** 53 - 4096)], /2\^53/);
  refused([region(0, 4097, (4 << 20) - 4096)], /longer/);
  t.notThrows(() => new GuestMemory([]));
});

test('a ring across two slices is reached through views of its own, one across a gap is refused', (t) => {
  const world = new World(8);
  t.teardown(() => world.destroy());
  const at = BOUNDARY - 64;
  const place = world.memory.ring(USER_BASE + at, 128, 16, 'ring');
  place.views.u8[place.offset] = 1;
  place.views.u8[place.offset + 127] = 2;
  t.deepEqual([world.views.u8[at], world.views.u8[at + 127]], [1, 2]);
  const [upper, lower] = world.regions as [GuestSlice, GuestSlice];
  const gap = new GuestMemory([lower, { ...upper, offset: upper.offset + 4096, size: upper.size - 4096 }]);
  t.throws(() => gap.ring(USER_BASE + at, 128, 16, 'ring'), { message: /no memory region/ });
});

test('ring addresses that are unmapped, misaligned or leave the memory are refused in one sentence', (t) => {
  const world = new World(8);
  t.teardown(() => world.destroy());
  const { spec } = new MockSplit(world, 8);
  const refused = (change: object, sentence: RegExp) => {
    const error = t.throws(() => openDeviceQueue({ ...spec, ...change }, world.memory), { message: sentence });
    t.true(isVirtioPmdError(error, 'EPEER'));
  };
  refused({ descAddr: 0x1000 }, /descriptor table of ring 0.*no memory region/);
  refused({ descAddr: USER_BASE + 8 }, /aligned to 16/);
  refused({ driverAddr: USER_BASE + 129 }, /avail ring.*aligned to 2/);
  refused({ deviceAddr: USER_BASE + 4098 }, /used ring.*aligned to 4/);
  refused({ descAddr: USER_BASE + (4 << 20) - 64 }, /no memory region/);
  refused({ deviceAddr: USER_BASE + (4 << 20) - 4 - 64 + 4 }, /no memory region/);
  refused({ packed: true, driverAddr: USER_BASE + 130 }, /driver event suppression.*aligned to 4/);
  refused({ size: 12 }, /power of two/);
  refused({ size: 0 }, /size of 0/);
  refused({ size: 65536 }, /accepted/);
  refused({ packed: true, size: 255, base: 255 }, /start at 255/);
  t.throws(() => openDeviceQueue({ ...spec, hdrSize: 11 }, world.memory), { code: 'ECONFIG' });
});

test('copierOf: every alignment and length up to 80 copies exactly its range', (t) => {
  const world = new World(8);
  t.teardown(() => world.destroy());
  const views = viewsOf(world.guest);
  const copy = copierOf(views, views);
  for (let i = 0; i < 200; i++) views.u8[i] = i;
  for (let s = 0; s < 4; s++) {
    for (let d = 0; d < 4; d++) {
      for (let n = 0; n < 80; n++) {
        views.u8.fill(255, 512, 700);
        copy(520 + d, s, n);
        const expected = new Uint8Array(188).fill(255);
        for (let i = 0; i < n; i++) expected[8 + d + i] = s + i;
        if (Buffer.compare(views.u8.subarray(512, 700), expected) !== 0) t.fail(`${s} -> ${d}, ${n} bytes`);
      }
    }
  }
  t.pass();
});
