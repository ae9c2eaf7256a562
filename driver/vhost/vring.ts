/**
 * One virtqueue as the messages describe it, and the ring that runs once everything about it is known. Messages come in
 * any order (front-ends differ widely), so nothing here assumes one: each sets a field, and `update` starts or stops.
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

/** What the negotiated features mean for every ring of a device. */
export interface RingFormat {
  readonly packed: boolean;
  readonly hdrSize: number;
  readonly mergeable: boolean;
  readonly inOrder: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
}

/** Front-end user addresses of a ring's three parts. */
interface RingAddresses {
  readonly desc: number;
  /** Avail ring, or driver event suppression. */
  readonly driver: number;
  /** Used ring, or device event suppression. */
  readonly device: number;
}

/** SET_VRING_BASE before any: a split ring starts at 0, a packed one at 0 with its wrap counters set. */
const initialBase = (packed: boolean): number => (packed ? 0x80008000 : 0);

export class Vring {
  size = 0;
  /** Where the ring goes on, undefined until SET_VRING_BASE or the first stop. */
  base: number | undefined;
  /** A kick message has come since the last stop. A front-end that polls never writes to the descriptor itself. */
  kicked = false;
  /** SET_VRING_ENABLE. */
  enabled = false;
  /** The running ring. */
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
  /** Where our own last run in this connection ended: an initial position is right when that is it. */
  private left: number | undefined;
  /** Somebody else has served the ring since our last run, and the guest may wait for a notification of what that one used. */
  private owesSignal = false;

  constructor(readonly index: number) {}

  /** Everything is known that a ring needs to run. */
  get complete(): boolean {
    return this.kicked && this.size > 0 && this.addresses !== undefined;
  }

  /** @throws VirtioPmdError EPEER when an address cannot be: misaligned, outside of the memory, parts that overlap. */
  setAddresses(addr: VringAddr, format: RingFormat, memory: GuestMemory): void {
    const at = addressesOf(addr);
    // before size or memory are known there is nothing to compare with: the start of the ring checks it again
    if (this.size > 0 && memory.slices.length > 0) checkAddresses(this.index, at, this.size, format.packed, memory);
    const same =
      this.addresses?.desc === at.desc && this.addresses.driver === at.driver && this.addresses.device === at.device;
    if (!same) this.close();
    this.addresses = at;
    this.changed = true;
  }

  /** Takes ownership of the descriptor (-1: none, the guest is to poll). */
  setKickFd(fd: number): void {
    if (this.kickFd >= 0) closeFd(this.kickFd);
    this.kickFd = fd;
    this.kicked = true;
    // the guest's way to restart a ring that was given up
    if (this.queue?.broken !== undefined) this.close();
    this.changed = true;
  }

  /** Takes ownership of the descriptor (-1: none, the guest polls). */
  setCallFd(fd: number): void {
    const old = this.callFd;
    this.callFd = fd;
    this.queue?.setCallFd(fd);
    this.paySignal();
    if (old >= 0) closeFd(old);
  }

  /** A guest that waits for what another back-end, or the front-end, used without saying so would wait for ever. */
  private paySignal(): void {
    if (!this.owesSignal || this.callFd < 0) return;
    signalPeer(this.callFd);
    this.owesSignal = false;
  }

  /** Takes ownership of the descriptor. */
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
   * @returns undefined, or the two positions when the ring's memory says another than the front-end: `used` is where it goes on.
   * @throws VirtioPmdError EPEER when addresses or size cannot be.
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
    // packed: the used half of what front-ends hand back is not to be relied upon
    const mask = format.packed ? 0xffff : -1;
    const used = this.queue.base() & mask;
    return used === (base & mask) ? undefined : { base: base & mask, used };
  }

  /** Ends the ring's run and remembers where it stood. The kick stays valid: `open` may follow. */
  close(): void {
    if (this.queue === undefined) return;
    this.base = this.left = this.queue.base();
    this.owesSignal = false;
    const { stats } = this.queue;
    for (let i = 0; i < STATS_COUNT; i++) this.total[i]! += stats[i]!;
    this.queue = undefined;
  }

  /** GET_VRING_BASE: ends the run until the next kick, gives the descriptors back. @returns where the ring stands. */
  stop(packed: boolean): number {
    this.close();
    this.kicked = false;
    if (this.kickFd >= 0) closeFd(this.kickFd);
    if (this.callFd >= 0) closeFd(this.callFd);
    this.kickFd = this.callFd = -1;
    return this.base ?? initialBase(packed);
  }

  /**
   * The device was reset: the next run needs a new kick. The position stays for GET_VRING_BASE, which QEMU 7.2 sends after
   * SET_STATUS 0 whenever it stops a device (newer ones before it); a new run begins with SET_VRING_BASE.
   */
  reset(): void {
    this.close();
    this.kicked = false;
  }

  /** The format has changed: a position of the other one means nothing. */
  forgetPosition(): void {
    this.base = this.left = undefined;
  }

  /** Everything off, every descriptor closed. */
  dispose(): void {
    this.stop(false);
    this.setErrFd(-1);
  }

  /** Counters since the connection (indices of paths/stats), in a new array. */
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

/** virtio 1.2 sections 2.7 and 2.8: alignment and length of each part. @throws VirtioPmdError EPEER */
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
