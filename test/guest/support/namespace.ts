/** Network namespaces in the guest: a stack of the kernel's for the far end of each tap. */
import type { Scope } from '../../support/peers.js';
import type { Answer, Guest } from './guest.js';
import { quote } from './process.js';

/** What a tap has moved, as the kernel sees it: `rx` is what came from us. */
export interface InterfaceCounters {
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly txBytes: number;
  readonly txPackets: number;
}

export class Namespace {
  private constructor(
    private readonly guest: Guest,
    /** Of a process in it. */
    readonly pid: number,
  ) {}

  /** A new one, which goes with the scope, and so does a tap that is in it. */
  static async make(scope: Scope, guest: Guest): Promise<Namespace> {
    const made = '[ "$(readlink /proc/$p/ns/net)" != "$(readlink /proc/self/ns/net)" ]';
    const holder = 'unshare -n sleep 100000 >/dev/null 2>&1 & p=$!';
    const pid = Number(await guest.ok(`${holder}; until ${made}; do sleep 0.1; done; echo $p`));
    scope.teardown(async () => void (await guest.run(`kill ${pid}`)));
    return new Namespace(guest, pid);
  }

  /** A line of shell that runs in it. */
  command(line: string): string {
    return `nsenter -t ${this.pid} -n sh -c ${quote(line)}`;
  }

  run(line: string, seconds?: number): Promise<Answer> {
    return this.guest.run(this.command(line), seconds);
  }

  ok(line: string, seconds?: number): Promise<string> {
    return this.guest.ok(this.command(line), seconds);
  }

  /** Takes a tap in, as 10.1.0.x and fd00::x, and sets it up. */
  async take(tap: string, x: number, mtu = 1500): Promise<void> {
    await this.guest.ok(`ip link set ${tap} netns ${this.pid}`);
    const lines = [
      `echo 0 >/proc/sys/net/ipv6/conf/${tap}/accept_dad`, // an address is there at once
      `ip addr add 10.1.0.${x}/24 dev ${tap}`,
      `ip -6 addr add fd00::${x}/64 dev ${tap}`,
      `ip link set ${tap} mtu ${mtu} up`,
    ];
    await this.ok(lines.join(' && '));
  }

  /** Waits until `address` answers, then has three pings of `size` bytes answered. */
  async ping(address: string, size = 56): Promise<void> {
    await this.ok(`until ping -c 1 -W 1 ${address}; do :; done`);
    await this.ok(`ping -c 3 -W 20 -s ${size} ${address} | grep ' 0% packet loss'`, 90);
  }

  async counters(tap: string): Promise<InterfaceCounters> {
    const line = await this.ok(`grep '${tap}:' /proc/net/dev`);
    const [rxBytes, rxPackets, , , , , , , txBytes, txPackets] = line.split(':')[1]!.trim().split(/ +/).map(Number);
    return { rxBytes: rxBytes!, rxPackets: rxPackets!, txBytes: txBytes!, txPackets: txPackets! };
  }

  /** What its stack has counted: `Tcp.InCsumErrors` and the like (/proc/net/snmp: a line of names, a line of numbers). */
  async snmp(): Promise<ReadonlyMap<string, number>> {
    const lines = (await this.ok('cat /proc/net/snmp')).trim().split('\n');
    const counters = new Map<string, number>();
    for (let i = 0; i + 1 < lines.length; i += 2) {
      const [protocol, ...names] = lines[i]!.split(/:? +/);
      const [, ...values] = lines[i + 1]!.split(/:? +/);
      names.forEach((name, k) => counters.set(`${protocol}.${name}`, Number(values[k])));
    }
    return counters;
  }
}

export interface TransferOptions {
  readonly bytes: number;
  /** Connections at a time. */
  readonly flows?: number;
}

/**
 * Sends random bytes from one namespace to another.
 * @throws Error when something else arrives, or nothing
 */
export async function transfer(
  guest: Guest,
  { from, to, address }: { from: Namespace; to: Namespace; address: string },
  { bytes, flows = 1 }: TransferOptions,
): Promise<void> {
  const output = await guest.ok(`transfer ${from.pid} ${to.pid} ${address} ${bytes} ${flows}`, 120);
  const [sent, ...received] = output.match(/^[0-9a-f]{32}/gm) ?? [];
  if (received.length === flows && received.every((sum) => sum === sent)) return;
  throw new Error(`${flows} connections to ${address}: sent and received differ:\n${output}`);
}
