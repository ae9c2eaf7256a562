/** Ring set-up by messages in every order and with every wrong value: refused or harmless, never a crash. */
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { SUPPORTED_FEATURES, SUPPORTED_PROTOCOL_FEATURES } from '../../../driver/vhost/index.js';
import type { GuestDevice } from '../../../driver/vhost/device.js';
import * as wire from '../../../driver/wire/vhost-user.js';
import {
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_RING_PACKED,
  VIRTIO_NET_F_MQ,
} from '../../../driver/wire/virtio-features.js';
import { closeFd, viewsOf } from '../../../native/region.js';
import { socketPair } from '../../../native/socket.js';
import { splitLayout } from '../../../paths/layout.js';
import { USER_BASE, withFrontend, type Backend, type RawFrontend } from './support/raw-frontend.js';

const SPLIT = SUPPORTED_FEATURES & ~VIRTIO_F_RING_PACKED;
const OK = [0n, 0n, 0n, 0n, 0n, 0n];
const RING_1 = 1 << 16;

/** A front-end with features, memory and two queue pairs allowed. */
function withMemory(t: ExecutionContext, body: (front: RawFrontend, backend: Backend) => void, features = SPLIT) {
  withFrontend(
    t,
    (front, backend) => {
      front.negotiate(features);
      t.is(front.setMemory(), 0n);
      body(front, backend);
    },
    { queues: 2 },
  );
}

const stateRequests = [wire.SET_VRING_NUM, wire.SET_VRING_BASE, wire.SET_VRING_ENABLE];
const fdRequests = [wire.SET_VRING_KICK, wire.SET_VRING_CALL, wire.SET_VRING_ERR];

for (const index of [4, 5, 255, 256, 257, 0x10000, 0xffffffff]) {
  test(`vring index ${index} of 4 rings is refused before anything narrows it`, (t) => {
    withMemory(t, (front, backend) => {
      for (const request of stateRequests) t.is(front.state(request, index, 1), 1n);
      t.is(front.ack(wire.SET_VRING_ADDR, front.ringAddr(index, 64, 0)), 1n);
      t.is(backend.device.numberOfQueues, 0);
      for (const request of fdRequests) {
        if (index < 256) t.is(front.ack(request, wire.encodeVringFd(index, true), [front.eventFd()]), 1n);
        else t.is(front.ack(request, wire.encodeU64(BigInt(index) | 0x200n | wire.VRING_NOFD)), 1n);
      }
      t.is(backend.device.numberOfQueues, 0);
      t.regex(backend.complaints, /invalid vring index/);
      front.send(wire.GET_VRING_BASE, wire.encodeVringState({ index, num: 0 }));
      t.true(front.closed, 'a question that has no answer');
    });
  });
}

test('queue sizes: 0, 32769, 65536 never, 3 on a packed ring only; repetition costs nothing', (t) => {
  withMemory(t, (front, backend) => {
    for (const size of [0, 3, 255, 32769, 65536, 0xffffffff]) t.is(front.state(wire.SET_VRING_NUM, 0, size), 1n);
    for (const size of [1, 2, 256, 32768]) t.is(front.state(wire.SET_VRING_NUM, 0, size), 0n);
    for (let i = 0; i < 2000; i++) front.state(wire.SET_VRING_NUM, i & 3, 256);
    t.is((backend.device as GuestDevice).rings.length, 4);
  });
  withMemory(
    t,
    (front) => {
      for (const size of [0, 32769]) t.is(front.state(wire.SET_VRING_NUM, 0, size), 1n);
      for (const size of [1, 3, 255, 1025, 32768]) t.is(front.state(wire.SET_VRING_NUM, 0, size), 0n);
    },
    SUPPORTED_FEATURES,
  );
});

test('addresses: unmapped, misaligned, past the end, overlapping', (t) => {
  withMemory(t, (front, backend) => {
    front.state(wire.SET_VRING_NUM, 0, 256);
    const bad: Partial<wire.VringAddr>[] = [
      { desc: 0n },
      { desc: USER_BASE - 16n },
      { desc: USER_BASE + 8n },
      { avail: USER_BASE + 0x8001n },
      { used: USER_BASE + 0x8002n },
      { used: USER_BASE + (4n << 20n) - 64n },
      { desc: 1n << 60n },
      { desc: 2n ** 64n - 16n },
      { avail: USER_BASE + 16n },
      { used: USER_BASE },
    ];
    for (const change of bad) {
      t.is(front.ack(wire.SET_VRING_ADDR, front.ringAddr(0, 256, 0, false, change)), 1n, Object.keys(change).join());
    }
    t.regex(backend.complaints, /descriptor table of vring 0/);
    t.regex(backend.complaints, /overlap/);
    t.is(front.ack(wire.SET_VRING_ADDR, front.ringAddr(0, 256, 0)), 0n);
  });
});

test('a size raised after the addresses is checked again when the ring starts', (t) => {
  withMemory(t, (front, backend) => {
    const end = (4 << 20) - 8192;
    t.is(front.state(wire.SET_VRING_NUM, 0, 64), 0n);
    t.is(front.ack(wire.SET_VRING_ADDR, front.ringAddr(0, 64, end)), 0n);
    t.is(front.state(wire.SET_VRING_NUM, 0, 32768), 0n);
    t.is(front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(0, true), [front.eventFd()]), 0n);
    t.is(front.state(wire.SET_VRING_ENABLE, 0, 1), 1n);
    t.false(backend.device.isRunning(0));
    t.is(front.state(wire.SET_VRING_ENABLE, 1, 1), 0n, 'later messages are not to blame');
    t.is(front.state(wire.SET_VRING_NUM, 0, 64), 0n);
    t.true(backend.device.isRunning(0), 'and it starts once it can');
  });
});

test('bases: more than 16 bits only on a packed ring', (t) => {
  withMemory(t, (front) => {
    t.is(front.state(wire.SET_VRING_BASE, 0, 65536), 1n);
    t.is(front.state(wire.SET_VRING_BASE, 0, 65535), 0n);
    t.is(front.stop(0), 65535);
  });
  withMemory(
    t,
    (front) => {
      t.is(front.state(wire.SET_VRING_BASE, 0, 0x80018001), 0n);
      t.is(
        front.stop(0),
        0x00018001,
        'without the used wrap counter, which QEMU up to 8.0 takes for a bit of the index',
      );
    },
    SUPPORTED_FEATURES,
  );
});

test('a packed base past the end of the ring does not start it', (t) => {
  withMemory(
    t,
    (front, backend) => {
      front.state(wire.SET_VRING_NUM, 0, 64);
      front.state(wire.SET_VRING_BASE, 0, 64 | 0x8000);
      front.ack(wire.SET_VRING_ADDR, front.ringAddr(0, 64, 0, true));
      front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(0, false));
      t.is(front.state(wire.SET_VRING_ENABLE, 0, 1), 1n);
      t.false(backend.device.isRunning(0));
    },
    SUPPORTED_FEATURES,
  );
});

test('enable: 0 and 1 and nothing else', (t) => {
  withMemory(t, (front) => {
    for (const num of [2, 0xffffffff]) t.is(front.state(wire.SET_VRING_ENABLE, 0, num), 1n);
    for (const num of [0, 1]) t.is(front.state(wire.SET_VRING_ENABLE, 0, num), 0n);
  });
});

test('any order of the messages ends in two running rings', (t) => {
  const steps = (front: RawFrontend): (() => bigint | undefined)[] => [
    () => front.setMemory(),
    ...[0, 1].flatMap((index) => [
      () => front.state(wire.SET_VRING_NUM, index, 64),
      () => front.state(wire.SET_VRING_BASE, index, 0),
      () => front.ack(wire.SET_VRING_ADDR, front.ringAddr(index, 64, index * RING_1)),
      () => front.ack(wire.SET_VRING_CALL, wire.encodeVringFd(index, true), [front.eventFd()]),
      () => front.ack(wire.SET_VRING_ERR, wire.encodeVringFd(index, true), [front.eventFd()]),
      () => front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(index, true), [front.eventFd()]),
      () => front.state(wire.SET_VRING_ENABLE, index, 1),
    ]),
    () => front.ack(wire.SET_FEATURES, wire.encodeU64(SPLIT)),
  ];
  const count = 16;
  fc.assert(
    fc.property(fc.shuffledSubarray([...Array(count).keys()], { minLength: count }), (order) => {
      withFrontend(t, (front, backend) => {
        front.send(wire.SET_PROTOCOL_FEATURES, wire.encodeU64(wire.PROTOCOL_F_REPLY_ACK));
        const all = steps(front);
        // features may not change once a ring runs, and without them rings need no enabling: they come before the kicks
        const features = order.indexOf(15);
        const kick = Math.min(order.indexOf(6), order.indexOf(13));
        if (features > kick) order = [15, ...order.filter((step) => step !== 15)];
        for (const step of order) {
          // a base or size for a ring that runs already is the one refusal that a strange order earns
          const answer = all[step]!();
          if (answer !== 0n && !/cannot change while it is running/.test(backend.complaints)) {
            throw new Error(`step ${step} of ${order.join()}: ${answer}; ${backend.complaints}`);
          }
        }
        if (!backend.device.ready) throw new Error(`not ready after ${order.join()}: ${backend.log.join('\n')}`);
      });
    }),
    { numRuns: 60 },
  );
  t.pass();
});

test('kick twice, call replaced under traffic: the old descriptors are closed, the ring goes on', (t) => {
  withMemory(t, (front, backend) => {
    t.deepEqual(front.startRing(0, 64, 0), OK);
    t.deepEqual(front.startRing(1, 64, RING_1), OK);
    for (let i = 0; i < 100; i++) {
      t.is(front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(0, i % 3 > 0), i % 3 ? [front.eventFd()] : []), 0n);
      t.is(front.ack(wire.SET_VRING_CALL, wire.encodeVringFd(0, i % 3 > 0), i % 3 ? [front.eventFd()] : []), 0n);
    }
    t.true(backend.device.ready);
  });
});

test('descriptors that cannot signal are refused and named', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  for (const [path, flags] of [
    [join(directory, 'f'), 'w+'],
    [directory, 'r'],
    ['/dev/null', 'r+'],
  ] as const) {
    const fd = openSync(path, flags);
    withMemory(t, (front, backend) => {
      for (const request of fdRequests) t.is(front.ack(request, wire.encodeVringFd(0, true), [fd]), 1n);
      t.regex(backend.complaints, /vring 0 got the file .* where an eventfd is expected/);
    });
    closeSync(fd);
  }
  const [near, far] = socketPair();
  withMemory(t, (front, backend) => {
    for (const request of fdRequests) t.is(front.ack(request, wire.encodeVringFd(0, true), [near]), 1n);
    t.regex(backend.complaints, /vring 0 got a socket where an eventfd is expected/);
  });
  [near, far].forEach(closeFd);
});

test('GET_VRING_BASE: twice, on a ring that never ran, on an odd one', (t) => {
  withMemory(t, (front, backend) => {
    t.is(front.stop(3), 0);
    t.is(front.stop(3), 0);
    t.deepEqual(front.startRing(1, 64, RING_1), OK);
    t.is(front.stop(1), 0);
    t.is(front.stop(1), 0);
    t.false(backend.device.isRunning(1));
    t.is(front.state(wire.SET_VRING_ENABLE, 1, 1), 0n);
    t.false(backend.device.isRunning(1), 'it wants a new kick');
    t.is(front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(1, false)), 0n);
    t.true(backend.device.isRunning(1));
  });
});

test('size and base of a running ring stay; new addresses move it', (t) => {
  withMemory(t, (front, backend) => {
    t.deepEqual(front.startRing(0, 64, 0), OK);
    t.is(front.state(wire.SET_VRING_NUM, 0, 128), 1n);
    t.is(front.state(wire.SET_VRING_NUM, 0, 64), 0n, 'the same size is no change');
    t.is(front.state(wire.SET_VRING_BASE, 0, 5), 1n);
    t.is(front.ack(wire.SET_VRING_ADDR, front.ringAddr(0, 64, 0)), 0n);
    t.is(front.ack(wire.SET_VRING_ADDR, front.ringAddr(0, 64, 2 * RING_1)), 0n);
    t.true(backend.device.isRunning(0));
    t.is(front.ack(wire.SET_VRING_ADDR, front.ringAddr(0, 64, 0, false, { used: 0n })), 1n);
    t.true(backend.device.isRunning(0), 'and stays where it was when they are wrong');
  });
});

test('a used index that is not the base: the ring goes on at the used index, and the log says so', (t) => {
  withMemory(t, (front, backend) => {
    const { u16 } = viewsOf(front.memory);
    const used = 8192;
    const addr = { used: USER_BASE + BigInt(used) };
    u16[used / 2 + 1] = 40;
    front.state(wire.SET_VRING_NUM, 0, 64);
    front.state(wire.SET_VRING_BASE, 0, 0);
    front.ack(wire.SET_VRING_ADDR, front.ringAddr(0, 64, 0, false, addr));
    front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(0, false));
    t.is(front.state(wire.SET_VRING_ENABLE, 0, 1), 0n);
    t.regex(backend.complaints, /last_used_idx \(0\) and vq->used->idx \(40\) mismatches;/);
    t.regex(backend.complaints, /some packets maybe resent for Tx and dropped for Rx/);
    t.is(front.stop(0), 40);
  });
});

test('features: only what was offered, and not while a ring runs', (t) => {
  withMemory(t, (front, backend) => {
    for (const bits of [VHOST_F_LOG_ALL, 1n << 63n, 2n ** 64n - 1n]) {
      t.is(front.ack(wire.SET_FEATURES, wire.encodeU64(bits)), 1n);
    }
    t.regex(backend.complaints, /received invalid negotiated features/);
    t.is(front.ack(wire.SET_FEATURES, wire.encodeU64(SPLIT)), 0n);
    front.startRing(0, 64, 0);
    t.is(front.ack(wire.SET_FEATURES, wire.encodeU64(SPLIT)), 0n, 'the same again');
    t.is(front.ack(wire.SET_FEATURES, wire.encodeU64(SPLIT & ~VIRTIO_NET_F_MQ)), 1n);
    t.regex(backend.complaints, /features changed while device is running/);
  });
});

test('protocol features: only what was offered; in-band notifications without their needs end the session', (t) => {
  withFrontend(t, (front) => {
    front.negotiate(SPLIT);
    t.is(front.ack(wire.SET_PROTOCOL_FEATURES, wire.encodeU64(wire.PROTOCOL_F_CONFIG)), 1n);
    t.is(front.ack(wire.SET_PROTOCOL_FEATURES, wire.encodeU64(1n << 40n)), 1n);
    t.is(front.get(wire.GET_PROTOCOL_FEATURES), SUPPORTED_PROTOCOL_FEATURES);
    t.is(front.ack(wire.SET_PROTOCOL_FEATURES, wire.encodeU64(wire.PROTOCOL_F_INBAND_NOTIFICATIONS)), undefined);
    t.true(front.closed);
  });
});

test('without PROTOCOL_FEATURES a ring is enabled by its kick', (t) => {
  withMemory(
    t,
    (front, backend) => {
      for (const index of [0, 1]) {
        front.state(wire.SET_VRING_NUM, index, 64);
        front.ack(wire.SET_VRING_ADDR, front.ringAddr(index, 64, index * RING_1));
        t.false(backend.device.isRunning(index));
        t.is(front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(index, false)), 0n);
        t.true(backend.device.isRunning(index));
      }
      t.true(backend.device.ready);
    },
    SPLIT & ~VHOST_USER_F_PROTOCOL_FEATURES,
  );
});

test('status: kept as written, 0 resets, rings wait for DRIVER_OK', (t) => {
  withFrontend(t, (front, backend) => {
    front.negotiate(SPLIT, wire.PROTOCOL_F_REPLY_ACK | wire.PROTOCOL_F_STATUS);
    front.setMemory();
    const status = (value: bigint) => front.ack(wire.SET_STATUS, wire.encodeU64(value));
    for (const value of [1n, 3n, 0xbn, 0x80n, 0x40n, 3n]) {
      t.is(status(value), 0n);
      t.is(front.get(wire.GET_STATUS), value);
    }
    t.is(status(0x100n), 1n);
    t.is(front.get(wire.GET_STATUS), 3n);
    t.is(front.ack(wire.SET_FEATURES, wire.encodeU64(1n << 63n)), 1n);
    t.is(status(0xbn), 0n);
    t.is(front.get(wire.GET_STATUS), 3n, 'FEATURES_OK does not stick after refused features');
    t.is(front.ack(wire.SET_FEATURES, wire.encodeU64(SPLIT)), 0n);
    t.is(status(0xbn), 0n);
    t.deepEqual(front.startRing(0, 64, 0), OK);
    t.deepEqual(front.startRing(1, 64, RING_1), OK);
    t.false(backend.device.ready);
    t.is(status(0xfn), 0n);
    t.true(backend.device.ready);
    t.is(status(0n), 0n);
    t.false(backend.device.ready);
    t.is(status(0xfn), 0n);
    t.false(backend.device.ready, 'a reset ring needs its kick again');
  });
});

for (const packed of [false, true]) {
  test(`status 0 before GET_VRING_BASE, as QEMU 7.2 sends them, and behind it: the position is told (${packed ? 'packed' : 'split'})`, (t) => {
    withFrontend(t, (front, backend) => {
      const features = packed ? SUPPORTED_FEATURES : SPLIT;
      front.negotiate(features, wire.PROTOCOL_F_REPLY_ACK | wire.PROTOCOL_F_STATUS);
      front.setMemory();
      const status = (value: bigint) => front.ack(wire.SET_STATUS, wire.encodeU64(value));
      const start = (base: number) => {
        front.state(wire.SET_VRING_NUM, 1, 64);
        front.state(wire.SET_VRING_BASE, 1, base);
        front.ack(wire.SET_VRING_ADDR, front.ringAddr(1, 64, RING_1, packed));
        front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(1, true), [front.eventFd()]);
        front.state(wire.SET_VRING_ENABLE, 1, 1);
        t.is(status(0xfn), 0n);
        t.true(backend.device.isRunning(1));
      };
      const views = viewsOf(front.memory);
      if (!packed) {
        // a split ring's position is its used index
        views.u16[(RING_1 + splitLayout(64).device) / 2 + 1] = 7;
        start(7);
      } else {
        // seven descriptors used in the lap with counter 1, none available
        for (let i = 0; i < 7; i++) views.u16[(RING_1 + i * 16 + 14) / 2] = 0x8080;
        start(0x8007);
      }
      const expected = packed ? 0x00078007 : 7;
      t.is(status(0n), 0n);
      t.false(backend.device.isRunning(1));
      t.is(front.stop(1), expected);
      start(expected);
      t.is(front.stop(1), expected);
      t.is(status(0n), 0n);
      start(expected);
      t.is(front.stop(1), expected);
    });
  });
}

test('a packed ring whose back-end died goes on where its descriptors say, one that contradicts itself says so', (t) => {
  withFrontend(t, (front, backend) => {
    front.negotiate(SUPPORTED_FEATURES, wire.PROTOCOL_F_REPLY_ACK);
    front.setMemory();
    const { u16 } = viewsOf(front.memory);
    const flags = (ring: number, slot: number, value: number) => (u16[(ring + slot * 16 + 14) / 2] = value);
    // the third lap (counter 1): nine used, the others still from the second
    for (let i = 0; i < 64; i++) flags(RING_1, i, i < 9 ? 0x8080 : 0);
    t.deepEqual(front.startRing(1, 64, RING_1, true), OK);
    t.regex(backend.complaints, /vring 1 goes on at 9 \(wrap counter 1\).*and not at 0 \(wrap counter 1\)/);
    t.is(front.stop(1), 0x00098009);
    // the same ring, which was ours: what is told now counts
    for (let i = 0; i < 64; i++) flags(RING_1, i, 0);
    t.deepEqual(front.startRing(1, 64, RING_1, true), OK);
    t.is(front.stop(1), 0x00008000);
    // used and available ones alternate from the start
    for (let i = 0; i < 64; i++) flags(0, i, i % 2 === 0 ? 0x8080 : 0x8000);
    t.deepEqual(front.startRing(0, 64, 0, true), OK, 'the connection goes on');
    backend.driver.poll();
    t.regex(backend.complaints, /vring 0 is given up: its descriptors contradict the position 0/);
  });
});

test('packets that QEMU dropped with the wrong wrap counter are used when the ring goes on, and the guest is told', (t) => {
  // in the lap with counter 1, and over its end
  for (const left of [10, 62]) {
    withFrontend(t, (front) => {
      front.negotiate(SUPPORTED_FEATURES, wire.PROTOCOL_F_REPLY_ACK);
      front.setMemory();
      const { u16 } = viewsOf(front.memory);
      const flags = (slot: number) => (RING_1 + (slot % 64) * 16 + 14) / 2;
      const counter = (slot: number) => (slot < 64 ? 1 : 0);
      // up to `left` used in this lap, then four available: one, a list of two, one
      for (let i = 0; i < 64; i++) u16[flags(left + i)] = counter(left + i) ? 0 : 0x8080;
      for (let i = 0; i < 4; i++) u16[flags(left + i)] = counter(left + i) ? 0x80 : 0x8000;
      u16[flags(left + 1)]! |= 1;
      const call = front.eventFd();
      const start = (base: number) => {
        front.state(wire.SET_VRING_NUM, 1, 64);
        front.state(wire.SET_VRING_BASE, 1, base);
        front.ack(wire.SET_VRING_ADDR, front.ringAddr(1, 64, RING_1, true));
        front.ack(wire.SET_VRING_CALL, wire.encodeVringFd(1, true), [call]);
        front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(1, true), [front.eventFd()]);
        front.state(wire.SET_VRING_ENABLE, 1, 1);
      };
      start(0x8000 | left);
      counterOf(call);
      t.is(front.stop(1), (left << 16) | 0x8000 | left);
      // dropped: the first two buffers, marked in their first descriptors
      for (const slot of [left, left + 1]) u16[flags(slot)] = counter(slot) ? 0 : 0x8080;
      const next = left + 3;
      start(next < 64 ? 0x8000 | next : next - 64);
      const used = (slot: number) => (u16[flags(slot)]! & 0x8080) === (counter(slot) ? 0x8080 : 0);
      t.deepEqual([left, left + 1, left + 2, left + 3].map(used), [true, true, false, false]);
      t.is(counterOf(call), 1);
    });
  }
});

/** A ring of 64 in its second lap from slot 62 on: `passed` available ones, two that are used, one that is available. */
function passOver(front: RawFrontend, ring: number, passed: number, direction: number): void {
  const { u16 } = viewsOf(front.memory);
  for (let i = 0; i < 64; i++) {
    const slot = (62 + i) % 64;
    const counter = slot < 62 ? 1 : 0; // the lap of counter 0 ends at slot 63
    const available = counter ? 0x80 : 0x8000;
    const used = counter ? 0x8080 : 0;
    const before = counter ? 0 : 0x8080;
    const at = (ring + slot * 16) / 2;
    u16[at + 6] = 100 + slot; // id
    u16[at + 7] = (i < passed || i === passed + 2 ? available : i < passed + 2 ? used : before) | direction;
  }
}

const counterOf = (fd: number) => {
  const counter = new BigUint64Array(1);
  return readSync(fd, counter) === 8 ? Number(counter[0]) : 0;
};

test('a packed ring whose back-end died within a burst, or whose packets QEMU dropped meanwhile: what was passed over is used', (t) => {
  for (const [index, passed] of [
    [0, 1],
    [1, 1],
    [1, 5],
  ] as const) {
    withFrontend(t, (front, backend) => {
      front.negotiate(SUPPORTED_FEATURES, wire.PROTOCOL_F_REPLY_ACK);
      front.setMemory();
      const ring = index * RING_1;
      passOver(front, ring, passed, index === 0 ? 2 : 0);
      const call = front.eventFd();
      front.state(wire.SET_VRING_NUM, index, 64);
      front.state(wire.SET_VRING_BASE, index, 0x8002); // of a new ring, and two that QEMU dropped
      front.ack(wire.SET_VRING_ADDR, front.ringAddr(index, 64, ring, true));
      front.ack(wire.SET_VRING_CALL, wire.encodeVringFd(index, true), [call]);
      front.ack(wire.SET_VRING_KICK, wire.encodeVringFd(index, true), [front.eventFd()]);
      front.state(wire.SET_VRING_ENABLE, index, 1);
      const { u16 } = viewsOf(front.memory);
      for (let i = 0; i < passed; i++) {
        const slot = (62 + i) % 64;
        const at = (ring + slot * 16) / 2;
        t.deepEqual([u16[at + 6], u16[at + 7]! & 0x8080], [100 + slot, slot < 62 ? 0x8080 : 0], `slot ${slot}`);
      }
      t.is(counterOf(call), 1, 'the guest is told: whoever used the rest did not');
      const next = passed; // (62 + passed + 2) % 64
      t.regex(
        backend.complaints,
        new RegExp(`vring ${index} goes on at ${next} .wrap counter 1., where its descriptors`),
      );
      t.is(front.stop(index), 0x8000 | next | (next << 16));
    });
  }
});

test('receive buffers that were passed over, more than one: nobody knows their lengths', (t) => {
  withFrontend(t, (front, backend) => {
    front.negotiate(SUPPORTED_FEATURES, wire.PROTOCOL_F_REPLY_ACK);
    front.setMemory();
    passOver(front, 0, 2, 2);
    t.deepEqual(front.startRing(0, 64, 0, true), OK);
    backend.driver.poll();
    t.regex(backend.complaints, /vring 0 is given up: its descriptors contradict the position 0/);
  });
});

test('RESET_OWNER stops the rings and keeps the session', (t) => {
  withMemory(t, (front, backend) => {
    front.startRing(0, 64, 0);
    front.startRing(1, 64, RING_1);
    t.is(front.ack(wire.RESET_OWNER), 0n);
    t.false(backend.device.ready);
    t.deepEqual(backend.events.slice(-3), ['ring 0 off', 'ring 1 off', 'destroy']);
    t.is(front.get(wire.GET_FEATURES), SUPPORTED_FEATURES);
  });
});

test('further queue pairs come and go without the first', (t) => {
  withMemory(t, (front, backend) => {
    front.startRing(0, 64, 0);
    front.startRing(1, 64, RING_1);
    t.is(backend.device.numberOfQueues, 2);
    t.deepEqual(front.startRing(2, 64, 2 * RING_1), OK);
    t.deepEqual(front.startRing(3, 64, 3 * RING_1), OK);
    t.is(backend.device.numberOfQueues, 4);
    const events = backend.events.length;
    t.is(front.state(wire.SET_VRING_ENABLE, 2, 0), 0n);
    t.is(front.state(wire.SET_VRING_ENABLE, 3, 0), 0n);
    front.stop(3);
    t.deepEqual(backend.events.slice(events), ['ring 2 off', 'ring 3 off']);
    t.true(backend.device.ready);
  });
});
