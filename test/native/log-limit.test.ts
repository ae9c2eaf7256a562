import test from 'ava';
import fc from 'fast-check';
import { LogLimit } from '../../native/log-limit.js';

function limited() {
  const lines: string[] = [];
  const clock = { now: 0 };
  const limit = new LogLimit<string>(
    (level, line) => lines.push(`${level} ${line}`),
    'warning',
    () => clock.now,
  );
  return { lines, clock, limit };
}

test('what a start with 128 queue pairs says comes whole', (t) => {
  const { lines, limit } = limited();
  for (let ring = 0; ring < 256; ring++) limit.log('info', `vring base idx:${ring} last_used_idx:0`);
  t.is(lines.length, 256);
});

test('a flood of one kind is cut, other kinds are not, and the number is told', (t) => {
  const { lines, clock, limit } = limited();
  for (let i = 0; i < 100_000; i++) limit.log('error', `invalid vring index: 0x${i.toString(16)}`);
  t.is(lines.length, 300);
  limit.log('error', 'something else');
  t.is(lines.length, 301);
  limit.flush();
  t.is(lines.length, 301, 'not at once');
  clock.now = 6000;
  limit.flush();
  t.is(lines[301], 'warning 99700 log lines were suppressed, the first of them: invalid vring index: 0x12c');
  limit.flush();
  t.is(lines.length, 302);
  limit.log('error', 'invalid vring index: 0x1');
  t.is(lines.length, 303, 'some time later there is room again');
});

test('kinds without end, made up by the peer, are bounded together', (t) => {
  const { lines, limit } = limited();
  const name = (i: number) => String.fromCodePoint(0x4e00 + (i % 5000), 0x4e00 + Math.floor(i / 5000));
  for (let i = 0; i < 20_000; i++) limit.log('error', `memory region is the file /${name(i)}`);
  t.true(lines.length <= 400, String(lines.length));
});

test('debug lines have bounds of their own', (t) => {
  const { lines, limit } = limited();
  for (let i = 0; i < 20_000; i++) limit.log('debug', 'read message VHOST_USER_SET_OWNER');
  t.is(lines.length, 5000);
  limit.log('error', 'still heard');
  t.is(lines.length, 5001);
});

test('whatever a peer does, some thousand lines at first and some ten each second are all, and none goes uncounted', (t) => {
  const step = fc.record({
    level: fc.constantFrom('info', 'error'),
    kind: fc.integer({ min: 0, max: 25 }),
    times: fc.integer({ min: 1, max: 400 }),
    ms: fc.integer({ min: 0, max: 3000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { lines, clock, limit } = limited();
      let said = 0;
      for (const { level, kind, times, ms } of steps) {
        for (let i = 0; i < times; i++) limit.log(level, `kind ${String.fromCharCode(97 + kind)} ${i}`);
        said += times;
        clock.now += ms;
      }
      clock.now += 10_000;
      limit.flush();
      const notes = lines.filter((line) => line.includes('were suppressed'));
      const counted = notes.reduce((sum, line) => sum + Number(/\d+/.exec(line)![0]), 0);
      t.is(lines.length - notes.length + counted, said);
      t.true(lines.length - notes.length <= 1000 + clock.now / 100 + 1);
      t.true(notes.length <= clock.now / 5000 + 1);
    }),
    { numRuns: 50 },
  );
});
