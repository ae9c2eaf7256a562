/** Tools for tests in which the device breaks the rules: traffic without checks on the device, outcomes with them. */
import type { ExecutionContext } from 'ava';
import {
  BROKEN,
  resetQueue,
  STARTED,
  type RxPath,
  type RxPathName,
  type TxPath,
  type TxPathName,
} from '../../../paths/guest/queue.js';
import { packetFrom, readPacket } from '../../../paths/mbuf.js';
import { NIL } from '../../../paths/mempool.js';
import { ERRORS } from '../../../paths/stats.js';
import { GuestFixture, packetBytes, shape, type Shape } from '../../support/guest-fixture.js';
import { referenceRing } from '../../support/reference-packed.js';
import { scatter, type Buffer } from '../../support/reference-ring.js';

export interface RxCase {
  readonly fixture: GuestFixture;
  readonly path: RxPath;
  readonly pkts: Uint32Array;
  /** Every buffer that the driver offered, in order. */
  readonly buffers: Buffer[];
}

/** A receive queue whose buffers the device has taken. */
export function rxCase(name: RxPathName, more: Partial<Shape> = {}): RxCase {
  const fixture = new GuestFixture(shape(name, more));
  const path = fixture.openRx();
  path.fill();
  return { fixture, path, pkts: new Uint32Array(64), buffers: fixture.device.takeAll() };
}

export interface TxCase {
  readonly fixture: GuestFixture;
  readonly path: TxPath;
  /** Sends one packet of `segments` segments. @returns whether it was accepted; if not, it is freed. */
  send(segments?: number): boolean;
}

export function txCase(name: TxPathName, more: Partial<Shape> = {}): TxCase {
  const fixture = new GuestFixture(shape(name, more));
  const path = fixture.openTx();
  const { pool } = fixture;
  const pkts = new Uint32Array(1);
  const send = (segments = 1) => {
    pkts[0] = packetFrom(pool, packetBytes(7, 64 * segments), 64);
    const sent = path.xmit(pkts, 1) === 1;
    if (!sent) pool.free(pkts[0]);
    return sent;
  };
  return { fixture, path, send };
}

/** Writes net header and payload into a buffer. @returns the length that a device has to report. */
export function fillBuffer({ fixture }: RxCase, buffer: Buffer, payload: Uint8Array, numBuffers = 1): number {
  const { hdrSize } = fixture.shape;
  const bytes = new Uint8Array(hdrSize + payload.length);
  if (hdrSize > 10) new DataView(bytes.buffer).setUint16(10, numBuffers, true);
  bytes.set(payload, hdrSize);
  return scatter(fixture.device, buffer, bytes);
}

/** Receives and frees everything there is. @returns the packets. */
export function drain({ fixture, path, pkts }: RxCase): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let n = path.recv(pkts, 64); n > 0; n = path.recv(pkts, 64)) {
    for (let i = 0; i < n; i++) packets.push(readPacket(fixture.pool, pkts[i]!));
    fixture.pool.freeBulk(pkts, 0, n);
  }
  return packets;
}

/** Starts the queue over, both sides, as after port stop and start. */
export function restart(fixture: GuestFixture): ReturnType<typeof referenceRing> {
  resetQueue(fixture.spec, fixture.pool);
  fixture.state.words[STARTED] = 1;
  const start = { index: 0, wrap: fixture.spec.packed ? 1 : 0 };
  return referenceRing({ ...fixture.device.terms, start });
}

/**
 * Outcome "queue broken" of a receive queue: it says why, does nothing any more, gives every mbuf back, and works again
 * after a reset.
 */
export function assertRxBroken(t: ExecutionContext, rx: RxCase, ...reasons: number[]): void {
  const { fixture, path, pkts } = rx;
  t.true(reasons.includes(fixture.broken), `broken: ${fixture.broken}, expected one of ${reasons.join()}`);
  t.is(path.recv(pkts, 64), 0);
  const device = restart(fixture);
  t.is(fixture.state.words[BROKEN], 0);
  path.fill();
  const buffers = device.takeAll();
  t.is(buffers.length, fixture.spec.nbDesc);
  const payload = packetBytes(1, 100);
  device.use([{ buffer: buffers[0]!, length: fillBuffer(rx, buffers[0]!, payload) }]);
  t.deepEqual(drain(rx), [payload]);
  fixture.finish();
}

/** The same for a transmit queue. */
export function assertTxBroken(t: ExecutionContext, { fixture, path, send }: TxCase, ...reasons: number[]): void {
  t.true(reasons.includes(fixture.broken), `broken: ${fixture.broken}, expected one of ${reasons.join()}`);
  t.false(send());
  path.cleanup();
  const device = restart(fixture);
  t.is(fixture.pool.inUse(), 0);
  t.true(send());
  const buffers = device.takeAll();
  t.is(buffers.length, 1);
  device.use(buffers.map((buffer) => ({ buffer, length: 0 })));
  t.is(path.cleanup(), fixture.spec.nbDesc);
  t.is(fixture.pool.inUse(), 0);
  fixture.finish();
}

/**
 * Outcome "dropped": one error, counted under `counter`, nothing received, and the buffer back in the ring exactly once,
 * so that the queue goes on.
 */
export function assertDropped(t: ExecutionContext, rx: RxCase, counter: number): void {
  const { fixture } = rx;
  t.deepEqual(drain(rx), []);
  t.is(fixture.broken, 0);
  t.is(fixture.stat(ERRORS), 1);
  t.is(fixture.stat(counter), 1);
  t.is(fixture.pool.inUse(), fixture.spec.nbDesc);
  fixture.device.takeAll();
  t.is(fixture.device.outstanding.length, fixture.spec.nbDesc);
  const payload = packetBytes(2, 200);
  const buffer = fixture.device.outstanding[0]!;
  fixture.device.use([{ buffer, length: fillBuffer(rx, buffer, payload) }]);
  t.deepEqual(drain(rx), [payload]);
  fixture.finish();
}

/** Mbufs that the queue says the device holds, segments counted. */
export function mbufsAtDevice({ pool, state, spec }: GuestFixture): number {
  let count = 0;
  for (let id = 0; id < spec.size; id++) {
    for (let m = state.cookie[id]!; m !== NIL; m = pool.next[m]!) count++;
  }
  return count;
}

/** The number of segments of a received packet, each checked to lie in its buffer. */
export function inspect(t: ExecutionContext, { pool }: GuestFixture, packet: number): number {
  let segments = 0;
  let total = 0;
  for (let m = packet; m !== NIL; m = pool.next[m]!) {
    segments++;
    total += pool.dataLen[m]!;
    if (pool.dataOff[m]! + pool.dataLen[m]! > pool.headroom + pool.dataRoom) t.fail(`mbuf ${m} ends outside`);
    if (segments > 64) t.fail('a chain without end');
  }
  if (segments !== pool.nbSegs[packet] || total !== pool.pktLen[packet]) t.fail('a packet that contradicts itself');
  if (total < 14 || total > 9728) t.fail(`a packet of ${total} bytes`);
  return segments;
}
