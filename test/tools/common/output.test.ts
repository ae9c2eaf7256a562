import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import test from 'ava';
import { connectUnix, isListening } from '../../../native/socket.js';
import { closeFd } from '../../../native/region.js';
import { Output } from '../../../tools/common/output.js';
import { eventually, temporaryDirectory } from '../../support/peers.js';

test('texts that nobody reads are dropped and counted', (t) => {
  const written: string[] = [];
  const stream = { writableLength: 0, write: (text: string) => written.push(text) };
  const output = new Output(stream);
  output.line('one');
  stream.writableLength = 100_000;
  for (let i = 0; i < 1000; i++) output.line('lost');
  t.deepEqual(written, ['one\n']);
  stream.writableLength = 0;
  output.line('two');
  output.line('three');
  t.deepEqual(written, ['one\n', '1000 outputs were dropped, because nobody read them\n', 'two\n', 'three\n']);
});

test('vhost-switch whose output nobody reads: it serves, its memory stays, and SIGTERM ends it', async (t) => {
  const path = join(temporaryDirectory(t), 's');
  const args = ['--import', './tools/ts.mjs', 'tools/vhost-switch/main.ts', '--socket-file', path, '--verbose'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  child.stdout.pause();
  await eventually('the socket', () => isListening(path), Boolean, 60_000);
  const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]);
  const flood = async (connections: number) => {
    for (let i = 0; i < connections; i++) {
      try {
        closeFd(connectUnix(path));
      } catch {
        // its backlog is full
      }
      if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  await flood(2000);
  const before = memory();
  await flood(20_000);
  t.true(memory() - before < 30_000, `${memory() - before} KiB more`);
  child.kill('SIGTERM');
  t.deepEqual(await ended, [0, null]);
});
