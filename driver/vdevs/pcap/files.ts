/**
 * Opens and checks capture files, for the control plane. A descriptor that is returned belongs to the caller, who closes it with
 * `closeSync`; when these functions throw, nothing stays open.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync, type Stats } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { VirtioPmdError } from '../../../native/errors.js';
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import {
  BYTE_ORDER_MAGIC,
  LINKTYPE_ETHERNET,
  MAGIC_MICROSECONDS,
  MAGIC_NANOSECONDS,
  MIN_SECTION_HEADER,
  PCAP_HEADER,
  SECTION_HEADER,
} from './format.js';
import { CaptureReader, snaplenOf } from './reader.js';
import {
  beginFile,
  BIG_ENDIAN,
  captureState,
  FORMAT,
  newCaptureState,
  PCAP,
  PCAPNG,
  POSITION,
  SNAPLEN,
  type CaptureState,
} from './state.js';
import { errnoNumber } from './trouble.js';
import { pcapHeader } from './writer.js';

// a FIFO must not block
const READ = constants.O_RDONLY | constants.O_NONBLOCK;
const WRITE = constants.O_WRONLY | constants.O_CREAT | constants.O_NONBLOCK;

/** A file of a queue, for error messages: `net_pcap0: rx_pcap=in.pcap`. */
export interface CaptureFile {
  readonly device: string;
  readonly key: 'rx_pcap' | 'tx_pcap';
  readonly path: string;
}

export function titleOf({ device, key, path }: CaptureFile): string {
  return `${device}: ${key}=${path}`;
}

function refuse(file: CaptureFile, why: string): VirtioPmdError {
  return new VirtioPmdError('ECONFIG', `${titleOf(file)}: ${why}`);
}

/** Runs `use` with a file that is open; closes it when that throws. @throws VirtioPmdError ECONFIG */
function opened(file: CaptureFile, flags: number, use: (fd: number, stats: Stats) => void): number {
  let fd: number;
  try {
    fd = openSync(file.path, flags, 0o644);
  } catch (error) {
    throw refuse(file, whyNotOpened(file, error));
  }
  try {
    use(fd, fstatSync(fd));
    return fd;
  } catch (error) {
    closeSync(fd);
    if (error instanceof VirtioPmdError) throw error;
    throw refuse(file, `cannot be used (${nameOf(error)})`);
  }
}

const nameOf = (error: unknown) => getSystemErrorName(-errnoNumber(error));

function whyNotOpened({ key }: CaptureFile, error: unknown): string {
  const name = nameOf(error);
  const isRx = key === 'rx_pcap';
  switch (name) {
    case 'ENOENT':
      return isRx ? 'there is no such file: expected a capture file' : 'its directory does not exist: make it first';
    case 'EISDIR':
      return 'is a directory: expected a file';
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `may not be ${isRx ? 'read' : 'written'} by this user (${name}): change its permissions, or name another file`;
    case 'ENXIO':
      return 'is a FIFO or a socket: expected a file';
    default:
      return `cannot be opened (${name})`;
  }
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory';
  if (stats.isFIFO()) return 'a FIFO';
  return 'not a regular file';
}

/**
 * Opens a file to receive, and sets `state` to its first packet.
 * @returns its descriptor. @throws VirtioPmdError ECONFIG when it cannot be read, or is no capture file of Ethernet packets
 */
export function openInput(file: CaptureFile, state: CaptureState): number {
  return opened(file, READ, (fd, stats) => {
    if (!stats.isFile()) throw refuse(file, `is ${kindOf(stats)}: expected a capture file`);
    beginFile(state, fd, stats.size);
    readHeader(file, fd, state);
  });
}

function readHeader(file: CaptureFile, fd: number, { words, doubles }: CaptureState): void {
  const header = new DataView(new ArrayBuffer(MIN_SECTION_HEADER));
  const got = readSync(fd, new Uint8Array(header.buffer), 0, MIN_SECTION_HEADER, 0);
  if (got >= 2 && header.getUint16(0) === 0x1f8b) {
    throw refuse(file, 'is compressed with gzip: decompress it first (gunzip)');
  }
  if (got < 4) throw refuse(file, `has ${got} bytes: expected a capture file, whose header has ${PCAP_HEADER}`);
  const magic = header.getUint32(0);
  const isSection = magic === SECTION_HEADER;
  const isLittle = isSection ? header.getUint32(8, true) === BYTE_ORDER_MAGIC : isPcap(header.getUint32(0, true));
  const isKnown = isLittle || (isSection ? header.getUint32(8) === BYTE_ORDER_MAGIC : isPcap(magic));
  const needed = isSection ? MIN_SECTION_HEADER : PCAP_HEADER;
  if ((isSection || isKnown) && got < needed) {
    throw refuse(file, `has ${got} bytes: it was cut within its header, which has ${needed}`);
  }
  if (!isKnown) {
    throw refuse(
      file,
      `is no capture file: it begins with ${hex(magic)}; expected pcap or pcapng, as tcpdump -w writes`,
    );
  }
  words[BIG_ENDIAN] = isLittle ? 0 : 1;
  words[FORMAT] = isSection ? PCAPNG : PCAP;
  const major = header.getUint16(isSection ? 12 : 4, isLittle);
  const minor = header.getUint16(isSection ? 14 : 6, isLittle);
  if (isSection) {
    if (major !== 1) throw refuse(file, `is pcapng of version ${major}.${minor}: expected version 1`);
    return;
  }
  if (major !== 2 || minor !== 4) throw refuse(file, `is pcap of version ${major}.${minor}: expected version 2.4`);
  // the upper bits say how long the frame check sequence is, if packets have one
  checkLinktype(file, header.getUint32(20, isLittle) & 0x03ffffff);
  words[SNAPLEN] = snaplenOf(header.getUint32(16, isLittle));
  doubles[POSITION] = PCAP_HEADER;
}

const isPcap = (magic: number) => magic === MAGIC_MICROSECONDS || magic === MAGIC_NANOSECONDS;
const hex = (value: number) => `0x${value.toString(16).padStart(8, '0')}`;

function checkLinktype(file: CaptureFile, linktype: number): void {
  if (linktype === LINKTYPE_ETHERNET) return;
  throw refuse(file, `has packets of link type ${linktype}: expected Ethernet, which is ${LINKTYPE_ETHERNET}`);
}

/**
 * Looks at a file when the port is attached, and closes it again.
 * @param infinite it needs a packet. @throws VirtioPmdError ECONFIG
 */
export function checkInput(file: CaptureFile, infinite: boolean): void {
  const state = captureState(newCaptureState());
  const fd = openInput(file, state);
  try {
    const reader = new CaptureReader(state, false);
    reader.begin();
    let found = reader.peek();
    if (found === 'packet' && !reader.isEthernet) {
      throw refuse(file, 'its first packet is of an interface that is not Ethernet: expected Ethernet packets');
    }
    if (!infinite) return;
    for (; found !== 'end'; found = reader.peek()) {
      if (found === 'packet' && reader.isEthernet && reader.length >= ETHER_HDR_LEN) return;
      if (found === 'packet') reader.take(false);
      else reader.begin();
    }
    throw refuse(file, 'has no packets: infinite_rx=1 needs one at least');
  } finally {
    closeSync(fd);
  }
}

/**
 * Opens a file to write to, empties it, and writes the header of a capture file.
 * @param inputs descriptors of files that are received: none of them may be emptied
 * @returns its descriptor. @throws VirtioPmdError ECONFIG
 */
export function openOutput(file: CaptureFile, inputs: readonly number[], state: CaptureState): number {
  return opened(file, WRITE, (fd, stats) => {
    if (!stats.isFile() && !stats.isCharacterDevice()) throw refuse(file, `is ${kindOf(stats)}: expected a file`);
    const isSame = (other: Stats) => other.dev === stats.dev && other.ino === stats.ino;
    if (stats.isFile() && inputs.some((input) => isSame(fstatSync(input)))) {
      throw refuse(file, 'is in use by this port already, and would be overwritten: name another file');
    }
    const header = pcapHeader();
    if (stats.isFile()) ftruncateSync(fd, 0);
    beginFile(state, fd, header.length);
    try {
      writeSync(fd, header, 0, header.length, 0);
    } catch (error) {
      throw refuse(file, `cannot be written to (${nameOf(error)}): free some space, or name another file`);
    }
    state.doubles[POSITION] = header.length;
  });
}
