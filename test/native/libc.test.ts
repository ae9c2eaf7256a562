/** Calls of libc: the compiler knows how many arguments each takes, and of which kind; a wrong one is a crash. */
import test from 'ava';
import { c } from '../../native/libc.js';

/** Compiled, never called. */
export function wrongCalls(): void {
  // @ts-expect-error too few
  c.close();
  // @ts-expect-error too many
  c.close(1, 2);
  // @ts-expect-error a number where memory is read
  c.write(1, 2, 3);
  // @ts-expect-error memory where a number is expected
  c.ioctl(1, 2, new Uint8Array(4));
  // @ts-expect-error a path is text
  c.open(new Uint8Array(4), 0);
}

test('calls with the arguments of their prototypes', (t) => {
  t.is(c.close(-1), -1);
  t.is(c.poll(new Int32Array(2), 0, 0), 0);
  t.is(c.sigaction(1, null, new Uint8Array(152)), 0);
  t.is(typeof wrongCalls, 'function');
});
