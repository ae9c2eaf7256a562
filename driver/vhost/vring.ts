/**
 * One virtqueue as the messages describe it, and the ring that runs once all of it is known. Front-ends send the messages in
 * different orders, so nothing here assumes one: each message sets a field, and `VhostDevice.update` starts or stops the ring.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { signalPeer } from '../../native/peer-event.js';
import { closeFd } from '../../native/region.js';
import type { GuestMemory } from '../../paths/device/guest-memory.js';
import { openDeviceQueue } from '../../paths/device/open.js';
import type { DeviceQueue } from '../../paths/device/queue.js';
import { DESC_SIZE } from '../../paths/layout.js';
import { STATS_COUNT } from '../../paths/stats.js';
import type { VringAddr } from '../wire/vhost-user.js';

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
  /** The running ring; undefined while it is stopped. */
  queue: DeviceQueue | undefined;
  /** The reason of `queue.broken` has been logged. */
  reported = false;
  /** That packets of this ring are dropped has been logged. */
  dropsReported = false;
  /** Something that a start depends on has changed since the last attempt. */
  changed = true;

  private addresses: RingAddresses | undefined;
  private kickFd = -1;
  private callFd = -1;
  private errFd = -1;
  /** Counters of this ring's earlier runs. */
  private readonly total = new Float64Array(STATS_COUNT);
  /** Where our own last run in this connection ended; undefined before it. */
  private left: number | undefined;
  /** Another back-end has served the ring since our last run, and the guest may wait for a notification of what that one used. */
  private owesSignal = false;

  constructor(readonly index: number) {}

  /** All that a ring needs to run is known. */
  get complete(): boolean {
    return this.kicked && this.size > 0 && this.addresses !== undefined;
  }

  /**
   * SET_VRING_ADDR.
   * @throws VirtioPmdError EPEER for an address that is misaligned or outside of the memory, or parts that overlap.
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
    if (this.kickFd >= 0) closeFd(this.kickFd);
    this.kickFd = fd;
    this.kicked = true;
    // a new kick restarts a ring that stopped because of an error
    if (this.queue?.broken !== undefined) this.close();
    this.changed = true;
  }

  /** SET_VRING_CALL. Takes ownership of the descriptor (-1: none, the guest polls). */
  setCallFd(fd: number): void {
    const old = this.callFd;
    this.callFd = fd;
    this.queue?.setCallFd(fd);
    this.paySignal();
    if (old >= 0) closeFd(old);
  }

  /**
   * Another back-end, or the front-end, may have used buffers without a notification: without this one the guest would wait
   * for ever.
   */
  private paySignal(): void {
    if (!this.owesSignal || this.callFd < 0) return;
    signalPeer(this.callFd);
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
    const { index, size, addresses, callFd } = this;
    this.changed = false;
    if (addresses === undefined) throw new VirtioPmdError('ESTATE', `vring ${index} has no addresses yet`);
    checkAddresses(index, addresses, size, format.packed, memory);
    const base = this.base ?? initialBase(format.packed);
    this.queue = openDeviceQueue(
      {
        index,
        size,
        base,
        left: this.left,
        callFd,
        descAddr: addresses.desc,
        driverAddr: addresses.driver,
        deviceAddr: addresses.device,
        ...format,
      },
      memory,
    );
    this.reported = false;
    this.owesSignal = this.queue.base() !== (this.left ?? initialBase(format.packed));
    this.paySignal();
    // packed: the used half of the base that front-ends return is not reliable
    const mask = format.packed ? 0xffff : -1;
    const used = this.queue.base() & mask;
    return used === (base & mask) ? undefined : { base: base & mask, used };
  }

  /** Stops the ring and remembers its position. The kick stays valid: `open` may follow. */
  close(): void {
    if (this.queue === undefined) return;
    this.base = this.left = this.queue.base();
    this.owesSignal = false;
    const { stats } = this.queue;
    for (let i = 0; i < STATS_COUNT; i++) this.total[i]! += stats[i]!;
    this.queue = undefined;
  }

  /** GET_VRING_BASE: stops the ring until the next SET_VRING_KICK, and closes its descriptors. @returns its position. */
  stop(packed: boolean): number {
    this.close();
    this.kicked = false;
    if (this.kickFd >= 0) closeFd(this.kickFd);
    if (this.callFd >= 0) closeFd(this.callFd);
    this.kickFd = this.callFd = -1;
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

  /** Stops the ring and closes every descriptor. */
  dispose(): void {
    this.stop(false);
    this.setErrFd(-1);
  }

  /** Counters since the connection began (indices of paths/stats.ts), in a new array. */
  stats(): Float64Array {
    const sum = this.total.slice();
    if (this.queue !== undefined) for (let i = 0; i < STATS_COUNT; i++) sum[i]! += this.queue.stats[i]!;
    return sum;
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
