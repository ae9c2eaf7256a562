/** Packets from an application's request to the wire: prepared, sent, finished by a device that follows the net header. */
import assert from 'node:assert/strict';
import type { TxPath } from '../../../../../paths/guest/queue.js';
import type { GuestFixture } from '../../../../support/guest-fixture.js';
import type { Packet } from '../../../../support/offload-packets.js';
import { pieces, place } from '../../../../support/offload-pool.js';
import {
  checksumHolds,
  completeChecksum,
  get16,
  get32,
  GSO_NONE,
  NEEDS_CSUM,
  onesSum,
  segment,
  TCP,
  type NetHeader,
} from '../../../../support/offload-reference.js';
import { look, useAll, writeRequest, type Request, type Seen } from './offload-tx.js';

/** Prepares and sends one packet. @returns what the device reads */
export function sendOne(
  fixture: GuestFixture,
  path: TxPath,
  bytes: Uint8Array,
  cuts: readonly number[],
  request: Request,
): Seen {
  const { pool } = fixture;
  const m = place(pool, pieces(bytes, cuts, pool.dataRoom));
  writeRequest(pool, m, request);
  const pkts = Uint32Array.of(m);
  assert.equal(path.prepare(pkts, 1), 1, 'prepare refused the packet');
  assert.equal(path.xmit(pkts, 1), 1, 'xmit refused the packet');
  const [seen, ...more] = look(fixture);
  assert.equal(more.length, 0);
  useAll(fixture, path);
  assert.equal(pool.inUse(), 0);
  return seen!;
}

/** What a device puts on the wire. @param l2Len where IP begins in the packet that it read */
export function onTheWire({ header, packet }: Pick<Seen, 'header' | 'packet'>, l2Len: number): Uint8Array[] {
  if (!(header.flags & NEEDS_CSUM)) return [packet];
  if (header.gsoType === GSO_NONE) return [completeChecksum(packet, header.csumStart, header.csumOffset)];
  return segment(packet, header, l2Len);
}

/** The packet with a tag behind its addresses, if there is one. */
export function tagged(bytes: Uint8Array, vlanTci: number | undefined): Uint8Array {
  if (vlanTci === undefined) return bytes;
  return Uint8Array.of(...bytes.subarray(0, 12), 0x81, 0, vlanTci >> 8, vlanTci & 0xff, ...bytes.subarray(12));
}

/** The segments that a packet was cut into: each valid by itself, all together what was sent. */
export function checkSegments(
  segments: readonly Uint8Array[],
  { bytes, l2Len, l3Len, l4Len, recipe }: Packet,
  { hdrLen, gsoSize }: NetHeader,
  tagLen: number,
): void {
  const l3 = l2Len + tagLen;
  const l4 = l3 + l3Len;
  const headers = l4 + l4Len;
  const payload = bytes.subarray(headers - tagLen);
  assert.equal(hdrLen, headers, 'hdr_len is not the length of the headers');
  assert.equal(segments.length, Math.ceil(payload.length / gsoSize));
  segments.forEach((segment, i) => {
    const last = i === segments.length - 1;
    assert(last ? segment.length <= headers + gsoSize : segment.length === headers + gsoSize);
    assert(checksumHolds(segment, l3, l4, TCP), `segment ${i} of ${segments.length} has a wrong checksum`);
    const flags = recipe.tcpFlags & (last ? 0xff : ~0x09) & (i === 0 ? 0xff : ~0x80);
    assert.equal(segment[l4 + 13], flags);
    assert.equal(get32(segment, l4 + 4), (get32(bytes, l4 - tagLen + 4) + i * gsoSize) % 2 ** 32);
    if (recipe.l3 === 'ipv4') {
      assert.equal(get16(segment, l3 + 2), segment.length - l3);
      assert.equal(get16(segment, l3 + 4), (get16(bytes, l2Len + 4) + i) % 65536);
      assert.equal(onesSum(segment.subarray(l3, l4)), 0xffff, 'the checksum of the IPv4 header');
    } else {
      assert.equal(get16(segment, l3 + 4), segment.length - l3 - 40);
    }
  });
  assert.deepEqual(
    Uint8Array.from(Buffer.concat(segments.map((segment) => segment.subarray(headers)))),
    payload.slice(),
  );
}
