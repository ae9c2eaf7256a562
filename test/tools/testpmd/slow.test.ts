/** testpmd with a back-end that is slow or silent: the prompt answers, other ports work, and it ends when it is told to. */
import { join } from 'node:path';
import test from 'ava';
import * as V from '../../../driver/wire/vhost-user.js';
import { temporaryDirectory } from '../../support/peers.js';
import { RawBackend } from '../../support/raw-backend.js';
import { spawnTestpmd, startBackend, waitForSocket } from '../../support/testpmd-process.js';

const SOON = 60_000;

for (const [what, end] of [
  ['quit', 'quit'],
  ['SIGTERM', 'SIGTERM'],
  ['SIGINT', 'SIGINT'],
] as const) {
  test.serial(
    `attach, start and reconnect of a port that hangs: the prompt answers, and ${what} ends it`,
    async (t) => {
      const good = await waitForSocket(startBackend(t));
      const path = join(temporaryDirectory(t), 's');
      const backend = await RawBackend.start({
        path,
        scripts: [{ ignore: V.GET_FEATURES }, { ignore: V.SET_MEM_TABLE }, { ignore: V.GET_FEATURES }],
      });
      t.teardown(() => backend.stop());
      const ours = spawnTestpmd(t, [`net_virtio_user0,path=${good}`], ['-i']);
      await ours.waitFor(/testpmd> /, SOON);
      await ours.ask(
        `port attach net_virtio_user1,path=${path},handshake_timeout=8`,
        /No back-end has answered for 5 s: it is waited for while the prompt goes on\ntestpmd> /,
      );
      await ours.ask('show port info 0', /Infos for port 0[^]*testpmd> /);
      await ours.waitFor(
        /did not answer GET_FEATURES within the 8 s that the whole handshake may take[^]*Failed to attach/,
        SOON,
      );
      await ours.ask(`port attach net_virtio_user1,path=${path}`, /Port 1 is attached[^]*testpmd> /);
      await ours.ask('port start 1', /virtio-user port 1 is down until its back-end has answered[^]*Done\ntestpmd> /);
      await ours.ask('show port info 1', /Link status: down[^]*testpmd> /);
      await ours.ask('port stop 0', /Done\ntestpmd> /);
      await ours.ask('port start 0', /Done\ntestpmd> /);
      backend.hangUp();
      await ours.waitFor(/virtio-user port 1 is down\n/, SOON);
      await ours.ask('show port summary all', /Number of available ports: 2[^]*testpmd> /);
      const ended = ours.end();
      if (end === 'quit') ours.send('quit');
      else process.kill(ours.pid, end);
      t.is(await ended, 'exit code 0');
    },
  );
}

test.serial(
  'a port that its back-end refuses is started by itself once there is a back-end that does not',
  async (t) => {
    const path = join(temporaryDirectory(t), 's');
    const backend = await RawBackend.start({ path, scripts: [{ refuse: V.SET_FEATURES }, {}] });
    t.teardown(() => backend.stop());
    const ours = spawnTestpmd(t, [`net_virtio_user0,path=${path}`], ['-i']);
    await ours.waitFor(/refused SET_FEATURES: it answered 1[^]*Start ports failed\n[^]*testpmd> /, SOON);
    backend.hangUp();
    await ours.waitFor(/Port 0: its back-end is back, it is started again\n[^]*Done\n/, SOON);
    await ours.ask('show port info 0', /Link status: up[^]*testpmd> /);
    t.is(await ours.stop(), 'exit code 0');
  },
);
