import test from 'ava';
import fc from 'fast-check';
import { SystemError, VirtioPmdError } from '../../../native/errors.js';
import { decodeFailure, encodeFailure } from '../../../driver/eal/lcore-error.js';

const LIMIT = 16384;
/** The beginning, with half characters replaced as UTF-8 wants it. */
const wellFormed = (text: string) => Buffer.from(text.slice(0, 20)).toString();
const told = (error: unknown, limit = LIMIT) => decodeFailure(encodeFailure(error, 'lcore 1, job x', limit));

test('any error arrives as ELCORE with the job in front, and as its cause what it was', (t) => {
  const root = new RangeError('too deep');
  const error = new TypeError('something broke', { cause: root });
  const failure = told(error);
  t.is(failure.code, 'ELCORE');
  t.is(failure.message, 'lcore 1, job x: something broke');
  const cause = failure.cause as TypeError;
  t.true(cause instanceof TypeError);
  t.is(cause.message, error.message);
  t.is(cause.stack, error.stack);
  t.true(cause.cause instanceof RangeError);
  t.is((cause.cause as RangeError).stack, root.stack);
});

test('one of ours keeps its code, a system call its name and errno', (t) => {
  const ours = told(new VirtioPmdError('ESOCKET', '/tmp/x: nobody listens', { cause: new Error('why') }));
  t.is(ours.code, 'ESOCKET');
  t.is((ours.cause as VirtioPmdError).code, 'ESOCKET');
  t.is(((ours.cause as VirtioPmdError).cause as Error).message, 'why');
  const system = told(new SystemError('mmap', 'ENOMEM', '5 bytes'));
  t.is(system.code, 'ESYSTEM');
  t.like(system.cause, { syscall: 'mmap', errno: 'ENOMEM', message: 'mmap: out of memory [ENOMEM] (5 bytes)' });
});

test("Node's own errors keep code, errno, syscall and path; a class of the user's its name", (t) => {
  const node = Object.assign(new Error('ENOENT: no such file'), {
    code: 'ENOENT',
    errno: -2,
    syscall: 'open',
    path: '/x',
  });
  t.like(told(node).cause, { code: 'ENOENT', errno: -2, syscall: 'open', path: '/x' });
  class OddError extends Error {
    override name = 'OddError';
  }
  t.is((told(new OddError('odd')).cause as Error).name, 'OddError');
});

test('what is thrown and is no error is in the sentence', (t) => {
  t.is(told('text').message, 'lcore 1, job x: text');
  t.is(told(undefined).message, 'lcore 1, job x: undefined');
  t.is(told(null).message, 'lcore 1, job x: null');
  t.is(told({ a: 1 }).message, 'lcore 1, job x: { a: 1 }');
  t.is((told(new Error('x', { cause: { a: 1 } })).cause as Error).cause, '{ a: 1 }');
});

test('causes in a circle, getters that throw and lies about the type do no harm', (t) => {
  const circle = new Error('round');
  circle.cause = circle;
  t.is(told(circle).message, 'lcore 1, job x: round');
  const bad = new Error('bad');
  Object.defineProperty(bad, 'message', { get: () => { throw new Error('no'); } }); // prettier-ignore
  t.is(told(bad).code, 'ELCORE');
  t.is(told(Object.assign(new Error('liar'), { name: 'VirtioPmdError' })).message, 'lcore 1, job x: liar');
  t.is(told(Object.assign(new Error('liar'), { name: '__proto__', code: {} })).message, 'lcore 1, job x: liar');
});

test('property: whatever is thrown fits into the limit, and its beginning arrives', (t) => {
  const text = fc.string({ unit: 'binary', maxLength: 30_000 });
  const property = fc.property(text, text, fc.integer({ min: 0, max: 12 }), (message, name, depth) => {
    let error = new Error(message);
    for (let i = 0; i < depth; i++) error = new Error(message, { cause: error });
    error.name = name;
    const bytes = encodeFailure(error, 'here', LIMIT);
    t.true(bytes.length <= LIMIT);
    const failure = decodeFailure(bytes);
    t.is(failure.code, 'ELCORE');
    t.is(wellFormed(failure.message), wellFormed(`here: ${message}`));
  });
  fc.assert(property, { numRuns: 50 });
});
