/**
 * Where a device stands in a ring, read from a paused guest's memory alone: what a back-end has to answer to GET_VRING_BASE. The
 * addresses are those of the messages that went through a relay.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { RelayedMessage } from '../../support/vhost-user-relay.js';
import type { Qmp } from './qmp.js';

interface Region {
  readonly guest: bigint;
  readonly size: bigint;
  readonly user: bigint;
}

const region = (bytes: Buffer, at: number): Region => ({
  guest: bytes.readBigUInt64LE(at),
  size: bytes.readBigUInt64LE(at + 8),
  user: bytes.readBigUInt64LE(at + 16),
});

/** The memory that a front-end has last told of on its newest connection. */
function regionsOf(log: readonly RelayedMessage[]): Region[] {
  let regions: Region[] = [];
  for (const { name, payload } of log) {
    if (name === 'SET_MEM_TABLE') {
      regions = Array.from({ length: payload.readUInt32LE(0) }, (_, i) => region(payload, 8 + 32 * i));
    } else if (name === 'ADD_MEM_REG') {
      regions.push(region(payload, 8));
    } else if (name === 'REM_MEM_REG') {
      const gone = region(payload, 8);
      regions = regions.filter(({ user }) => user !== gone.user);
    }
  }
  return regions;
}

const AVAIL = 1 << 7;
const USED = 1 << 15;

/**
 * Slot, wrap counter, and the slot again in the upper half, of a device that uses buffers in their order, one slot each (virtio 1.2 section
 * 2.8.1). A slot is available when its two bits differ, and the lap that it was written in is what AVAIL says. The device stands
 * at the first available slot behind a used one; where all are of one kind, at the border between two laps.
 */
export function packedPosition(descriptors: Buffer, size: number): number {
  const lap = (slot: number) => (descriptors.readUInt16LE((slot % size) * 16 + 14) & AVAIL) !== 0;
  const isAvailable = (slot: number) =>
    lap(slot) !== ((descriptors.readUInt16LE((slot % size) * 16 + 14) & USED) !== 0);
  const slots = Array.from({ length: size }, (_, slot) => slot);
  const first = slots.find((slot) => isAvailable(slot) && !isAvailable(slot + size - 1));
  if (first !== undefined) return position(first, lap(first));
  // all available: what has been refilled for the next lap ends here; all used: what was used in this lap ends here
  const border = slots.find((slot) => lap(slot) !== lap(0));
  if (isAvailable(0)) return border === undefined ? position(0, lap(0)) : position(border, !lap(0));
  return border === undefined ? position(0, !lap(0)) : position(border, lap(0));
}

function position(slot: number, wrap: boolean): number {
  return slot | (wrap ? 1 << 15 : 0) | (slot << 16); // without the used wrap counter: see getVringBase
}

/** Of the rings of one NIC, by index, while the guest is paused. @param scratch a folder */
export class Rings {
  private readonly log: readonly RelayedMessage[];

  constructor(
    all: readonly RelayedMessage[],
    private readonly qmp: Qmp,
    private readonly scratch: string,
  ) {
    const connection = all.at(-1)?.connection;
    this.log = all.filter((message) => message.connection === connection && message.from === 'front');
  }

  private async memory(user: bigint, size: number): Promise<Buffer> {
    const found = regionsOf(this.log).find((one) => user >= one.user && user + BigInt(size) <= one.user + one.size);
    if (found === undefined) throw new Error(`no memory region has 0x${user.toString(16)}`);
    const filename = join(this.scratch, 'memory');
    await this.qmp.execute('pmemsave', { val: Number(user - found.user + found.guest), size, filename });
    const bytes = readFileSync(filename);
    rmSync(filename);
    return bytes;
  }

  private last(name: string, index: number): Buffer {
    const message = this.log.findLast((one) => one.name === name && one.payload.readUInt32LE(0) === index);
    if (message === undefined) throw new Error(`no ${name} of ring ${index} went through the relay`);
    return message.payload;
  }

  async position(index: number, packed: boolean): Promise<number> {
    const address = this.last('SET_VRING_ADDR', index);
    if (!packed) return (await this.memory(address.readBigUInt64LE(16) + 2n, 2)).readUInt16LE();
    const size = this.last('SET_VRING_NUM', index).readUInt32LE(4);
    return packedPosition(await this.memory(address.readBigUInt64LE(8), size * 16), size);
  }
}
