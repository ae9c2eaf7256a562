/**
 * One virtqueue as the messages describe it, and the ring that runs once all of it is known. Front-ends send the messages in
 * different orders, so nothing here assumes one: each message sets a field, and `VhostDevice.update` starts or stops the ring.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { signalPeer } from '../../native/peer-event.js';
import { closeFd } from '../../native/region.js';
import type { GuestMemory } from '../../paths/device/guest-memory.js';
import { startRing } from '../../paths/device/open.js';
import { CALL_FD, KICK_FD, STARTED, type RingState } from '../../paths/device/ring-state.js';
import { DESC_SIZE } from '../../paths/layout.js';
import type { VringAddr } from '../wire/vhost-user.js';
import type { Handover } from './handover.js';

/** The format of every ring of a device, by the negotiated features. */
export interface RingFormat {
  readonly packed: boolean;
  /** Bytes of the net header. */
  readonly hdrSize: number;
  readonly mergeable: boolean;
  readonly inOrder: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
}

/** Addresses of a ring's three parts, in the front-end's user address space (SET_VRING_ADDR). */
interface RingAddresses {
  readonly desc: number;
  /** Avail ring, or driver event suppression. */
  readonly driver: number;
  /** Used ring, or device event suppression. */
  readonly device: number;
}

/** The base before any SET_VRING_BASE: 0 for a split ring; for a packed one 0 with both wrap counters set. */
const initialBase = (packed: boolean): number => (packed ? 0x80008000 : 0);

/** A virtqueue. */
export class Vring {
  /** Descriptors (SET_VRING_NUM). */
  size = 0;
  /** Where the ring continues, as in SET_VRING_BASE; undefined until that message or the first stop. */
  base: number | undefined;
  /** SET_VRING_KICK has come since the last stop. A front-end whose back-end polls never writes to the descriptor itself. */
  kicked = false;
  /** SET_VRING_ENABLE. */
  enabled = false;
  /** The reason why the ring is broken has been logged. */
  reported = false;
  /** That packets of this ring are dropped has been logged. */
  dropsReported = false;
  /** Something that a start depends on has changed since the last attempt. */
  changed = true;

  private addresses: RingAddresses | undefined;
  private errFd = -1;
  /** Where our own last run in this connection ended; undefined before it. */
  private left: number | undefined;
  /** Another back-end has served the ring since our last run, and the guest may wait for a notification of what that one used. */
  private owesSignal = false;
  /** The format of the current run; undefined while the ring is stopped. */
  private running: RingFormat | undefined;
  /** Bursts are kept out, and nobody is in one. */
  private isQuiet = false;

  /** @param state shared with the threads that poll the ring. */
  constructor(
    readonly index: number,
    readonly state: RingState,
    private readonly handover: Handover,
  ) {}

  /** All that a ring needs to run is known. */
  get complete(): boolean {
    return this.kicked && this.size > 0 && this.addresses !== undefined;
  }

  get isRunning(): boolean {
    return this.running !== undefined;
  }

  /**
   * SET_VRING_ADDR.
   * @throws VirtioPmdError EPEER for an address that is misaligned or outside of the memory, or parts that overlap; ELCORE,
   *   ETIMEOUT from the hand-over, as all methods that stop a ring or replace a descriptor.
   */
  setAddresses(addr: VringAddr, format: RingFormat, memory: GuestMemory): void {
    const at = addressesOf(addr);
    // before size and memory are known this cannot be checked; the start of the ring checks it again
    if (this.size > 0 && memory.slices.length > 0) checkAddresses(this.index, at, this.size, format.packed, memory);
    const same =
      this.addresses?.desc === at.desc && this.addresses.driver === at.driver && this.addresses.device === at.device;
    if (!same) this.close();
    this.addresses = at;
    this.changed = true;
  }

  /** SET_VRING_KICK. Takes ownership of the descriptor (-1: none, the back-end polls). */
  setKickFd(fd: number): void {
    // a new kick restarts a ring that stopped because of an error
    if (this.isRunning && this.state.broken !== undefined) this.close();
    this.kicked = true;
    this.changed = true;
    this.replaceFd(KICK_FD, fd);
  }

  /** SET_VRING_CALL. Takes ownership of the descriptor (-1: none, the guest polls). */
  setCallFd(fd: number): void {
    this.replaceFd(CALL_FD, fd);
    this.paySignal();
  }

  private replaceFd(word: number, fd: number): void {
    const { words } = this.state;
    const old = words[word]!;
    Atomics.store(words, word, fd);
    if (old < 0) return;
    try {
      // a burst may still signal the old one, or a thread wait for it
      if (this.isRunning && !this.isQuiet) this.handover.wait();
    } finally {
      this.handover.free(() => closeFd(old));
    }
  }

  /**
   * Another back-end, or the front-end, may have used buffers without a notification: without this one the guest would wait
   * for ever.
   */
  private paySignal(): void {
    const callFd = this.state.words[CALL_FD]!;
    if (!this.owesSignal || callFd < 0) return;
    signalPeer(callFd);
    this.owesSignal = false;
  }

  /** SET_VRING_ERR. Takes ownership of the descriptor (-1: none). */
  setErrFd(fd: number): void {
    if (this.errFd >= 0) closeFd(this.errFd);
    this.errFd = fd;
  }

  /** The guest's own error descriptor, or -1. */
  get errorFd(): number {
    return this.errFd;
  }

  /**
   * Starts the ring.
   * @returns undefined, or both positions when the ring's memory has another than the front-end gave: `base` is the given one, the
   *   ring continues at `used`.
   * @throws VirtioPmdError EPEER for wrong addresses or a wrong size, ESTATE without addresses.
   */
  open(format: RingFormat, memory: GuestMemory): { readonly base: number; readonly used: number } | undefined {
    const { index, size, addresses, state, left } = this;
    this.changed = false;
    if (addresses === undefined) throw new VirtioPmdError('ESTATE', `vring ${index} has no addresses yet`);
    checkAddresses(index, addresses, size, format.packed, memory);
    const base = this.base ?? initialBase(format.packed);
    const { desc: descAddr, driver: driverAddr, device: deviceAddr } = addresses;
    startRing({ index, size, base, left, descAddr, driverAddr, deviceAddr, ...format }, state, memory);
    this.running = format;
    this.isQuiet = false;
    this.reported = false;
    const position = state.base(format.packed);
    this.owesSignal = position !== (left ?? initialBase(format.packed));
    this.paySignal();
    // packed: the used half of the base that front-ends return is not reliable
    const mask = format.packed ? 0xffff : -1;
    const used = position & mask;
    return used === (base & mask) ? undefined : { base: base & mask, used };
  }

  /** Keeps bursts out from now on. Nobody is in one any more after the next wait of the hand-over. @returns whether it ran */
  halt(): boolean {
    if (!this.isRunning || this.isQuiet) return false;
    Atomics.store(this.state.words, STARTED, 0);
    return true;
  }

  /** After `halt` and a wait: further calls need not wait. */
  quieten(): void {
    this.isQuiet = true;
  }

  /** Stops the ring and remembers its position. The kick stays valid: `open` may follow. */
  close(): void {
    if (this.running === undefined) return;
    if (this.halt()) this.handover.wait();
    this.base = this.left = this.state.base(this.running.packed);
    this.owesSignal = false;
    this.running = undefined;
  }

  /** GET_VRING_BASE: stops the ring until the next SET_VRING_KICK, and closes its descriptors. @returns its position. */
  stop(packed: boolean): number {
    this.close();
    this.kicked = false;
    this.replaceFd(KICK_FD, -1);
    this.replaceFd(CALL_FD, -1);
    return this.base ?? initialBase(packed);
  }

  /**
   * The device was reset: the next run needs a new kick. The position is kept for GET_VRING_BASE, which QEMU 7.2 sends after
   * SET_STATUS 0 whenever it stops a device (newer versions send it before). A new run begins with SET_VRING_BASE.
   */
  reset(): void {
    this.close();
    this.kicked = false;
  }

  /** The format has changed: a position in the other format is not valid any more. */
  forgetPosition(): void {
    this.base = this.left = undefined;
  }

  /** Stops the ring, which `halt` has been called for, and closes every descriptor. Never throws. */
  dispose(): void {
    this.isQuiet = true;
    this.stop(false);
    this.setErrFd(-1);
  }

  /** Counters since the connection began (indices of paths/stats.ts), in a new array. */
  stats(): Float64Array {
    return this.state.stats.slice();
  }
}

function addressesOf(addr: VringAddr): RingAddresses {
  const { desc, avail, used } = addr;
  if (desc > Number.MAX_SAFE_INTEGER || avail > Number.MAX_SAFE_INTEGER || used > Number.MAX_SAFE_INTEGER) {
    throw new VirtioPmdError('EPEER', `an address of vring ${addr.index} is beyond 2^53`);
  }
  return { desc: Number(desc), driver: Number(avail), device: Number(used) };
}

/**
 * Checks alignment and length of each part (virtio 1.2 sections 2.7 and 2.8), and that no two overlap.
 * @throws VirtioPmdError EPEER
 */
function checkAddresses(
  index: number,
  { desc, driver, device }: RingAddresses,
  size: number,
  packed: boolean,
  memory: GuestMemory,
): void {
  const parts = [
    { what: packed ? 'descriptor ring' : 'descriptor table', at: desc, length: size * DESC_SIZE, alignment: 16 },
    packed
      ? { what: 'driver event suppression', at: driver, length: 4, alignment: 4 }
      : { what: 'avail ring', at: driver, length: 4 + 2 * size, alignment: 2 },
    packed
      ? { what: 'device event suppression', at: device, length: 4, alignment: 4 }
      : { what: 'used ring', at: device, length: 4 + 8 * size, alignment: 4 },
  ];
  for (const { what, at, length, alignment } of parts) memory.ring(at, length, alignment, `${what} of vring ${index}`);
  for (const [i, a] of parts.entries()) {
    for (const b of parts.slice(i + 1)) {
      if (a.at < b.at + b.length && b.at < a.at + a.length) {
        throw new VirtioPmdError('EPEER', `the ${a.what} and the ${b.what} of vring ${index} overlap`);
      }
    }
  }
}
