/**
 * Writes packets to a pcap file, as DPDK writes it: time stamps in nanoseconds, at most 65535 bytes of a packet. Nothing stays
 * here: every burst ends with `flush`, so the file has all packets of all bursts, whatever happens to the process.
 */
import { ftruncateSync, writeSync } from 'node:fs';
import { NIL, type Mempool } from '../../../paths/mempool.js';
import { BYTES, ERRORS, PACKETS } from '../../../paths/stats.js';
import { copyBuffer, copyBytes, type CopyBuffer } from '../copy.js';
import { LINKTYPE_ETHERNET, MAGIC_NANOSECONDS, PCAP_HEADER, PCAP_RECORD, WRITTEN_SNAPLEN } from './format.js';
import { FD, POSITION, REMOVED, type CaptureState } from './state.js';
import { errnoNumber, noteTrouble, WRITE_FAILED } from './trouble.js';

const BUFFER = 256 * 1024;

/** The header of a file. */
export function pcapHeader(): Uint8Array {
  const header = new DataView(new ArrayBuffer(PCAP_HEADER));
  header.setUint32(0, MAGIC_NANOSECONDS, true);
  header.setUint16(4, 2, true);
  header.setUint16(6, 4, true);
  header.setUint32(16, WRITTEN_SNAPLEN, true);
  header.setUint32(20, LINKTYPE_ETHERNET, true);
  return new Uint8Array(header.buffer);
}

export class CaptureWriter {
  private readonly u8 = new Uint8Array(BUFFER);
  private readonly buffer = copyBuffer(this.u8);
  private readonly mbufs: CopyBuffer;
  private used = 0;
  private packets = 0;
  private bytes = 0;
  private seconds = 0;
  private nanoseconds = 0;

  constructor(
    private readonly state: CaptureState,
    private readonly pool: Mempool,
    private readonly stats: Float64Array,
  ) {
    this.mbufs = copyBuffer(pool.u8);
  }

  /** A burst begins: the time of its packets is now. */
  begin(): void {
    const now = performance.timeOrigin + performance.now();
    this.seconds = Math.floor(now / 1000);
    this.nanoseconds = Math.floor((now - this.seconds * 1000) * 1e6);
  }

  /** Adds a packet: all its segments. The caller frees it. */
  add(m: number): void {
    const { buffer, pool } = this;
    const { view } = buffer;
    const length = pool.pktLen[m]!;
    const captured = Math.min(length, WRITTEN_SNAPLEN);
    if (this.used + PCAP_RECORD + captured > BUFFER) this.flush();
    let at = this.used;
    view.setUint32(at, this.seconds, true);
    view.setUint32(at + 4, this.nanoseconds, true);
    view.setUint32(at + 8, captured, true);
    view.setUint32(at + 12, length, true);
    at += PCAP_RECORD;
    const end = at + captured;
    let segment = m;
    for (let left = pool.nbSegs[m]!; left > 0 && segment !== NIL && at < end; left--) {
      // at most what an mbuf has behind its first byte, whatever its columns say
      const n = Math.min(pool.dataLen[segment]!, end - at, pool.headroom + pool.dataRoom - pool.dataOff[segment]!);
      if (n > 0) {
        copyBytes(buffer, at, this.mbufs, pool.dataStart(segment), n);
        at += n;
      }
      segment = pool.next[segment]!;
    }
    this.used = end;
    this.packets++;
    this.bytes += captured;
  }

  /** Writes what was added, and counts it: all of it, or nothing. Never throws. */
  flush(): void {
    if (this.packets === 0) return;
    const { stats, packets, bytes } = this;
    if (this.write()) {
      stats[PACKETS]! += packets;
      stats[BYTES]! += bytes;
    } else stats[ERRORS]! += packets;
    this.used = 0;
    this.packets = 0;
    this.bytes = 0;
  }

  private write(): boolean {
    const { words, doubles } = this.state;
    if (words[REMOVED] !== 0) return false;
    const position = doubles[POSITION]!;
    try {
      for (let at = 0; at < this.used;) {
        const n = writeSync(words[FD]!, this.u8, at, this.used - at, position + at);
        if (n === 0) return this.fail(position, 0);
        at += n;
      }
    } catch (error) {
      return this.fail(position, errnoNumber(error));
    }
    doubles[POSITION] = position + this.used;
    return true;
  }

  /** Takes back what was written in part, so that the file has whole packets. */
  private fail(position: number, errno: number): false {
    noteTrouble(this.state, WRITE_FAILED, errno);
    try {
      ftruncateSync(this.state.words[FD]!, position);
    } catch {
      // a device, such as /dev/null, has no end; the next write begins at the same position in any case
    }
    return false;
  }
}
