/** A back-end that takes its time, or never answers: nothing waits for it, one deadline, and another attempt by itself. */
import test from 'ava';
import type { Port } from '../../../../driver/port/port.js';
import * as V from '../../../../driver/wire/vhost-user.js';
import { openFds, settledFds, until, type Script } from '../../../support/raw-backend.js';
import { bench } from '../support/raw-port.js';

/** Counts turns of the event loop. */
function ticker() {
  let ticks = 0;
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    ticks++;
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 10);
  return {
    get ticks() {
      return ticks;
    },
    /** The longest time without a turn, in milliseconds. */
    get longest() {
      return longest;
    },
    end: () => clearInterval(timer),
  };
}

const isUp = (port: Port) => port.link.up;

/** Messages from SET_OWNER to the last SET_STATUS of one pair; 0 and 3 are not answered by anybody. */
const HANDSHAKE = 22;
const ATTACH = 4;

test.serial(
  'every answer after 1.5 s: attach, configure, start and close block nothing, and the link comes up',
  async (t) => {
    const b = bench(t);
    const backend = await b.backend({ scripts: [{ delayMs: 1500 }, {}] });
    const clock = ticker();
    const port = await b.attach();
    t.true(clock.ticks > 30, `${clock.ticks} turns during attach`);
    const links: string[] = [];
    port.on('link', (link, why) => links.push(`${link.up ? 'up' : 'down'}: ${why}`));
    port.configure({ mempool: b.mempool });
    port.start();
    t.true(port.started);
    t.false(port.link.up);
    t.true(b.lines.some((line) => /^notice virtio-user port 0 is down until its back-end has answered/.test(line)));
    t.is(port.info().mac, port.mac);
    const before = clock.ticks;
    await until(() => isUp(port), 'it has answered everything', 120);
    t.true(clock.ticks - before > 300, `${clock.ticks - before} turns during the handshake`);
    t.deepEqual(links, ['up: the back-end has answered']);
    t.is(backend.trace().filter((line) => line === 'SET_OWNER').length, 1);
    // the back-end holds the rings until it has noticed that we are gone
    port.close();
    await until(() => b.eal.leaks().length === 0, 'the mbufs are back');
    t.is(port.started, false);
    t.true(clock.longest < 4500, `the event loop stood still for ${clock.longest} ms`);
    clock.end();
  },
);

test.serial('4.5 s for one message of each stage, in a reconnect too', async (t) => {
  const b = bench(t);
  const script: Script = {
    delayMs: 4500,
    delayed: [V.GET_FEATURES, V.SET_FEATURES, V.SET_MEM_TABLE, V.GET_VRING_BASE],
  };
  const backend = await b.backend({ client: true, scripts: [script, script, {}] });
  const port = await b.attach(',server=1');
  port.configure({ mempool: b.mempool });
  port.start();
  await until(() => isUp(port), 'it is up', 60);
  backend.hangUp();
  await until(() => !isUp(port), 'the loss is seen');
  const clock = ticker();
  await until(() => isUp(port), 'it is up again', 60);
  t.true(clock.ticks > 300, `${clock.ticks} turns`);
  t.true(clock.longest < 2000, `the event loop stood still for ${clock.longest} ms`);
  clock.end();
  t.is(b.lines.filter((line) => line === 'error virtio-user port 0 is down').length, 1);
  // another configuration has to wait for GET_VRING_BASE, and for everything that follows
  port.stop();
  port.configure({ mempool: b.mempool, rxDesc: 64 });
  port.start();
  t.false(port.link.up);
  await until(() => isUp(port), 'it is up with the new rings', 60);
  t.is(backend.trace(2).length, 0);
  t.is(backend.trace(1).filter((line) => line === 'SET_MEM_TABLE').length, 2);
});

test.serial(
  'no answer to any one message: the message and the deadline are named, and the next attempt is by itself',
  async (t) => {
    const b = bench(t);
    // without REPLY_ACK in force two messages have no answer
    const answered = Array.from({ length: HANDSHAKE }, (_, k) => k).filter((k) => k !== 0 && k !== 3);
    const scripts = answered.flatMap((silentFrom): Script[] => [{ silentFrom }, {}]);
    const backend = await b.backend({ scripts: [{}, ...scripts] });
    const options = { handshakeTimeoutMs: 800 };
    (await b.attach()).close();
    const baseline = await settledFds();
    for (const [turn, k] of answered.entries()) {
      b.lines.length = 0;
      const named = /did not answer (\w+) within the 0.8 s that the whole handshake may take/;
      if (k < ATTACH) {
        const error = await t.throwsAsync(b.attach('', options), { code: 'ETIMEOUT', message: named });
        t.is(
          named.exec(error.message)![1],
          backend.messages().findLast(({ connection }) => connection === 1 + 2 * turn)!.name,
        );
      }
      const port = await b.attach('', options);
      port.configure({ mempool: b.mempool });
      port.start();
      await until(() => isUp(port), `it is up after message ${k}`);
      if (k >= ATTACH) {
        const told = b.lines.filter((line) => named.test(line));
        t.is(told.length, 1, `message ${k}: ${b.lines.join('; ')}`);
        t.is(
          named.exec(told[0]!)![1],
          backend.messages().findLast(({ connection }) => connection === 1 + 2 * turn)!.name,
        );
      }
      port.close();
      await until(() => openFds() === baseline, `descriptors are closed after message ${k}`);
      await until(() => b.eal.leaks().length === 0, `mbufs are back after message ${k}`);
    }
  },
);
