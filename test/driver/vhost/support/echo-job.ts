/** A job on a vhost port: it returns every packet, without pause and without loss, and writes down what it took and gave. */
import type { LcoreContext } from '../../../../driver/eal/types.js';
import { loadQueues, openRx, openTx } from '../../../../driver/port/queue.js';
import type { PortSpec } from '../../../../driver/port/types.js';

/** Int32 words of `EchoData.book`: how many were taken and given, 1: stop within a turn, then the numbers of the packets. */
export const TAKEN = 0;
export const GIVEN = 1;
export const FREEZE = 2;
const HEAD = 16;
const MOST = 1 << 18;
export const BOOK_BYTES = (HEAD + 2 * MOST) * 4;

export interface EchoData {
  readonly port: PortSpec;
  readonly book: SharedArrayBuffer;
}

/** The numbers that were taken or given so far. */
export function listOf(book: SharedArrayBuffer, which: typeof TAKEN | typeof GIVEN): Int32Array {
  const words = new Int32Array(book);
  const from = HEAD + which * MOST;
  return words.subarray(from, from + Atomics.load(words, which));
}

/** Offset of the number in a packet: behind the Ethernet header, 32 bits. */
export const NUMBER_AT = 14;

export async function echo(context: LcoreContext, { port, book }: EchoData): Promise<void> {
  await loadQueues([...port.rx, ...port.tx]);
  const pool = context.mempool(port.rx[0]!.mempool);
  const rx = openRx(port.rx[0]!, pool);
  const tx = openTx(port.tx[0]!, pool);
  const words = new Int32Array(book);
  const view = new DataView(pool.u8.buffer, pool.u8.byteOffset);
  const pkts = new Uint32Array(32);
  const numbers = new Int32Array(32);
  let pending = 0;
  while (context.running()) {
    if (pending === 0) {
      pending = rx.recv(pkts, 32);
      const taken = words[TAKEN]!;
      for (let i = 0; i < pending; i++) {
        numbers[i] = view.getInt32(pool.dataStart(pkts[i]!) + NUMBER_AT, true);
        words[HEAD + taken + i] = numbers[i]!;
      }
      if (pending > 0) Atomics.store(words, TAKEN, taken + pending);
    }
    if (Atomics.load(words, FREEZE) === 1) Atomics.wait(words, FREEZE, 1);
    if (pending === 0) continue;
    const sent = tx.xmit(pkts, pending);
    const given = words[GIVEN]!;
    for (let i = 0; i < sent; i++) words[HEAD + MOST + given + i] = numbers[i]!;
    if (sent > 0) Atomics.store(words, GIVEN, given + sent);
    pkts.copyWithin(0, sent, pending);
    numbers.copyWithin(0, sent, pending);
    pending -= sent;
  }
  pool.freeBulk(pkts, 0, pending);
}
