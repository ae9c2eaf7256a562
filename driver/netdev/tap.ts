/**
 * An open tap device: the kernel's interface at the other end of a virtio_user port, with a descriptor for each queue pair. The
 * first descriptor stays attached; requests for the whole device use it, and it shows when the device is deleted.
 */
import { attempt, VirtioPmdError } from '../../native/errors.js';
import { POLLERR } from '../../native/event.js';
import { IFF_UP } from '../wire/linux/if.js';
import { IFF_ATTACH_QUEUE, IFF_DETACH_QUEUE } from '../wire/linux/if-tun.js';
import { failedCall, intArgument, type NetRequest, type NetSystem } from './system.js';
import { addressIn, addressRequest, flagsOf, flagsRequest, nameOf } from './ifreq.js';

const INT_MAX = 0x7fffffff;

/** A tap that has been opened. */
export interface OpenTap {
  readonly name: string;
  readonly multiQueue: boolean;
  /** Descriptors by queue pair. */
  readonly fds: readonly number[];
}

/** The requests to an open tap. They throw EPEER when it was deleted, and ESYSTEM when the kernel refuses. */
export class Tap {
  /** Its name when it was opened; it may have been renamed. */
  readonly name: string;
  readonly multiQueue: boolean;
  private readonly fds: number[];
  /** By queue: the kernel may deliver packets to it. */
  private readonly isAttached: boolean[];

  /** The tap closes the descriptors. */
  constructor(
    private readonly system: NetSystem,
    { name, multiQueue, fds }: OpenTap,
  ) {
    this.name = name;
    this.multiQueue = multiQueue;
    this.fds = [...fds];
    this.isAttached = fds.map(() => true);
  }

  /** It was deleted. */
  get gone(): boolean {
    return (this.system.pollErrors(this.fds[0]!) & POLLERR) !== 0;
  }

  /** Six bytes. */
  get mac(): Uint8Array {
    const request = addressRequest();
    this.ask('SIOCGIFHWADDR', request, 'does not tell its address');
    return addressIn(request);
  }

  setMac(mac: Uint8Array): void {
    this.ask('SIOCSIFHWADDR', addressRequest(mac), 'does not take the MAC address', {
      EADDRNOTAVAIL: 'give a unicast address with mac=',
    });
  }

  /** @param byteLength bytes of the net header before each packet. */
  setHeaderSize(byteLength: number): void {
    this.ask('TUNSETVNETHDRSZ', intArgument(byteLength), `does not take net headers of ${byteLength} bytes`);
  }

  /** From now on the kernel drops packets when its queues are full, instead of stopping us. */
  unlimitSendBuffer(): void {
    this.ask('TUNSETSNDBUF', intArgument(INT_MAX), 'does not take the size of its send buffer');
  }

  /** @param flags TUN_F_* */
  setOffload(flags: number): void {
    this.ask('TUNSETOFFLOAD', flags, 'does not take the offloads', {
      EINVAL: 'configure the port without Rx offloads',
    });
  }

  /** @param filter struct tun_filter */
  setFilter(filter: Uint8Array): void {
    this.ask('TUNSETTXFILTER', filter, 'does not take the receive filter', {
      EINVAL: 'stay in promiscuous mode',
    });
  }

  /** Descriptor of a queue, for vhost-net. */
  fdOf(queue: number): number {
    return this.fds[queue]!;
  }

  /** Attaches or detaches a queue: the kernel delivers packets to attached queues only. */
  attach(queue: number, on: boolean): void {
    if (queue === 0 || this.isAttached[queue] === on) return;
    const request = flagsRequest('', on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE);
    this.ask('TUNSETQUEUE', request, `does not ${on ? 'attach' : 'detach'} queue ${queue}`, {}, queue);
    this.isAttached[queue] = on;
  }

  /** Its name and its flags (IFF_*) as they are now. */
  current(): { readonly name: string; readonly flags: number } {
    const request = flagsRequest(this.name);
    this.ask('TUNGETIFF', request, 'does not tell its name');
    return { name: nameOf(request), flags: flagsOf(request) };
  }

  /** Whether it stays when its last descriptor is closed. */
  setPersistent(on: boolean): void {
    this.ask('TUNSETPERSIST', on ? 1 : 0, 'cannot be made persistent');
  }

  /** The tap has one more queue, and closes its descriptor. */
  adopt(fd: number): void {
    this.fds.push(fd);
    this.isAttached.push(true);
  }

  get queueCount(): number {
    return this.fds.length;
  }

  /** Closes all queues but the first. Never throws. */
  closeQueues(): void {
    const fds = this.fds.splice(1);
    this.isAttached.length = 1;
    attempt(...fds.map((fd) => () => this.system.close(fd)));
  }

  /** Sets the interface administratively up, whatever its current name is. */
  bringUp(): void {
    const { name } = this.current();
    const socket = this.system.openInterfaceSocket();
    try {
      const request = flagsRequest(name);
      this.system.ioctl(socket, 'SIOCGIFFLAGS', request);
      this.system.ioctl(socket, 'SIOCSIFFLAGS', flagsRequest(name, flagsOf(request) | IFF_UP));
    } catch (error) {
      throw failedCall(
        `tap ${name} cannot be set up`,
        error,
        {
          EPERM: `that takes CAP_NET_ADMIN: leave up=1 out, and have root run "ip link set ${name} up"`,
          ENODEV: 'it was moved to another network namespace: leave up=1 out',
        },
        `leave up=1 out, and try "ip link set ${name} up"`,
      );
    } finally {
      this.system.close(socket);
    }
  }

  /** Closes the descriptors: the kernel deletes the device, unless it is persistent. Never throws. */
  close(): void {
    attempt(...this.fds.map((fd) => () => this.system.close(fd)));
  }

  private ask(
    request: NetRequest,
    argument: number | Uint8Array,
    problem: string,
    remedies: Readonly<Record<string, string>> = {},
    queue = 0,
  ): void {
    try {
      this.system.ioctl(this.fds[queue]!, request, argument);
    } catch (error) {
      if (this.gone) throw new VirtioPmdError('EPEER', `tap ${this.name} was deleted: detach the port`);
      throw failedCall(`tap ${this.name} ${problem}`, error, remedies);
    }
  }
}
