/** A packet socket with its two rings, as the control plane has it. Whoever makes one closes it. */
import type { VirtioPmdError } from '../../../native/errors.js';
import { attempt, errnoOf } from '../../../native/errors.js';
import {
  bindPacketSocket,
  openPacketSocket,
  PACKET_FAMILY,
  packetOption,
  setPacketFilter,
  setPacketOption,
} from '../../../native/packet-socket.js';
import { closeFd, mapFd, newHolders, unmap, viewsOf, type Mapping } from '../../../native/region.js';
import { failedCall, intArgument } from '../../netdev/system.js';
import { BPF_K, BPF_RET, sock_filter } from '../../wire/linux/filter.js';
import { ETH_P_ALL } from '../../wire/linux/if-ether.js';
import * as P from '../../wire/linux/if-packet.js';
import { frameOffsets, mappingSize, type FrameLayout } from './layout.js';

/** A socket as plain data, for the two queues that use it. */
export interface RingSpec {
  readonly fd: number;
  readonly mapping: Mapping;
  readonly layout: FrameLayout;
  /** CONTROL_WORDS words. */
  readonly control: SharedArrayBuffer;
}

// words of `control`
/** The next frame to receive. The thread that polls the Rx queue writes it, and the control plane while the port is stopped. */
export const RX_POSITION = 0;
/** The next frame to fill. Only the thread that polls the Tx queue writes it. */
export const TX_POSITION = 1;
/** Bytes of the longest packet that the interface sends, without a VLAN tag. The control plane writes it. */
export const LONGEST_TX = 2;
const CONTROL_WORDS = 16;

/** A filter that lets nothing through. */
const NOTHING = new Uint8Array(sock_filter.sizeof);
sock_filter.code.set(new DataView(NOTHING.buffer), BPF_RET | BPF_K);

const FANOUT = P.PACKET_FANOUT_HASH | P.PACKET_FANOUT_FLAG_DEFRAG | P.PACKET_FANOUT_FLAG_ROLLOVER;

/** Why there can be no packet socket, as a sentence. */
export function whyNoSocket(error: unknown): VirtioPmdError {
  return failedCall('a packet socket cannot be opened', error, {
    EPERM: 'that takes CAP_NET_RAW: run as root, or give node that capability with setcap',
    EAFNOSUPPORT: 'load the module with "modprobe af_packet"',
  });
}

export class RingSocket {
  readonly spec: RingSpec;
  private readonly fd: number;
  private mapping: Mapping | undefined;
  private group: number | undefined;

  /** Makes a socket that receives nothing yet. @throws VirtioPmdError ESYSTEM; nothing stays open then */
  constructor(layout: FrameLayout, qdiscBypass: boolean) {
    try {
      this.fd = openPacketSocket();
    } catch (error) {
      throw whyNoSocket(error);
    }
    try {
      const set = (option: 'PACKET_VERSION' | 'PACKET_LOSS' | 'PACKET_QDISC_BYPASS', value: number) =>
        setPacketOption(this.fd, P[option], intArgument(value), option);
      setPacketFilter(this.fd, NOTHING);
      set('PACKET_VERSION', P.TPACKET_V2);
      set('PACKET_LOSS', 1); // a frame that cannot be sent is left out, and does not stop the ring
      if (qdiscBypass) set('PACKET_QDISC_BYPASS', 1);
      this.ignoreOutgoing();
      setPacketOption(this.fd, P.PACKET_RX_RING, ringRequest(layout), 'PACKET_RX_RING');
      setPacketOption(this.fd, P.PACKET_TX_RING, ringRequest(layout), 'PACKET_TX_RING');
      const byteLength = mappingSize(layout);
      const mapping = { address: mapFd(this.fd, byteLength, 0), byteLength, holders: newHolders() };
      this.mapping = mapping;
      this.spec = { fd: this.fd, mapping, layout, control: new SharedArrayBuffer(CONTROL_WORDS * 4) };
    } catch (error) {
      this.close();
      throw failedCall('the rings of a packet socket cannot be made', error, {
        ENOMEM: 'take fewer or smaller frames (framecnt, framesz), or smaller blocks (blocksz)',
      });
    }
  }

  /** What the host itself sends is no packet that came to the interface. Before Linux 4.20 it is received too. */
  private ignoreOutgoing(): void {
    try {
      setPacketOption(this.fd, P.PACKET_IGNORE_OUTGOING, intArgument(1), 'PACKET_IGNORE_OUTGOING');
    } catch (error) {
      if (errnoOf(error) !== 'ENOPROTOOPT') throw error;
    }
  }

  /** Binds it to an interface. @param receive false: only to send. @throws VirtioPmdError ESYSTEM */
  bind(index: number, receive: boolean): void {
    const address = new DataView(new ArrayBuffer(P.sockaddr_ll.sizeof));
    P.sockaddr_ll.sll_family.set(address, PACKET_FAMILY);
    P.sockaddr_ll.sll_protocol.set(address, receive ? ETH_P_ALL : 0);
    P.sockaddr_ll.sll_ifindex.set(address, index);
    try {
      bindPacketSocket(this.fd, new Uint8Array(address.buffer));
    } catch (error) {
      throw failedCall('a packet socket cannot be bound to its interface', error, {
        ENODEV: 'the interface was deleted, or moved to another network namespace: detach the port',
      });
    }
  }

  /**
   * Shares the packets of the interface with the other sockets of a group, by their flows. Once: it stays in its group.
   * @param group as the first socket of the group returned it; undefined: a new group
   * @throws SystemError EINVAL before Linux 6.15 while the interface is down
   */
  joinGroup(group?: number): number {
    if (this.group !== undefined) return this.group;
    const type = FANOUT << 16;
    const argument = group ?? type | (P.PACKET_FANOUT_FLAG_UNIQUEID << 16);
    setPacketOption(this.fd, P.PACKET_FANOUT, intArgument(argument), 'PACKET_FANOUT');
    if (group !== undefined) return (this.group = group);
    const answer = new Uint8Array(4);
    packetOption(this.fd, P.PACKET_FANOUT, answer, 'PACKET_FANOUT');
    return (this.group = new DataView(answer.buffer).getUint16(0, true) | type);
  }

  /** Whether packets come into the ring. @throws SystemError */
  receive(on: boolean): void {
    setPacketFilter(this.fd, on ? undefined : NOTHING);
  }

  /** Gives the frames that wait in the Rx ring back to the kernel. Only while no thread receives. */
  discard(): void {
    const { mapping, layout, control } = this.spec;
    const { i32 } = viewsOf(mapping);
    const offsets = frameOffsets(layout, 'rx');
    const words = new Int32Array(control);
    for (let left = offsets.length; left > 0; left--) {
      const status = offsets[words[RX_POSITION]!]! >> 2;
      if ((Atomics.load(i32, status) & P.TP_STATUS_USER) === 0) return; // observe
      Atomics.store(i32, status, P.TP_STATUS_KERNEL); // publish
      words[RX_POSITION] = (words[RX_POSITION]! + 1) % offsets.length;
    }
  }

  /** Packets that found the ring full since the last call. Never throws. */
  takeDrops(): number {
    const answer = new Uint8Array(P.tpacket_stats.sizeof);
    attempt(() => packetOption(this.fd, P.PACKET_STATISTICS, answer, 'PACKET_STATISTICS'));
    return P.tpacket_stats.tp_drops.get(new DataView(answer.buffer));
  }

  /** Unmaps the rings and closes the socket. Never throws. */
  close(): void {
    const { mapping } = this;
    this.mapping = undefined;
    if (mapping !== undefined) attempt(() => unmap(mapping));
    closeFd(this.fd);
  }
}

function ringRequest({ blockSize, blockCount, frameSize, frameCount }: FrameLayout): Uint8Array {
  const request = new DataView(new ArrayBuffer(P.tpacket_req.sizeof));
  P.tpacket_req.tp_block_size.set(request, blockSize);
  P.tpacket_req.tp_block_nr.set(request, blockCount);
  P.tpacket_req.tp_frame_size.set(request, frameSize);
  P.tpacket_req.tp_frame_nr.set(request, frameCount);
  return new Uint8Array(request.buffer);
}
