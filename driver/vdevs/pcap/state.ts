/**
 * The state of a queue that reads or writes a capture file, in memory that the control plane and the thread of the queue both
 * see. So a queue can be opened again on another thread, and goes on where it was.
 *
 * The control plane opens and closes the file, and writes the state while no burst runs. The thread of the queue writes the
 * position and what it found. Only the word REMOVED is written by the control plane while bursts run.
 */

/** Word: the file's descriptor. Valid while the port is started. */
export const FD = 0;
/** Word: how often the file was opened: what was read ahead of an earlier file is not valid any more. */
export const OPENED = 1;
/** Word: PCAP or PCAPNG. */
export const FORMAT = 2;
/** Word: not 0 when numbers in the file (pcapng: in this section) are big-endian. */
export const BIG_ENDIAN = 3;
/** Word: most bytes of a packet (pcapng: of interface 0 of the section). */
export const SNAPLEN = 4;
/** Word, pcapng: interfaces of the section so far. */
export const INTERFACES = 5;
/** Word: not 0 when packets have been received since the file was begun, or begun again. */
export const DELIVERED = 6;
/** Word: not 0 when nothing follows any more. */
export const FINISHED = 7;
/** Word: 0, or what was wrong first (trouble.ts). */
export const TROUBLE = 8;
/** Word: errno of a read or write that failed. */
export const ERRNO = 9;
/** Word: not 0 when the file was removed. */
export const REMOVED = 10;
const WORDS = 16;

/** Double: offset in the file of the next record or block; when writing, where the file ends. */
export const POSITION = 0;
/** Double: bytes of the file. */
export const SIZE = 1;
const DOUBLES = 8;

/** Values of FORMAT. */
export const PCAP = 1;
export const PCAPNG = 2;

/** Most interfaces of a section. */
export const MAX_INTERFACES = 4096;

const BYTES = WORDS * 4 + DOUBLES * 8 + MAX_INTERFACES / 8;

export interface CaptureState {
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  /** Bits: the interfaces of the section that are Ethernet. */
  readonly ethernet: Uint8Array;
}

export function newCaptureState(): SharedArrayBuffer {
  return new SharedArrayBuffer(BYTES);
}

/** One thread's typed arrays over a state. */
export function captureState(shared: SharedArrayBuffer): CaptureState {
  return {
    words: new Int32Array(shared, 0, WORDS),
    doubles: new Float64Array(shared, WORDS * 4, DOUBLES),
    ethernet: new Uint8Array(shared, WORDS * 4 + DOUBLES * 8),
  };
}

/** The state of a file that was just opened. */
export function beginFile({ words, doubles }: CaptureState, fd: number, size: number): void {
  const opened = words[OPENED]! + 1;
  words.fill(0);
  words[FD] = fd;
  words[OPENED] = opened;
  doubles[SIZE] = size;
  doubles[POSITION] = 0;
}
