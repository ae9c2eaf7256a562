/**
 * The vhost-user protocol as bytes (QEMU's docs/interop/vhost-user.rst): numbers, layouts, exact sizes, and checks of
 * headers and replies. No I/O. Both ends use it; the checks of a back-end are in vhost-user-checks.ts. Multi-byte fields
 * are in host order, which is little endian on every supported CPU.
 */
import { hex } from '../../native/hex.js';

// ---- header ----------------------------------------------------------------------------------------------------------

/** request u32, flags u32, size u32 (of the payload). */
export const HEADER_SIZE = 12;
export const VERSION = 0x1;
export const VERSION_MASK = 0x3;
export const REPLY = 0x4;
export const NEED_REPLY = 0x8;
/** Flags of every reply, exactly. */
export const REPLY_FLAGS = VERSION | REPLY;

/** Largest payload that either side accepts; checked before a byte of it is read. */
export const MAX_MESSAGE = 4096;
/** Regions of one memory table (VHOST_MEMORY_BASELINE_NREGIONS). */
export const MAX_REGIONS = 8;
/** GET_MAX_MEM_SLOTS: most regions of a device when they are added one by one. QEMU can plug in as many DIMMs. */
export const MAX_MEM_SLOTS = 64;
/** Most descriptors that a valid message has. */
export const MAX_MESSAGE_FDS = MAX_REGIONS;
/** Most queue pairs of a device (VHOST_MAX_QUEUE_PAIRS). */
export const MAX_QUEUE_PAIRS = 128;

// ---- requests --------------------------------------------------------------------------------------------------------

export const GET_FEATURES = 1;
export const SET_FEATURES = 2;
export const SET_OWNER = 3;
export const RESET_OWNER = 4;
export const SET_MEM_TABLE = 5;
const SET_LOG_BASE = 6;
const SET_LOG_FD = 7;
export const SET_VRING_NUM = 8;
export const SET_VRING_ADDR = 9;
export const SET_VRING_BASE = 10;
export const GET_VRING_BASE = 11;
export const SET_VRING_KICK = 12;
export const SET_VRING_CALL = 13;
export const SET_VRING_ERR = 14;
export const GET_PROTOCOL_FEATURES = 15;
export const SET_PROTOCOL_FEATURES = 16;
export const GET_QUEUE_NUM = 17;
export const SET_VRING_ENABLE = 18;
const SEND_RARP = 19;
export const NET_SET_MTU = 20;
const SET_BACKEND_REQ_FD = 21;
const IOTLB_MSG = 22;
const SET_VRING_ENDIAN = 23;
export const GET_CONFIG = 24;
const SET_CONFIG = 25;
const CREATE_CRYPTO_SESSION = 26;
const CLOSE_CRYPTO_SESSION = 27;
const POSTCOPY_ADVISE = 28;
const POSTCOPY_LISTEN = 29;
const POSTCOPY_END = 30;
const GET_INFLIGHT_FD = 31;
const SET_INFLIGHT_FD = 32;
const GPU_SET_SOCKET = 33;
const RESET_DEVICE = 34;
const VRING_KICK = 35;
export const GET_MAX_MEM_SLOTS = 36;
export const ADD_MEM_REG = 37;
export const REM_MEM_REG = 38;
export const SET_STATUS = 39;
export const GET_STATUS = 40;

// ---- protocol features (bits of GET/SET_PROTOCOL_FEATURES) --------------------------------------------------------------

export const PROTOCOL_F_MQ = 1n << 0n;
const PROTOCOL_F_LOG_SHMFD = 1n << 1n;
const PROTOCOL_F_RARP = 1n << 2n;
export const PROTOCOL_F_REPLY_ACK = 1n << 3n;
export const PROTOCOL_F_NET_MTU = 1n << 4n;
export const PROTOCOL_F_BACKEND_REQ = 1n << 5n;
const PROTOCOL_F_CROSS_ENDIAN = 1n << 6n;
const PROTOCOL_F_CRYPTO_SESSION = 1n << 7n;
const PROTOCOL_F_PAGEFAULT = 1n << 8n;
export const PROTOCOL_F_CONFIG = 1n << 9n;
const PROTOCOL_F_BACKEND_SEND_FD = 1n << 10n;
const PROTOCOL_F_HOST_NOTIFIER = 1n << 11n;
const PROTOCOL_F_INFLIGHT_SHMFD = 1n << 12n;
const PROTOCOL_F_RESET_DEVICE = 1n << 13n;
export const PROTOCOL_F_INBAND_NOTIFICATIONS = 1n << 14n;
export const PROTOCOL_F_CONFIGURE_MEM_SLOTS = 1n << 15n;
export const PROTOCOL_F_STATUS = 1n << 16n;

/** Names by mask, without PROTOCOL_F_. */
const protocolNames: ReadonlyMap<bigint, string> = new Map([
  [PROTOCOL_F_MQ, 'MQ'],
  [PROTOCOL_F_LOG_SHMFD, 'LOG_SHMFD'],
  [PROTOCOL_F_RARP, 'RARP'],
  [PROTOCOL_F_REPLY_ACK, 'REPLY_ACK'],
  [PROTOCOL_F_NET_MTU, 'NET_MTU'],
  [PROTOCOL_F_BACKEND_REQ, 'BACKEND_REQ'],
  [PROTOCOL_F_CROSS_ENDIAN, 'CROSS_ENDIAN'],
  [PROTOCOL_F_CRYPTO_SESSION, 'CRYPTO_SESSION'],
  [PROTOCOL_F_PAGEFAULT, 'PAGEFAULT'],
  [PROTOCOL_F_CONFIG, 'CONFIG'],
  [PROTOCOL_F_BACKEND_SEND_FD, 'BACKEND_SEND_FD'],
  [PROTOCOL_F_HOST_NOTIFIER, 'HOST_NOTIFIER'],
  [PROTOCOL_F_INFLIGHT_SHMFD, 'INFLIGHT_SHMFD'],
  [PROTOCOL_F_RESET_DEVICE, 'RESET_DEVICE'],
  [PROTOCOL_F_INBAND_NOTIFICATIONS, 'INBAND_NOTIFICATIONS'],
  [PROTOCOL_F_CONFIGURE_MEM_SLOTS, 'CONFIGURE_MEM_SLOTS'],
  [PROTOCOL_F_STATUS, 'STATUS'],
]);

/** Names of all protocol features of a set; unknown bits are "bit N". */
export function protocolFeatureNames(features: bigint): string[] {
  const found: string[] = [];
  for (let n = 0; n < 64; n++) {
    const bit = 1n << BigInt(n);
    if (features & bit) found.push(protocolNames.get(bit) ?? `bit ${n}`);
  }
  return found;
}

// ---- the table of requests -------------------------------------------------------------------------------------------

/** How many descriptors a request has: a number, one for each region, or 'vring': one unless bit 8 (no fd) is set. */
export type FdRule = number | 'regions' | 'vring' | 'optional';
/** Payload size: exact bytes, or that of a memory table or config access, which contain their length. */
export type SizeRule = number | 'memory' | 'config' | 'any';

export interface RequestInfo {
  readonly name: string;
  readonly size: SizeRule;
  readonly fds: FdRule;
  /** The request has a reply of its own, so that NEED_REPLY adds none (Communication section). */
  readonly replies: boolean;
}

export const U64_SIZE = 8;
export const VRING_STATE_SIZE = 8;
const VRING_ADDR_SIZE = 40;
export const MEMORY_HEADER_SIZE = 8;
export const REGION_SIZE = 32;
const SINGLE_REGION_SIZE = 8 + REGION_SIZE;
export const CONFIG_HEADER_SIZE = 12;

const request = (name: string, size: SizeRule, fds: FdRule = 0, replies = false): RequestInfo => ({
  name,
  size,
  fds,
  replies,
});

const requests: Readonly<Record<number, RequestInfo>> = {
  [GET_FEATURES]: request('GET_FEATURES', 0, 0, true),
  [SET_FEATURES]: request('SET_FEATURES', U64_SIZE),
  [SET_OWNER]: request('SET_OWNER', 0),
  [RESET_OWNER]: request('RESET_OWNER', 0),
  [SET_MEM_TABLE]: request('SET_MEM_TABLE', 'memory', 'regions'),
  [SET_LOG_BASE]: request('SET_LOG_BASE', 16, 1, true),
  [SET_LOG_FD]: request('SET_LOG_FD', 0, 1),
  [SET_VRING_NUM]: request('SET_VRING_NUM', VRING_STATE_SIZE),
  [SET_VRING_ADDR]: request('SET_VRING_ADDR', VRING_ADDR_SIZE),
  [SET_VRING_BASE]: request('SET_VRING_BASE', VRING_STATE_SIZE),
  [GET_VRING_BASE]: request('GET_VRING_BASE', VRING_STATE_SIZE, 0, true),
  [SET_VRING_KICK]: request('SET_VRING_KICK', U64_SIZE, 'vring'),
  [SET_VRING_CALL]: request('SET_VRING_CALL', U64_SIZE, 'vring'),
  [SET_VRING_ERR]: request('SET_VRING_ERR', U64_SIZE, 'vring'),
  [GET_PROTOCOL_FEATURES]: request('GET_PROTOCOL_FEATURES', 0, 0, true),
  [SET_PROTOCOL_FEATURES]: request('SET_PROTOCOL_FEATURES', U64_SIZE),
  [GET_QUEUE_NUM]: request('GET_QUEUE_NUM', 0, 0, true),
  [SET_VRING_ENABLE]: request('SET_VRING_ENABLE', VRING_STATE_SIZE),
  [SEND_RARP]: request('SEND_RARP', U64_SIZE),
  [NET_SET_MTU]: request('NET_SET_MTU', U64_SIZE),
  [SET_BACKEND_REQ_FD]: request('SET_BACKEND_REQ_FD', 0, 1),
  [IOTLB_MSG]: request('IOTLB_MSG', 32),
  [SET_VRING_ENDIAN]: request('SET_VRING_ENDIAN', VRING_STATE_SIZE),
  [GET_CONFIG]: request('GET_CONFIG', 'config', 0, true),
  [SET_CONFIG]: request('SET_CONFIG', 'config'),
  [CREATE_CRYPTO_SESSION]: request('CREATE_CRYPTO_SESSION', 'any', 0, true),
  [CLOSE_CRYPTO_SESSION]: request('CLOSE_CRYPTO_SESSION', U64_SIZE),
  [POSTCOPY_ADVISE]: request('POSTCOPY_ADVISE', 0, 0, true),
  [POSTCOPY_LISTEN]: request('POSTCOPY_LISTEN', 0),
  [POSTCOPY_END]: request('POSTCOPY_END', 0, 0, true),
  // the structure ends in two 16-bit fields: 20 bytes, or 24 with the compiler's padding
  [GET_INFLIGHT_FD]: request('GET_INFLIGHT_FD', 'any', 0, true),
  [SET_INFLIGHT_FD]: request('SET_INFLIGHT_FD', 'any', 1),
  [GPU_SET_SOCKET]: request('GPU_SET_SOCKET', 0, 1),
  [RESET_DEVICE]: request('RESET_DEVICE', 0),
  [VRING_KICK]: request('VRING_KICK', VRING_STATE_SIZE),
  [GET_MAX_MEM_SLOTS]: request('GET_MAX_MEM_SLOTS', 0, 0, true),
  [ADD_MEM_REG]: request('ADD_MEM_REG', SINGLE_REGION_SIZE, 1),
  // a front-end should send no descriptor here; if it does, the descriptor is only closed
  [REM_MEM_REG]: request('REM_MEM_REG', SINGLE_REGION_SIZE, 'optional'),
  [SET_STATUS]: request('SET_STATUS', U64_SIZE),
  [GET_STATUS]: request('GET_STATUS', 0, 0, true),
};

/** The description of a request; undefined for one that this protocol version does not have. */
export function requestInfo(number: number): RequestInfo | undefined {
  return requests[number];
}

export function requestName(number: number): string {
  return requests[number]?.name ?? `request ${number}`;
}

// ---- messages --------------------------------------------------------------------------------------------------------

export interface Header {
  readonly request: number;
  readonly flags: number;
  /** Bytes of the payload. */
  readonly size: number;
}

/** One whole message. Its receiver owns the descriptors. */
export interface Message extends Header {
  readonly payload: Uint8Array;
  readonly fds: readonly number[];
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function encodeMessage(request: number, flags: number, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + payload.length);
  const data = view(bytes);
  data.setUint32(0, request, true);
  data.setUint32(4, flags, true);
  data.setUint32(8, payload.length, true);
  bytes.set(payload, HEADER_SIZE);
  return bytes;
}

/** The first 12 bytes of a message. */
export function decodeHeader(bytes: Uint8Array): Header {
  const data = view(bytes);
  return { request: data.getUint32(0, true), flags: data.getUint32(4, true), size: data.getUint32(8, true) };
}

export function encodeU64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(U64_SIZE);
  view(bytes).setBigUint64(0, value, true);
  return bytes;
}

export function decodeU64(payload: Uint8Array): bigint {
  return view(payload).getBigUint64(0, true);
}

/** SET_VRING_NUM, SET/GET_VRING_BASE, SET_VRING_ENABLE: a ring's index and a number. Both u32. */
export interface VringState {
  readonly index: number;
  readonly num: number;
}

export function encodeVringState({ index, num }: VringState): Uint8Array {
  const bytes = new Uint8Array(VRING_STATE_SIZE);
  const data = view(bytes);
  data.setUint32(0, index, true);
  data.setUint32(4, num, true);
  return bytes;
}

export function decodeVringState(payload: Uint8Array): VringState {
  const data = view(payload);
  return { index: data.getUint32(0, true), num: data.getUint32(4, true) };
}

/** SET_VRING_ADDR. Addresses are the front-end's user addresses; on a packed ring avail and used are the driver's and device's event structures. */
export interface VringAddr {
  readonly index: number;
  /** Bit 0: log writes to the used ring. */
  readonly flags: number;
  readonly desc: bigint;
  readonly used: bigint;
  readonly avail: bigint;
  /** Guest address of the used ring, for logging. */
  readonly log: bigint;
}

export function encodeVringAddr(addr: VringAddr): Uint8Array {
  const bytes = new Uint8Array(VRING_ADDR_SIZE);
  const data = view(bytes);
  data.setUint32(0, addr.index, true);
  data.setUint32(4, addr.flags, true);
  data.setBigUint64(8, addr.desc, true);
  data.setBigUint64(16, addr.used, true);
  data.setBigUint64(24, addr.avail, true);
  data.setBigUint64(32, addr.log, true);
  return bytes;
}

export function decodeVringAddr(payload: Uint8Array): VringAddr {
  const data = view(payload);
  return {
    index: data.getUint32(0, true),
    flags: data.getUint32(4, true),
    desc: data.getBigUint64(8, true),
    used: data.getBigUint64(16, true),
    avail: data.getBigUint64(24, true),
    log: data.getBigUint64(32, true),
  };
}

/** SET_VRING_KICK, _CALL, _ERR: bits 0 to 7 the ring, bit 8 "no descriptor attached: poll". */
export const VRING_INDEX_MASK = 0xffn;
export const VRING_NOFD = 0x100n;

export function encodeVringFd(index: number, hasFd: boolean): Uint8Array {
  return encodeU64(BigInt(index) | (hasFd ? 0n : VRING_NOFD));
}

/** One region of guest memory: `size` bytes at `mmapOffset` of the file that comes with it. */
export interface MemoryRegion {
  readonly guestAddr: bigint;
  readonly size: bigint;
  readonly userAddr: bigint;
  readonly mmapOffset: bigint;
}

function putRegion(data: DataView, at: number, region: MemoryRegion): void {
  data.setBigUint64(at, region.guestAddr, true);
  data.setBigUint64(at + 8, region.size, true);
  data.setBigUint64(at + 16, region.userAddr, true);
  data.setBigUint64(at + 24, region.mmapOffset, true);
}

function getRegion(data: DataView, at: number): MemoryRegion {
  return {
    guestAddr: data.getBigUint64(at, true),
    size: data.getBigUint64(at + 8, true),
    userAddr: data.getBigUint64(at + 16, true),
    mmapOffset: data.getBigUint64(at + 24, true),
  };
}

/** SET_MEM_TABLE: count u32, padding u32, then the regions. */
export function encodeMemoryTable(regions: readonly MemoryRegion[]): Uint8Array {
  const bytes = new Uint8Array(MEMORY_HEADER_SIZE + regions.length * REGION_SIZE);
  const data = view(bytes);
  data.setUint32(0, regions.length, true);
  regions.forEach((region, i) => putRegion(data, MEMORY_HEADER_SIZE + i * REGION_SIZE, region));
  return bytes;
}

/** Decodes a payload that `messageProblem` has accepted. */
export function decodeMemoryTable(payload: Uint8Array): MemoryRegion[] {
  const data = view(payload);
  return Array.from({ length: data.getUint32(0, true) }, (_, i) =>
    getRegion(data, MEMORY_HEADER_SIZE + i * REGION_SIZE),
  );
}

/** ADD_MEM_REG, REM_MEM_REG: padding u64, then one region. */
export function encodeSingleRegion(region: MemoryRegion): Uint8Array {
  const bytes = new Uint8Array(SINGLE_REGION_SIZE);
  putRegion(view(bytes), 8, region);
  return bytes;
}

export function decodeSingleRegion(payload: Uint8Array): MemoryRegion {
  return getRegion(view(payload), 8);
}

/** GET_CONFIG, SET_CONFIG: a piece of the device's config space. */
export interface ConfigAccess {
  readonly offset: number;
  readonly flags: number;
  /** Bytes of the piece (zeros in a GET_CONFIG request). */
  readonly data: Uint8Array;
}

export function encodeConfig({ offset, flags, data }: ConfigAccess): Uint8Array {
  const bytes = new Uint8Array(CONFIG_HEADER_SIZE + data.length);
  const out = view(bytes);
  out.setUint32(0, offset, true);
  out.setUint32(4, data.length, true);
  out.setUint32(8, flags, true);
  bytes.set(data, CONFIG_HEADER_SIZE);
  return bytes;
}

/** Decodes a payload that `messageProblem` has accepted. */
export function decodeConfig(payload: Uint8Array): ConfigAccess {
  const data = view(payload);
  return {
    offset: data.getUint32(0, true),
    flags: data.getUint32(8, true),
    data: payload.slice(CONFIG_HEADER_SIZE, CONFIG_HEADER_SIZE + data.getUint32(4, true)),
  };
}

// ---- validators: undefined, or a sentence that says what is wrong --------------------------------------------------------

/** Checks a header of either direction, before its payload is read. */
export function headerProblem({ request, flags, size }: Header): string | undefined {
  if ((flags & VERSION_MASK) !== VERSION) {
    return `${requestName(request)} has protocol version ${flags & VERSION_MASK}; only version 1 exists`;
  }
  if (size > MAX_MESSAGE) {
    return `invalid msg size: ${size} bytes in ${requestName(request)}, at most ${MAX_MESSAGE} are taken`;
  }
  return undefined;
}

/** Checks a reply that a front-end has received. */
export function replyProblem(header: Header, request: number, size: number | undefined): string | undefined {
  if (header.request !== request) {
    return `the reply to ${requestName(request)} is for ${requestName(header.request)} instead`;
  }
  if (header.flags !== REPLY_FLAGS) {
    return `the reply to ${requestName(request)} has flags ${hex(header.flags)} instead of 0x${REPLY_FLAGS}`;
  }
  if (size !== undefined && header.size !== size) {
    return `the reply to ${requestName(request)} has ${header.size} bytes instead of ${size}`;
  }
  return undefined;
}
