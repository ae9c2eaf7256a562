/**
 * A network interface of the kernel: its state, and what can be set (netdevice(7)). It is found by its name once, and from then
 * on by its index, as it may be renamed. Whoever makes one closes it.
 */
import { attempt, errnoOf, VirtioPmdError } from '../../native/errors.js';
import { ARPHRD_ETHER, ARPHRD_LOOPBACK } from '../wire/linux/if-arp.js';
import { IFF_RUNNING, IFF_UP } from '../wire/linux/if.js';
import {
  addressIn,
  addressRequest,
  checkInterfaceName,
  familyIn,
  flagsOf,
  flagsRequest,
  indexIn,
  indexRequest,
  mtuIn,
  mtuRequest,
  nameOf,
} from './ifreq.js';
import { failedCall, type NetRequest, type NetSystem } from './system.js';

/** What the kernel says of an interface. */
export interface InterfaceState {
  readonly name: string;
  /** IFF_* bits. */
  readonly flags: number;
  /** Bytes, without the Ethernet header. */
  readonly mtu: number;
}

/** It is up, and can carry packets. */
export function isRunning({ flags }: InterfaceState): boolean {
  return (flags & (IFF_UP | IFF_RUNNING)) === (IFF_UP | IFF_RUNNING);
}

export class Interface {
  /** Its number, which it keeps for as long as it exists. */
  readonly index: number;
  /** The last known one. */
  name: string;
  private readonly socket: number;
  private isOpen = true;

  /**
   * @throws VirtioPmdError EDEVARGS for an impossible name; ECONFIG when there is none of this name, or it is no Ethernet
   *   interface; ESYSTEM
   */
  constructor(
    private readonly system: NetSystem,
    name: string,
  ) {
    checkInterfaceName(name);
    this.name = name;
    this.socket = system.openInterfaceSocket();
    try {
      const request = flagsRequest(name);
      system.ioctl(this.socket, 'SIOCGIFINDEX', request);
      this.index = indexIn(request);
      const family = familyIn(this.asked('SIOCGIFHWADDR', addressRequest(undefined, name)));
      if (family !== ARPHRD_ETHER && family !== ARPHRD_LOOPBACK) {
        throw new VirtioPmdError(
          'ECONFIG',
          `iface=${name} is no Ethernet interface (its kind is ${family}, ARPHRD_*): name another`,
        );
      }
    } catch (error) {
      this.close();
      if (errnoOf(error) === '') throw error;
      if (errnoOf(error) !== 'ENODEV') throw failedCall(`interface ${name} cannot be used`, error, {});
      throw new VirtioPmdError(
        'ECONFIG',
        `there is no interface ${name}: expected the name of one in this network namespace, see "ip link"`,
        { cause: error },
      );
    }
  }

  /** Its state; undefined when it was deleted or moved to another network namespace. Never throws. */
  state(): InterfaceState | undefined {
    try {
      this.name = nameOf(this.asked('SIOCGIFNAME', indexRequest(this.index)));
      const flags = flagsOf(this.asked('SIOCGIFFLAGS', flagsRequest(this.name)));
      return { name: this.name, flags, mtu: mtuIn(this.asked('SIOCGIFMTU', flagsRequest(this.name))) };
    } catch {
      return undefined;
    }
  }

  /** Six bytes. @throws VirtioPmdError ESYSTEM; the same for the others */
  get mac(): Uint8Array {
    return addressIn(this.ask('SIOCGIFHWADDR', addressRequest(undefined, this.name), 'does not tell its address'));
  }

  setMac(mac: Uint8Array): void {
    this.ask('SIOCSIFHWADDR', addressRequest(mac, this.name), 'does not take the MAC address', {
      EADDRNOTAVAIL: 'give a unicast address',
      EBUSY: 'set the interface down first, as its driver cannot change it while it is up',
    });
  }

  /** @param mtu bytes */
  setMtu(mtu: number): void {
    this.ask('SIOCSIFMTU', mtuRequest(this.name, mtu), `does not take an MTU of ${mtu}`, {
      EINVAL: 'see the limits that "ip -d link" tells (minmtu, maxmtu)',
    });
  }

  /** Sets or clears IFF_* bits. Those that have the value already are not asked for. */
  setFlags(bits: number, on: boolean): void {
    const flags = flagsOf(this.ask('SIOCGIFFLAGS', flagsRequest(this.name), 'does not tell its flags'));
    const wanted = on ? flags | bits : flags & ~bits;
    if (wanted !== flags) this.ask('SIOCSIFFLAGS', flagsRequest(this.name, wanted), 'does not take its flags');
  }

  /** Idempotent; never throws. */
  close(): void {
    if (this.isOpen) attempt(() => this.system.close(this.socket));
    this.isOpen = false;
  }

  private asked(request: NetRequest, argument: Uint8Array): Uint8Array {
    this.system.ioctl(this.socket, request, argument);
    return argument;
  }

  private ask(
    request: NetRequest,
    argument: Uint8Array,
    problem: string,
    remedies: Readonly<Record<string, string>> = {},
  ): Uint8Array {
    try {
      return this.asked(request, argument);
    } catch (error) {
      throw failedCall(`interface ${this.name} ${problem}`, error, {
        EPERM: 'that takes CAP_NET_ADMIN: run as root, or with that capability',
        ENODEV: 'it was deleted, or renamed just now: see "ip link"',
        ...remedies,
      });
    }
  }
}
