/** A back-end that misbehaves during the handshake: each fault ends in one clear error, and nothing leaks. */
import test from 'ava';
import { isVirtioPmdError } from '../../../../native/errors.js';
import * as V from '../../../../driver/wire/vhost-user.js';
import { openFds, settledFds, RAW_FEATURES, until, type BadReply, type Script } from '../../../support/raw-backend.js';
import { bench, type Bench } from '../support/raw-port.js';
import * as F from '../../../../driver/wire/virtio-features.js';

/** Attach, configure and start; closes the port. @returns the error that came, if one did */
async function session(b: Bench, replyTimeoutMs = 5000): Promise<unknown> {
  let port;
  try {
    port = await b.attach(',reconnect=0', { replyTimeoutMs });
    port.configure({ mempool: b.mempool });
    port.start();
    return undefined;
  } catch (error) {
    return error;
  } finally {
    port?.close();
  }
}

/** Messages from SET_OWNER to the last SET_STATUS of one pair. */
const HANDSHAKE = 22;

test.serial(
  'a back-end that closes at any message of the handshake: EPEER, descriptors and mbufs are all back',
  async (t) => {
    const b = bench(t);
    const scripts: Script[] = Array.from({ length: HANDSHAKE }, (_, closeAt) => ({ closeAt }));
    const backend = await b.backend({ scripts: [{}, ...scripts, {}] });
    t.is(await session(b), undefined); // makes what is made once
    await until(() => backend.trace(0).includes('SET_STATUS 0'), 'the first session is over');
    const baseline = await settledFds();
    for (let closeAt = 0; closeAt < HANDSHAKE; closeAt++) {
      const error = await session(b);
      // the last message of attach has no reply, so that its loss is noticed later, or on the next message
      t.true(error === undefined || isVirtioPmdError(error, 'EPEER'), `message ${closeAt}: ${String(error)}`);
      if (closeAt !== 0 && closeAt !== 3) t.truthy(error, `message ${closeAt}`);
      await until(() => openFds() === baseline, `descriptors are closed after message ${closeAt}`);
      t.deepEqual(b.eal.leaks(), []);
    }
    t.is(await session(b), undefined);
  },
);

const kinds: [BadReply, RegExp][] = [
  ['other request', /is for/],
  ['no reply bit', /flags 0x1 instead of 0x5/],
  ['wrong version', /version 2/],
  ['too short', /4 bytes instead of 8/],
  ['too long', /16 bytes instead of 8/],
  ['half', /closed/],
];
const replied: [string, number][] = [
  ['GET_FEATURES', V.GET_FEATURES],
  ['GET_PROTOCOL_FEATURES', V.GET_PROTOCOL_FEATURES],
  ['SET_VRING_CALL', V.SET_VRING_CALL],
  ['GET_STATUS', V.GET_STATUS],
  ['SET_MEM_TABLE', V.SET_MEM_TABLE],
];
for (const [name, request] of replied) {
  test.serial(`a wrong reply to ${name}: id, flags, version, size, or half of it`, async (t) => {
    const b = bench(t);
    const scripts = kinds.map(([how]) => ({ badReply: { to: request, how } }));
    await b.backend({ scripts });
    for (const [how, message] of kinds) {
      const error = await session(b);
      t.true(isVirtioPmdError(error, 'EPEER'), `${how}: ${String(error)}`);
      t.regex(String(error), message, how);
      t.regex(String(error), new RegExp(name), how);
    }
    t.deepEqual(b.eal.leaks(), []);
  });
}

test.serial('descriptors on a reply that has none are closed, with a warning, and the session goes on', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ scripts: [{}, { badReply: { to: V.GET_FEATURES, how: 'fds' } }] });
  t.is(await session(b), undefined);
  await until(() => backend.trace(0).includes('SET_STATUS 0'), 'the first session is over');
  const baseline = await settledFds();
  t.is(await session(b), undefined);
  t.true(b.lines.some((line) => /^warning 1 file descriptors came with the reply to GET_FEATURES/.test(line)));
  await until(() => openFds() === baseline, 'descriptors are closed');
});

for (const [name, request] of [...replied, ['SET_STATUS', V.SET_STATUS] as const]) {
  test.serial(`no reply to ${name}: a time-out that names it`, async (t) => {
    const b = bench(t);
    await b.backend({ scripts: [{ ignore: request }] });
    const error = await session(b, 100);
    t.true(isVirtioPmdError(error, 'ETIMEOUT'), String(error));
    t.regex(String(error), new RegExp(`did not answer ${name} within 100 ms`));
  });
}

const commands: [string, number][] = [
  ['SET_VRING_CALL', V.SET_VRING_CALL],
  ['SET_FEATURES', V.SET_FEATURES],
  ['SET_STATUS', V.SET_STATUS],
  ['SET_MEM_TABLE', V.SET_MEM_TABLE],
  ['SET_VRING_NUM', V.SET_VRING_NUM],
  ['SET_VRING_BASE', V.SET_VRING_BASE],
  ['SET_VRING_ADDR', V.SET_VRING_ADDR],
  ['SET_VRING_KICK', V.SET_VRING_KICK],
  ['SET_VRING_ENABLE', V.SET_VRING_ENABLE],
];
test.serial('a refusal of any command names the command and the answer, and the same port can try again', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ scripts: [...commands.map(([, refuse]) => ({ refuse })), {}] });
  for (const [name] of commands) {
    const error = await session(b);
    t.true(isVirtioPmdError(error, 'EPEER'), `${name}: ${String(error)}`);
    t.regex(String(error), new RegExp(`refused ${name}: it answered 1`));
  }
  t.is(await session(b), undefined);
  // FAILED reaches a back-end that listens to the status
  t.true(
    backend.trace(commands.findIndex(([name]) => name === 'SET_MEM_TABLE')).some((line) => line === 'SET_STATUS 139'),
  );
});

test.serial('a back-end that clears FEATURES_OK, asks for a reset, or says more than a byte', async (t) => {
  const b = bench(t);
  const cases: [NonNullable<Script['status']>, RegExp][] = [
    ['without FEATURES_OK', /Failed to set FEATURES_OK status!/],
    ['with NEEDS_RESET', /asks for a reset/],
    ['more than a byte', /GET_STATUS is 0x10b, more than a byte/],
  ];
  await b.backend({ scripts: cases.map(([status]) => ({ status })) });
  for (const [status, message] of cases) {
    const error = await session(b);
    t.true(isVirtioPmdError(error, 'EPEER'), `${status}: ${String(error)}`);
    t.regex(String(error), message);
  }
});

test.serial('an offer of nothing but unknown bits works as far as a legacy device does', async (t) => {
  const b = bench(t);
  await b.backend({ scripts: [{ features: (1n << 50n) | (1n << 63n) }, { features: 0n }] });
  t.is(await session(b), undefined);
  t.is(await session(b), undefined);
});

test.serial('an offer of every bit is narrowed to what we know', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ scripts: [{ features: (1n << 64n) - 1n }] });
  t.is(await session(b), undefined);
  const { payload } = backend.messages().find(({ request }) => request === V.SET_FEATURES)!;
  t.is(V.decodeU64(payload) & ~(RAW_FEATURES | F.VIRTIO_F_ORDER_PLATFORM | F.VIRTIO_F_NOTIFICATION_DATA), 0n);
});

test.serial('a message that nobody asked for ends the connection instead of hiding its end', async (t) => {
  const b = bench(t);
  await b.backend({ scripts: [{ babbleAfter: V.SET_VRING_ENABLE }, {}] });
  const error = await session(b);
  t.true(isVirtioPmdError(error, 'EPEER'));
  t.regex(String(error), /request 99/);
});
