/** Sleeping on a word of memory: what can be said on any CPU. One that has WAITPKG or MWAITX sleeps here for real. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { monitorStatus, openMonitor } from '../../native/monitor.js';
import { addressOf, helperStatus } from '../../native/helper.js';

test('the status agrees with the flags of /proc/cpuinfo', (t) => {
  const flags = /^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? [];
  if (helperStatus().reason !== '') return void t.is(monitorStatus(), helperStatus().reason);
  t.is(monitorStatus() === '', flags.includes('waitpkg') || flags.includes('mwaitx'), monitorStatus());
});

test('a sleep ends, whether the word has changed or not, and without a CPU that can it is none', (t) => {
  const words = new Uint16Array([7]);
  const sleep = openMonitor();
  for (let i = 0; i < 100; i++) sleep(Number(addressOf(words)), i % 2 === 0 ? 7 : 8);
  t.is(words[0], 7);
});
