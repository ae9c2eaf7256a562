/**
 * The memory that a vdpa device may access: messages to its IOTLB (VHOST_IOTLB_MSG_V2, linux/vhost_types.h). The kernel pins the
 * pages of a mapping, and keeps mappings across a reset of the device.
 */
import { SystemError, VirtioPmdError } from '../../../../native/errors.js';
import { formatMiB } from '../../../../native/sizes.js';
import {
  VHOST_ACCESS_RW,
  VHOST_IOTLB_BATCH_BEGIN,
  VHOST_IOTLB_BATCH_END,
  VHOST_IOTLB_INVALIDATE,
  VHOST_IOTLB_MSG_V2,
  VHOST_IOTLB_UPDATE,
  vhost_msg_v2,
} from '../../../wire/linux/vhost-types.js';
import { hex } from '../../../../native/hex.js';

/** Memory of this process, and its address for the device. */
export interface IotlbRange {
  readonly iova: bigint;
  readonly userAddress: bigint;
  readonly byteLength: bigint;
}

/** All addresses but the last byte, as the length has 64 bits; no mapping includes that byte. */
const EVERYTHING: IotlbRange = { iova: 0n, userAddress: 0n, byteLength: (1n << 64n) - 1n };
const NOTHING: IotlbRange = { iova: 0n, userAddress: 0n, byteLength: 0n };

/** The mappings of one device. */
export class VdpaIotlb {
  private mapped = false;

  /**
   * @param batch the kernel takes several changes as one (VHOST_BACKEND_F_IOTLB_BATCH)
   */
  constructor(
    private readonly path: string,
    private readonly write: (message: Uint8Array) => void,
    private readonly batch: boolean,
  ) {}

  /**
   * Maps memory for the device. Nothing may be mapped before.
   * @throws VirtioPmdError EMEMORY, EPEER; nothing is mapped then
   */
  map(ranges: readonly IotlbRange[]): void {
    this.mapped = true;
    try {
      if (this.batch) this.send(VHOST_IOTLB_BATCH_BEGIN, NOTHING);
      for (const range of ranges) this.update(range);
      if (this.batch) this.send(VHOST_IOTLB_BATCH_END, NOTHING);
    } catch (error) {
      this.takeBack();
      throw error;
    }
  }

  /** Unmaps everything. @throws VirtioPmdError EPEER */
  unmap(): void {
    if (!this.mapped) return;
    this.send(VHOST_IOTLB_INVALIDATE, EVERYTHING);
    this.mapped = false;
  }

  /** Unmaps after a failure. It never throws, so that the caller gets the first error. */
  private takeBack(): void {
    try {
      this.unmap();
      if (this.batch) this.send(VHOST_IOTLB_BATCH_END, NOTHING);
    } catch {
      // the kernel removes the rest when the file is closed
    }
  }

  private update(range: IotlbRange): void {
    try {
      this.write(message(VHOST_IOTLB_UPDATE, range));
    } catch (error) {
      throw this.whyNotMapped(error, range);
    }
  }

  private send(type: number, range: IotlbRange): void {
    try {
      this.write(message(type, range));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      throw new VirtioPmdError(
        'EPEER',
        `${this.path}: the kernel refuses IOTLB message ${type} (${error.errno}): see dmesg`,
      );
    }
  }

  /** The kernel answers EFAULT for every reason, so the message names all remedies. */
  private whyNotMapped(error: unknown, { iova, byteLength }: IotlbRange): unknown {
    if (!(error instanceof SystemError)) return error;
    return new VirtioPmdError(
      'EMEMORY',
      `${this.path}: ${formatMiB(byteLength)} of packet memory at ${hex(iova)} cannot be mapped for the device (${error.errno}): raise the limit on locked memory (ulimit -l unlimited), which counts for root too, and use hugepages (sysctl -w vm.nr_hugepages=256), as the kernel takes only so many pieces (max_iotlb_entries of the module vhost_vdpa)`,
    );
  }
}

function message(type: number, { iova, userAddress, byteLength }: IotlbRange): Uint8Array {
  const bytes = new Uint8Array(vhost_msg_v2.sizeof);
  const view = new DataView(bytes.buffer);
  const { iotlb } = vhost_msg_v2;
  vhost_msg_v2.type.set(view, VHOST_IOTLB_MSG_V2);
  iotlb.iova.set(view, iova);
  iotlb.size.set(view, byteLength);
  iotlb.uaddr.set(view, userAddress);
  iotlb.perm.set(view, type === VHOST_IOTLB_UPDATE ? VHOST_ACCESS_RW : 0);
  iotlb.type.set(view, type);
  return bytes;
}
