/** How the frames of a packet socket's rings lie in memory: the arguments blocksz, framesz and framecnt, and their checks. Pure. */
import { VirtioPmdError } from '../../../native/errors.js';
import { MAX_REGION_SIZE, PAGE_SIZE } from '../../../native/region.js';
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import { MIN_MTU } from '../../port/config.js';
import { sockaddr_ll, TPACKET2_HDRLEN, TPACKET_ALIGNMENT } from '../../wire/linux/if-packet.js';

/** Bytes of a frame before the packet, in an Rx ring: the kernel aligns what follows the Ethernet header. */
export const RX_OVERHEAD = align(TPACKET2_HDRLEN + 16) - ETHER_HDR_LEN;
/** Bytes of a frame before the packet, in a Tx ring. */
export const TX_OVERHEAD = TPACKET2_HDRLEN - sockaddr_ll.sizeof;
/** Bytes: room for a packet of the smallest MTU. */
export const MIN_FRAME_SIZE = align(RX_OVERHEAD + ETHER_HDR_LEN + MIN_MTU);

/** Plain data, for the queues too. */
export interface FrameLayout {
  /** Bytes; a multiple of the page size. */
  readonly blockSize: number;
  readonly blockCount: number;
  /** Bytes. */
  readonly frameSize: number;
  readonly frameCount: number;
  readonly framesPerBlock: number;
}

/** As in the device string: sizes in bytes. */
export interface FrameArgs {
  readonly blocksz: number;
  readonly framesz: number;
  readonly framecnt: number;
}

function align(bytes: number): number {
  return Math.ceil(bytes / TPACKET_ALIGNMENT) * TPACKET_ALIGNMENT;
}

/** Checks all that the kernel would refuse without a reason. @param device its name. @throws VirtioPmdError EDEVARGS */
export function frameLayout({ blocksz, framesz, framecnt }: FrameArgs, device: string): FrameLayout {
  const refuse = (why: string) => new VirtioPmdError('EDEVARGS', `${device}: ${why}`);
  if (framesz % TPACKET_ALIGNMENT !== 0) {
    throw refuse(`framesz=${framesz} is no multiple of ${TPACKET_ALIGNMENT}: take ${align(framesz)}`);
  }
  if (framesz < MIN_FRAME_SIZE) throw refuse(`framesz=${framesz} is too small: expected at least ${MIN_FRAME_SIZE}`);
  if (blocksz % PAGE_SIZE !== 0) {
    const next = Math.ceil(blocksz / PAGE_SIZE) * PAGE_SIZE;
    throw refuse(`blocksz=${blocksz} is no multiple of the page size ${PAGE_SIZE}: take ${next}`);
  }
  if (framesz > blocksz) {
    throw refuse(`framesz=${framesz} exceeds blocksz=${blocksz}: a frame lies in one block, so take a larger blocksz`);
  }
  const framesPerBlock = Math.floor(blocksz / framesz);
  const blockCount = Math.floor(framecnt / framesPerBlock);
  if (blockCount * framesPerBlock !== framecnt) {
    const next = (blockCount + 1) * framesPerBlock;
    const near = blockCount > 0 ? `${blockCount * framesPerBlock} or ${next}` : `${next}`;
    throw refuse(`framecnt=${framecnt} does not fill blocks of ${framesPerBlock} frames: take ${near}`);
  }
  const layout = { blockSize: blocksz, blockCount, frameSize: framesz, frameCount: framecnt, framesPerBlock };
  if (mappingSize(layout) > MAX_REGION_SIZE) {
    throw refuse(
      `framecnt=${framecnt} makes rings of ${mappingSize(layout)} bytes: expected at most ${MAX_REGION_SIZE}, so take fewer or smaller frames`,
    );
  }
  return layout;
}

/** Bytes of the two rings of a socket, which lie one behind the other: first Rx, then Tx. */
export function mappingSize({ blockSize, blockCount }: FrameLayout): number {
  return 2 * blockSize * blockCount;
}

/** Where each frame of a ring begins in the mapping. */
export function frameOffsets(layout: FrameLayout, ring: 'rx' | 'tx'): Int32Array {
  const { blockSize, blockCount, frameSize, frameCount, framesPerBlock } = layout;
  const start = ring === 'rx' ? 0 : blockSize * blockCount;
  return Int32Array.from(
    { length: frameCount },
    (_, i) => start + Math.floor(i / framesPerBlock) * blockSize + (i % framesPerBlock) * frameSize,
  );
}

/** Bytes of the longest packet, without a VLAN tag that the kernel keeps apart, that a frame holds in either direction. */
export function longestPacket({ frameSize }: FrameLayout): number {
  return frameSize - RX_OVERHEAD;
}
