/** Every request with every wrong size and number of descriptors, and what wire/vhost-user says about each. */
import test from 'ava';
import fc from 'fast-check';
import * as wire from '../../../driver/wire/vhost-user.js';
import { withFrontend } from './support/raw-frontend.js';

/** A well-formed payload for a request. */
function payloadOf(request: number): Uint8Array {
  const { size } = wire.requestInfo(request)!;
  if (size === 'memory') {
    return wire.encodeMemoryTable([{ guestAddr: 0n, userAddr: 0n, size: 4096n, mmapOffset: 0n }]);
  }
  if (size === 'config') return wire.encodeConfig({ offset: 0, flags: 0, data: new Uint8Array(6) });
  return new Uint8Array(size === 'any' ? 24 : size);
}

/** How many descriptors belong to that payload: the fewest, the most. */
function fdsOf(request: number): [number, number] {
  const { fds } = wire.requestInfo(request)!;
  if (fds === 'optional') return [0, 1];
  if (fds === 'regions' || fds === 'vring') return [1, 1];
  return [fds, fds];
}

const requests = Array.from({ length: 40 }, (_, i) => i + 1);

for (const request of requests) {
  const name = wire.requestName(request);
  const [fewest, most] = fdsOf(request);

  test(`${name}: wrong payload sizes end the session`, (t) => {
    if (wire.requestInfo(request)!.size === 'any') {
      t.pass();
      return;
    }
    const right = payloadOf(request);
    for (const size of new Set([0, 1, right.length - 1, right.length + 1, right.length + 8, wire.MAX_MESSAGE])) {
      if (size < 0 || size === right.length) continue;
      withFrontend(t, (front, backend) => {
        const payload = new Uint8Array(size);
        payload.set(right.subarray(0, Math.min(size, right.length)));
        front.send(request, payload, new Array<number>(fewest).fill(front.eventFd()));
        t.true(front.closed, `${size} bytes`);
        t.regex(backend.complaints, new RegExp(name));
      });
    }
  });

  test(`${name}: wrong numbers of descriptors end the session`, (t) => {
    for (const count of [0, 1, 2, 3, 8]) {
      if (count >= fewest && count <= most) continue;
      withFrontend(t, (front, backend) => {
        front.send(request, payloadOf(request), new Array<number>(count).fill(front.eventFd()));
        t.true(front.closed, `${count} descriptors`);
        t.regex(backend.complaints, new RegExp(`expect \\d FDs for request ${name}, received ${count}`));
      });
    }
  });
}

test('a "no descriptor" bit with a descriptor, and the other way round, end the session', (t) => {
  for (const request of [wire.SET_VRING_KICK, wire.SET_VRING_CALL, wire.SET_VRING_ERR]) {
    withFrontend(t, (front) => {
      front.send(request, wire.encodeVringFd(0, false), [front.eventFd()]);
      t.true(front.closed);
    });
    withFrontend(t, (front) => {
      front.send(request, wire.encodeVringFd(0, true));
      t.true(front.closed);
    });
  }
});

test('unknown requests: ignored, descriptors closed; answered non-zero when an answer is wanted', (t) => {
  for (const request of [0, 41, 44, 100, 0x80000000, 0xffffffff]) {
    withFrontend(t, (front, backend) => {
      t.is(front.send(request, new Uint8Array(5), [front.eventFd(), front.eventFd()]), undefined);
      t.false(front.closed);
      t.regex(backend.complaints, /is unknown and was ignored/);
      front.negotiate(0n);
      t.is(front.ack(request), 1n);
    });
  }
});

test('requests of features that were not negotiated are refused', (t) => {
  for (const request of requests) {
    const offered = new Set([
      ...[wire.GET_FEATURES, wire.SET_FEATURES, wire.SET_OWNER, wire.RESET_OWNER, wire.SET_MEM_TABLE],
      ...[wire.SET_VRING_NUM, wire.SET_VRING_ADDR, wire.SET_VRING_BASE, wire.GET_VRING_BASE, wire.SET_VRING_ENABLE],
      ...[wire.SET_VRING_KICK, wire.SET_VRING_CALL, wire.SET_VRING_ERR, wire.GET_QUEUE_NUM],
      ...[wire.GET_PROTOCOL_FEATURES, wire.SET_PROTOCOL_FEATURES],
    ]);
    if (offered.has(request)) continue;
    withFrontend(t, (front) => {
      front.negotiate(0n);
      const fds = new Array<number>(fdsOf(request)[0]).fill(front.eventFd());
      t.is(front.ack(request, payloadOf(request), fds), 1n, wire.requestName(request));
      t.false(front.closed);
    });
    withFrontend(t, (front) => {
      front.send(request, payloadOf(request), new Array<number>(fdsOf(request)[0]).fill(front.eventFd()));
      t.true(front.closed, `${wire.requestName(request)} without a way to answer`);
    });
  }
});

test('NEED_REPLY is honoured only once REPLY_ACK is negotiated', (t) => {
  withFrontend(t, (front) => {
    t.is(front.ack(wire.SET_OWNER), undefined);
    t.false(front.closed);
    front.negotiate(0n);
    t.is(front.ack(wire.SET_OWNER), 0n);
  });
});

test('a request with a reply of its own gets one reply, NEED_REPLY or not', (t) => {
  withFrontend(t, (front) => {
    front.negotiate(0n);
    t.is(front.ack(wire.GET_QUEUE_NUM), 1n);
    t.is(front.turn(), undefined);
  });
});

test('random bytes never crash the back-end', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.integer({ min: 0, max: 45 }), (bytes, request) => {
      withFrontend(t, (front) => {
        front.negotiate(0n);
        if (!front.closed)
          front.send(request, bytes.slice(0, wire.requestInfo(request) ? payloadOf(request).length : 9));
        if (!front.closed) front.sendBytes(bytes);
        front.turn();
      });
    }),
    { numRuns: 60 },
  );
  t.pass();
});

test('what is encoded is what is decoded', (t) => {
  const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  const u32 = fc.integer({ min: 0, max: 0xffffffff });
  const region = fc.record({ guestAddr: u64, size: u64, userAddr: u64, mmapOffset: u64 });
  fc.assert(
    fc.property(
      fc.array(region, { maxLength: 8 }),
      fc.record({ index: u32, flags: u32, desc: u64, used: u64, avail: u64, log: u64 }),
      fc.record({ index: u32, num: u32 }),
      (regions, addr, state) => {
        t.deepEqual(wire.decodeMemoryTable(wire.encodeMemoryTable(regions)), regions);
        t.deepEqual(wire.decodeVringAddr(wire.encodeVringAddr(addr)), addr);
        t.deepEqual(wire.decodeVringState(wire.encodeVringState(state)), state);
        if (regions[0]) t.deepEqual(wire.decodeSingleRegion(wire.encodeSingleRegion(regions[0])), regions[0]);
      },
    ),
  );
  const config = { offset: 3, flags: 1, data: Uint8Array.of(1, 2, 3) };
  t.deepEqual(wire.decodeConfig(wire.encodeConfig(config)), config);
});
