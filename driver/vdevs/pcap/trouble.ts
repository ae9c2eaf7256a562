/** What may be wrong with a capture file while packets are read or written: codes of the word TROUBLE, and their sentences. */
import { getSystemErrorName } from 'node:util';
import { ERRNO, MAX_INTERFACES, TROUBLE, type CaptureState } from './state.js';

export const CUT = 1;
export const BAD_RECORD = 2;
export const BAD_VERSION = 3;
export const NOT_ETHERNET = 4;
export const TOO_MANY_INTERFACES = 5;
export const READ_FAILED = 6;
export const WRITE_FAILED = 7;

const sentences: Readonly<Record<number, string>> = {
  [CUT]: 'ends in the middle of a packet: what comes before it is received',
  [BAD_RECORD]: 'is damaged: it has a length or a number that cannot be, and nothing behind it is received',
  [BAD_VERSION]: 'has a section of another version of pcapng than 1: nothing behind it is received',
  [NOT_ETHERNET]: 'has packets of interfaces that are not Ethernet: they are dropped, and counted as errors',
  [TOO_MANY_INTERFACES]: `has a section of more than ${MAX_INTERFACES} interfaces: nothing behind it is received`,
};

/** What is wrong, in words that follow the file's name; undefined when nothing is. */
export function troubleOf({ words }: CaptureState): string | undefined {
  const code = Atomics.load(words, TROUBLE);
  if (code === READ_FAILED) return `cannot be read any more (${errnoOf(words)}): nothing more is received`;
  if (code === WRITE_FAILED) {
    return `cannot be written to (${errnoOf(words)}): packets are dropped, and counted as errors, until it can`;
  }
  return sentences[code];
}

function errnoOf(words: Int32Array): string {
  return words[ERRNO] === 0 ? 'nothing was written' : getSystemErrorName(-words[ERRNO]!);
}

/** Notes what is wrong, unless something was before. */
export function noteTrouble({ words }: CaptureState, code: number, errno = 0): void {
  if (words[TROUBLE] !== 0) return;
  words[ERRNO] = errno;
  Atomics.store(words, TROUBLE, code); // behind its errno
}

/** The number of a system call's error. */
export function errnoNumber(error: unknown): number {
  return Math.abs((error as NodeJS.ErrnoException).errno ?? 0);
}
