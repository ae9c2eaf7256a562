/** What a peer can do to an eventfd that it shares with us. */
import { c, check } from '../../native/libc.js';

const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const MOST = new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer);

/** Fills the counter, and makes the open file, which both ends have, one whose writers wait. */
export function fillAndBlock(fd: number): void {
  check(c.fcntl(fd, F_SETFL, O_NONBLOCK), 'fcntl');
  c.read(fd, new Uint8Array(8), 8);
  check(c.write(fd, MOST, 8), 'write');
  check(c.fcntl(fd, F_SETFL, 0), 'fcntl');
}
