/** NICs of a guest that a vhost-user back-end on the host serves, and the guest's kernel on both ends of a network. */
import { eventually, type Scope } from '../../support/peers.js';
import type { Guest, Nic } from './guest.js';
import { Namespace, transfer } from './namespace.js';

export interface ServedOptions {
  readonly queues?: number;
  /** Of virtio-net-pci: packed=on */
  readonly properties?: string;
  /** Of the character device: server=on or reconnect=1. */
  readonly chardev?: string;
}

/**
 * A NIC whose back-end is at `path`. Without MSI-X: QEMU 7.2 in software emulation ends with SIGSEGV when a guest unmasks a
 * vector of a vhost-user NIC.
 */
export function served(name: string, path: string, options: ServedOptions = {}): Nic {
  const { queues = 1, properties, chardev } = options;
  const socket = `socket,id=chardev-${name},path=${path}`;
  return {
    name,
    properties: [...(properties ? [properties] : []), 'vectors=0'].join(),
    netdev: {
      before: ['-chardev', chardev ? `${socket},${chardev}` : socket],
      type: `vhost-user,chardev=chardev-${name},queues=${queues}`,
    },
  };
}

/** The kernel's name of a NIC: eth0. One comes back a while after the namespace that it was in has gone. */
export async function interfaceOf(guest: Guest, nic: string | { readonly mac: string }): Promise<string> {
  const mac = typeof nic === 'string' ? guest.mac(nic) : nic.mac;
  const found = await guest.ok(`until grep -l '^${mac}$' /sys/class/net/*/address; do usleep 100000; done`);
  return found.trim().split('/').at(-2)!;
}

/** What the kernel says when something is badly wrong with it or with a NIC. */
const COMPLAINTS = 'WARNING:|BUG:|Call Trace|soft lockup|NETDEV WATCHDOG|Oops|is not a head|virtio_net.*(error|fail)';

/** Lines of the kernel's log that should not be there. */
export async function kernelComplaints(guest: Guest): Promise<string> {
  return guest.ok(`dmesg | grep -E '${COMPLAINTS}' || true`);
}

/** Pieces of 64 KiB, twenty a second, to whoever reads port 5999 of the far end. */
const STREAM = 'while head -c 65536 /dev/zero; do usleep 50000; done | nc';
const SINK = "nc -ll -p 5999 -e sh -c 'cat >/dev/null'";

/** Two NICs of one guest, each in a network namespace of its own, that reach each other over what serves them. */
export class NicPair {
  private constructor(
    private readonly guest: Guest,
    /** Of the two NICs; they have 10.1.0.1 and 10.1.0.2. */
    readonly ends: readonly [Namespace, Namespace],
    private readonly interfaces: readonly [string, string],
    readonly nics: readonly [string, string],
  ) {}

  static async make(scope: Scope, guest: Guest, nics: readonly [string, string]): Promise<NicPair> {
    const interfaces = [await interfaceOf(guest, nics[0]), await interfaceOf(guest, nics[1])] as const;
    const ends = [await Namespace.make(scope, guest), await Namespace.make(scope, guest)] as const;
    for (const i of [0, 1]) await ends[i]!.take(interfaces[i]!, i + 1);
    return new NicPair(guest, ends, interfaces, nics);
  }

  /** Either end pings the other one, with packets of each size. @throws Error when an answer is missing */
  async ping(...sizes: number[]): Promise<void> {
    for (const size of sizes) {
      await this.ends[0].ping('10.1.0.2', size);
      await this.ends[1].ping('10.1.0.1', size);
    }
  }

  /** Random bytes over TCP, both ways, which arrive unchanged; no segment had a wrong checksum. */
  async transfer(bytes: number): Promise<void> {
    const [a, b] = this.ends;
    await transfer(this.guest, { from: a, to: b, address: '10.1.0.2' }, { bytes });
    await transfer(this.guest, { from: b, to: a, address: '10.1.0.1' }, { bytes });
    for (const end of this.ends) {
      const wrong = (await end.snmp()).get('Tcp.InCsumErrors');
      if (wrong !== 0) throw new Error(`${wrong} segments with a wrong checksum`);
    }
  }

  /** TCP streams and pings both ways, until the scope ends. */
  async startTraffic(scope: Scope): Promise<void> {
    for (const [end, address] of [
      [this.ends[0], '10.1.0.2'],
      [this.ends[1], '10.1.0.1'],
    ] as const) {
      const lines = [SINK, `until ${STREAM} ${address} 5999; do usleep 100000; done`, `ping -q -i 0.02 ${address}`];
      for (const line of lines) {
        const started = await end.ok(`setsid sh -c "${line.replaceAll('"', '\\"')}" >/dev/null 2>&1 & echo $!`);
        scope.teardown(async () => void (await end.run(`kill -9 -- -${started.trim()}`)));
      }
    }
  }

  /** Waits until both ends have received `packets` more. */
  async flows(packets = 100, ms = 60_000): Promise<void> {
    const received = async () => {
      const counters = await Promise.all(this.ends.map((end, i) => end.counters(this.interfaces[i]!)));
      return counters.map(({ rxPackets }) => rxPackets);
    };
    const before = await received();
    const enough = (now: number[]) => now.every((count, i) => count >= before[i]! + packets);
    await eventually(
      `${packets} packets more at ${this.nics.join(' and ')} than ${before.join()}`,
      received,
      enough,
      ms,
    );
  }
}
