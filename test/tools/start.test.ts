/** `npm start` as a user without a terminal sees it. */
import test from 'ava';
import { RECIPES } from '../../tools/common/recipes.js';
import { startPeer } from '../support/peers.js';

test.serial('all eleven recipes forward, are verified, and are in the table', async (t) => {
  t.timeout(200_000);
  const start = startPeer(t, 'start', process.execPath, ['--import', './tools/ts.mjs', 'tools/start/main.ts']);
  t.is(await start.end(), 'exit code 0', start.output);
  for (const { name, rx, tx } of RECIPES) {
    const row = new RegExp(
      `^${name.replace('+', '\\+')}  +${rx}  +${tx}  +0x[0-9a-f]+  +[\\d.]+  +[\\d,]+  +[\\d,]+  +0$`,
      'm',
    );
    t.regex(start.output, row);
  }
  t.false(start.output.includes('\x1b'), 'no colours and no cursor movements in a pipe');
});

test.serial('SIGINT ends it at once, with the shell’s exit code for it', async (t) => {
  const start = startPeer(t, 'start', process.execPath, ['--import', './tools/ts.mjs', 'tools/start/main.ts']);
  await start.waitFor(/Mpps/, 60_000);
  process.kill(start.pid, 'SIGINT');
  t.is(await start.end(), 'exit code 130');
});
