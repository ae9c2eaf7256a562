/** The clock of a handshake, and the pauses between attempts, with a time that the test sets. */
import { join } from 'node:path';
import test from 'ava';
import { Conversation } from '../../../../driver/virtio/user/vhost-user/conversation.js';
import { listenConnector } from '../../../../driver/virtio/user/vhost-user/reconnect.js';
import { VhostUserClient } from '../../../../driver/virtio/user/vhost-user/client.js';
import { closeFd } from '../../../../native/region.js';
import { connectUnix, socketPair } from '../../../../native/socket.js';
import { temporaryDirectory } from '../../../support/peers.js';

const LOOK = { each: 0, total: 0 };

test('time in which nobody looked at the socket counts for a second at most', (t) => {
  const [near, far] = socketPair();
  t.teardown(() => closeFd(far));
  let now = 0;
  const client = new VhostUserClient(near, () => undefined);
  const talk = new Conversation(client, { handshakeTimeoutMs: 2500, replyTimeoutMs: undefined }, () => now);
  talk.add(
    (function* () {
      yield* client.getFeatures();
    })(),
  );
  t.false(talk.run(LOOK));
  for (const stopped of [3_600_000, 3_600_000]) {
    now += stopped;
    t.false(talk.run(LOOK));
  }
  now += 501;
  t.throws(() => talk.run(LOOK), { code: 'ETIMEOUT', message: /did not answer GET_FEATURES within the 2.5 s/ });
  t.false(talk.busy);
  t.false(client.open);
});

test('after a failure the next connection waits 50 ms, then twice as long, up to a second; not after one of use', (t) => {
  const path = join(temporaryDirectory(t), 's');
  let now = 0;
  const connector = listenConnector(path, () => now);
  t.teardown(() => connector.close());
  for (const pause of [50, 100, 200, 400, 800, 1000, 1000]) {
    const far = connectUnix(path);
    connector.ended(false);
    now += pause - 1;
    t.is(connector.poll(), -1);
    now += 1;
    const near = connector.poll();
    t.true(near >= 0, `after ${pause} ms`);
    closeFd(near);
    closeFd(far);
  }
  const far = connectUnix(path);
  connector.ended(true);
  const near = connector.poll();
  t.true(near >= 0);
  closeFd(near);
  closeFd(far);
});
