/** One open vhost-net file (linux/vhost.h), which serves one queue pair: a thread of the kernel between its two rings and a tap. */
import { VirtioPmdError } from '../../../../native/errors.js';
import { attempt, errnoOf } from '../../pci/system.js';
import { has } from '../../features.js';
import {
  vhost_memory,
  vhost_memory_region,
  vhost_vring_addr,
  vhost_vring_file,
  vhost_vring_state,
} from '../../../wire/linux/vhost-types.js';
import * as F from '../../../wire/virtio-features.js';
import { failedCall } from '../../../netdev/system.js';
import { longArgument, type KernelRequest, type KernelSystem } from './system.js';

const RINGS = [0, 1] as const;
const NOTHING = -1;

/** A ring for the kernel, with addresses in this process. */
export interface KernelRing {
  readonly size: number;
  readonly base: number;
  readonly desc: bigint;
  readonly avail: bigint;
  readonly used: bigint;
  /** Eventfds. */
  readonly kick: number;
  readonly call: number;
}

/** A region of the memory table: the address in descriptors, the address in this process, and its bytes. */
export interface KernelRegion {
  readonly deviceAddress: bigint;
  readonly userAddress: bigint;
  readonly byteLength: number;
}

/** The requests of one vhost-net file. They throw ESYSTEM when the kernel refuses. */
export class VhostNet {
  private constructor(
    private readonly system: KernelSystem,
    private readonly fd: number,
    /** Feature bits that the kernel offers. */
    readonly features: bigint,
  ) {}

  /** Opens and owns the file. @throws VirtioPmdError ESYSTEM, ECONFIG with what to do; nothing stays open then */
  static open(system: KernelSystem, path: string): VhostNet {
    const fd = openFile(system, path);
    try {
      system.ioctl(fd, 'VHOST_SET_OWNER', 0);
      const answer = longArgument(0n);
      system.ioctl(fd, 'VHOST_GET_FEATURES', answer);
      const features = new DataView(answer.buffer).getBigUint64(0, true);
      // of the kernel's vhost drivers only vhost-net offers it
      if (!has(features, F.VIRTIO_NET_F_MRG_RXBUF)) throw noVhostNet(path);
      return new VhostNet(system, fd, features);
    } catch (error) {
      system.close(fd);
      throw errnoOf(error) === '' ? error : whyNotOwned(error, path);
    }
  }

  setFeatures(features: bigint): void {
    this.ask('VHOST_SET_FEATURES', longArgument(features), 'does not take the features', {
      EOPNOTSUPP: `it does not know all of ${F.featureNames(features).join(', ')}; ask for fewer, for example with mrg_rxbuf=0`,
    });
  }

  /** Replaces the memory table. */
  setMemory(regions: readonly KernelRegion[]): void {
    const { sizeof, nregions, regions: table } = vhost_memory;
    const bytes = new Uint8Array(sizeof + regions.length * table.stride);
    const view = new DataView(bytes.buffer);
    nregions.set(view, regions.length);
    regions.forEach((region, i) => {
      const at = table.at(i);
      vhost_memory_region.guest_phys_addr.set(view, region.deviceAddress, at);
      vhost_memory_region.memory_size.set(view, BigInt(region.byteLength), at);
      vhost_memory_region.userspace_addr.set(view, region.userAddress, at);
    });
    this.ask('VHOST_SET_MEM_TABLE', bytes, 'does not take the packet memory', {
      E2BIG: `it takes fewer than ${regions.length} regions: raise max_mem_regions of the module vhost`,
    });
  }

  /** Tells the kernel where a ring is. @param index 0: the Rx ring, 1: the Tx ring. */
  setRing(index: 0 | 1, ring: KernelRing): void {
    this.ask('VHOST_SET_VRING_NUM', ringState(index, ring.size), `does not take a ring of ${ring.size} descriptors`, {
      EINVAL: 'give a power of two with queue_size=',
    });
    this.ask('VHOST_SET_VRING_BASE', ringState(index, ring.base), `does not begin ring ${index} at ${ring.base}`);
    this.ask('VHOST_SET_VRING_ADDR', ringAddress(index, ring), `does not take the addresses of ring ${index}`);
    this.ask('VHOST_SET_VRING_KICK', ringFile(index, ring.kick), `does not take the eventfd of ring ${index}`);
    this.ask('VHOST_SET_VRING_CALL', ringFile(index, ring.call), `does not take the eventfd of ring ${index}`);
  }

  /** The kernel begins to serve both rings. @param tapFd the queue of a tap. */
  start(tapFd: number): void {
    try {
      for (const index of RINGS) {
        this.ask('VHOST_NET_SET_BACKEND', ringFile(index, tapFd), `does not connect ring ${index} with the tap`);
      }
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** When this returns, the kernel does not use the rings any more. Never throws. */
  stop(): void {
    const letGo = (index: number) => () =>
      this.system.ioctl(this.fd, 'VHOST_NET_SET_BACKEND', ringFile(index, NOTHING));
    attempt(...RINGS.map(letGo));
  }

  /** Never throws. */
  close(): void {
    this.system.close(this.fd);
  }

  private ask(
    request: KernelRequest,
    argument: Uint8Array,
    problem: string,
    remedies: Readonly<Record<string, string>> = {},
  ): void {
    try {
      this.system.ioctl(this.fd, request, argument);
    } catch (error) {
      throw failedCall(`vhost-net ${problem}`, error, remedies);
    }
  }
}

function openFile(system: KernelSystem, path: string): number {
  const load = 'load the module with "modprobe vhost_net"';
  const permission = `run as root, or have root allow it with "chmod 666 ${path}"`;
  try {
    return system.open(path);
  } catch (error) {
    const remedies = { ENOENT: load, ENODEV: load, ENXIO: load, EACCES: permission, EPERM: permission };
    throw failedCall('vhost-net cannot be opened', error, remedies, 'is it the file of vhost-net?');
  }
}

function noVhostNet(path: string, cause?: unknown): VirtioPmdError {
  return new VirtioPmdError(
    'ECONFIG',
    `${path} is a device of another kind than vhost-net: give path=/dev/vhost-net, or the socket of a vhost-user back-end`,
    { cause },
  );
}

function whyNotOwned(error: unknown, path: string): VirtioPmdError {
  switch (errnoOf(error)) {
    case 'EBUSY':
      return failedCall(`${path} has an owner already`, error, {}, 'close it in the program that has it open');
    case 'ENOMEM':
    case 'EAGAIN':
    case 'EPERM':
    case 'EACCES':
      return failedCall(`vhost-net on ${path} cannot be owned`, error, {}, 'look at the limits of this process');
    default:
      return noVhostNet(path, error);
  }
}

function ringState(index: number, num: number): Uint8Array {
  const bytes = new Uint8Array(vhost_vring_state.sizeof);
  const view = new DataView(bytes.buffer);
  vhost_vring_state.index.set(view, index);
  vhost_vring_state.num.set(view, num);
  return bytes;
}

function ringFile(index: number, fd: number): Uint8Array {
  const bytes = new Uint8Array(vhost_vring_file.sizeof);
  const view = new DataView(bytes.buffer);
  vhost_vring_file.index.set(view, index);
  vhost_vring_file.fd.set(view, fd);
  return bytes;
}

function ringAddress(index: number, { desc, avail, used }: KernelRing): Uint8Array {
  const bytes = new Uint8Array(vhost_vring_addr.sizeof);
  const view = new DataView(bytes.buffer);
  vhost_vring_addr.index.set(view, index);
  vhost_vring_addr.desc_user_addr.set(view, desc);
  vhost_vring_addr.avail_user_addr.set(view, avail);
  vhost_vring_addr.used_user_addr.set(view, used);
  return bytes;
}
