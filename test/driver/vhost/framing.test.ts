/** Messages out of a stream: cut anywhere, glued together, cut short, too long; and the descriptors that come with them. */
import test from 'ava';
import fc from 'fast-check';
import { MessageChannel } from '../../../driver/wire/channel.js';
import * as wire from '../../../driver/wire/vhost-user.js';
import { createEventFd } from '../../../native/event.js';
import { closeFd } from '../../../native/region.js';
import { sendWithFds, socketPair } from '../../../native/socket.js';
import { openFds, withFrontend } from './support/raw-frontend.js';

/** A channel and the raw socket at its other end; both closed afterwards, and no descriptor may be left over. */
function withChannel(
  assertSame: (left: number, right: number, message: string) => void,
  body: (channel: MessageChannel, far: number) => void,
) {
  const before = openFds();
  const [near, far] = socketPair();
  const channel = new MessageChannel(near);
  try {
    body(channel, far);
  } finally {
    channel.close();
    channel.close(); // idempotent
    closeFd(far);
  }
  assertSame(openFds(), before, 'no descriptor is left');
}

const message = wire.encodeMessage(wire.SET_FEATURES, wire.VERSION, wire.encodeU64(0x123456789abcn));

test('one byte at a time is one message', (t) => {
  withChannel(
    (a, b, text) => void t.is(a, b, text),
    (channel, far) => {
      for (const byte of message) {
        t.is(channel.receive(), undefined);
        sendWithFds(far, Uint8Array.of(byte));
      }
      const received = channel.receive()!;
      t.is(received.request, wire.SET_FEATURES);
      t.is(wire.decodeU64(received.payload), 0x123456789abcn);
      t.is(channel.receive(), undefined);
      t.is(channel.ended, undefined);
    },
  );
});

test('many messages in one segment come out one by one, whatever the cuts', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ request: fc.integer({ min: 1, max: 40 }), size: fc.integer({ min: 0, max: 300 }) }), {
        minLength: 1,
        maxLength: 12,
      }),
      fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1 }),
      (messages, cuts) => {
        withChannel(
          (a, b) => {
            if (a !== b) throw new Error(`${a} descriptors instead of ${b}`);
          },
          (channel, far) => {
            const bytes = Buffer.concat(
              messages.map(({ request, size }, i) =>
                wire.encodeMessage(request, wire.VERSION, new Uint8Array(size).fill(i)),
              ),
            );
            const out: wire.Message[] = [];
            const drain = () => {
              for (let m = channel.receive(); m !== undefined; m = channel.receive()) out.push(m);
            };
            for (let at = 0, i = 0; at < bytes.length; i++) {
              const cut = cuts[i % cuts.length]!;
              sendWithFds(far, new Uint8Array(bytes.subarray(at, at + cut)));
              at += cut;
              if (i % 3 === 0) drain();
            }
            drain();
            if (out.length !== messages.length) throw new Error(`${out.length} of ${messages.length} messages`);
            out.forEach((m, i) => {
              const { request, size } = messages[i]!;
              if (m.request !== request || m.payload.length !== size || !m.payload.every((byte) => byte === i)) {
                throw new Error(`message ${i} differs`);
              }
            });
          },
        );
      },
    ),
    { numRuns: 60 },
  );
  t.pass();
});

for (const cut of [1, 5, 11, 12, 13, 19]) {
  test(`descriptors attached to the fragment from byte ${cut} on belong to that message alone`, (t) => {
    withChannel(
      (a, b, text) => void t.is(a, b, text),
      (channel, far) => {
        const fd = createEventFd();
        sendWithFds(far, message); // one before, without
        sendWithFds(far, message.slice(0, cut));
        sendWithFds(far, message.slice(cut), [fd]);
        sendWithFds(far, message); // and one behind
        closeFd(fd);
        t.deepEqual(channel.receive()!.fds, []);
        const { fds } = channel.receive()!;
        t.is(fds.length, 1);
        t.deepEqual(channel.receive()!.fds, []);
        fds.forEach(closeFd);
      },
    );
  });
}

test('the peer closes after k bytes: quietly for 0, with the number of bytes else', (t) => {
  for (let k = 0; k < message.length; k++) {
    const [near, far] = socketPair();
    const channel = new MessageChannel(near);
    if (k > 0) sendWithFds(far, message.slice(0, k));
    closeFd(far);
    t.is(channel.receive(), undefined);
    if (k === 0) t.is(channel.ended, '');
    else if (k < 12) t.regex(channel.ended!, new RegExp(`short header of ${k} bytes`));
    else t.regex(channel.ended!, new RegExp(`after ${k - 12} of 8 bytes of SET_FEATURES`));
    channel.close();
  }
});

test('descriptors of a message that never becomes whole are closed', (t) => {
  withChannel(
    (a, b, text) => void t.is(a, b, text),
    (channel, far) => {
      const fd = createEventFd();
      sendWithFds(far, message.slice(0, 15), [fd, fd]);
      closeFd(fd);
      t.is(channel.receive(), undefined);
      t.is(channel.ended, undefined);
    },
  );
});

for (const size of [wire.MAX_MESSAGE + 1, 65536, 0x7fffffff, 0xffffffff]) {
  test(`a payload of ${size} bytes is refused by its header alone`, (t) => {
    withFrontend(t, (front, backend) => {
      const header = wire.encodeMessage(wire.SET_MEM_TABLE, wire.VERSION);
      new DataView(header.buffer).setUint32(8, size, true);
      front.sendBytes(header);
      t.true(front.closed);
      t.regex(backend.complaints, new RegExp(`invalid msg size: ${size} bytes`));
    });
  });
}

for (const version of [0, 2, 3]) {
  test(`protocol version ${version} ends the session`, (t) => {
    withFrontend(t, (front, backend) => {
      front.send(wire.GET_FEATURES, undefined, [], version);
      t.true(front.closed);
      t.regex(backend.complaints, /only version 1 exists/);
    });
  });
}

test('a request marked as a reply ends the session; reserved flags only draw a warning', (t) => {
  withFrontend(t, (front) => {
    front.send(wire.GET_FEATURES, undefined, [], wire.REPLY_FLAGS);
    t.true(front.closed);
  });
  withFrontend(t, (front, backend) => {
    t.truthy(front.send(wire.GET_FEATURES, undefined, [], wire.VERSION | 0xfffffff0));
    t.false(front.closed);
    t.regex(backend.complaints, /unknown flags 0xfffffff0/);
  });
});

for (const count of [1, 8, 9, 32, 40]) {
  test(`${count} descriptors on a message that takes none: all closed, session ended`, (t) => {
    withFrontend(t, (front, backend) => {
      const fd = front.eventFd();
      front.send(wire.GET_FEATURES, undefined, new Array<number>(count).fill(fd));
      t.true(front.closed);
      t.regex(backend.complaints, /expect 0 FDs for request GET_FEATURES|more than 8 file descriptors/);
    });
  });
}

test('a front-end that never reads its replies is dropped once its socket is full, and nobody waits for it', (t) => {
  withFrontend(t, (front, backend) => {
    const request = wire.encodeMessage(wire.GET_FEATURES, wire.VERSION);
    for (let i = 0; i < 5000 && backend.driver.devices.length > 0; i++) {
      try {
        front.sendBytes(request);
      } catch {
        break;
      }
      backend.driver.poll();
    }
    t.is(backend.driver.devices.length, 0);
    t.regex(backend.complaints, /has not read its socket/);
  });
});
