/**
 * A kernel with tun and vhost-net, as far as one process can tell. It follows the headers by offsets of its own, says what
 * the kernel says, keeps a trace of requests and count of what is open. With `real`, taps are this machine's, and only
 * vhost-net is a mock.
 */
import { SystemError } from '../../../../../native/errors.js';
import { closeFd } from '../../../../../native/region.js';
import {
  kernelSystem,
  type KernelRequest,
  type KernelSystem,
} from '../../../../../driver/virtio/user/vhost-kernel/system.js';

const MULTI_QUEUE = 0x100;
const PERSIST = 0x800;
const ATTACH = 0x200;
const DETACH = 0x400;
const POLLERR = 8;

/** What the kernel of Debian 12 answers. */
export const TUN_FEATURES = 0x7173;
export const VHOST_FEATURES = (1n << 15n) | (1n << 24n) | (0xfn << 26n) | (1n << 32n) | (1n << 33n) | (1n << 40n);

export interface FakeTap {
  name: string;
  flags: number;
  mac: number[];
  up: boolean;
  headerSize: number;
  sndbuf: number;
  offload: number;
  filter: { flags: number; addresses: string[] };
  /** Opened by somebody else. */
  readonly others: number;
}

interface Ring {
  num: number;
  base: number;
  desc: bigint;
  avail: bigint;
  used: bigint;
  kick: number;
  call: number;
  backend: number;
}

interface VhostFile {
  readonly kind: 'vhost';
  readonly label: string;
  owned: boolean;
  features: bigint;
  memory: { guest: bigint; size: bigint; user: bigint }[];
  readonly rings: readonly [Ring, Ring];
}

interface TunFile {
  readonly kind: 'tun';
  label: string;
  tap: FakeTap | undefined;
  attached: boolean;
}

type Thing = VhostFile | TunFile | { readonly kind: 'socket'; readonly label: string };

export interface FakeKernelOptions {
  readonly tunFeatures?: number;
  readonly vhostFeatures?: bigint;
  /** Interfaces that are there already. */
  readonly taps?: readonly Partial<FakeTap>[];
  /** Interfaces that are not taps. */
  readonly others?: readonly string[];
  /** Contents of max_mem_regions; undefined: there is no such file. */
  readonly regionLimit?: string;
  /** Taps are real ones. */
  readonly real?: boolean;
}

const hex = (bytes: ArrayLike<number>) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
const fail = (what: string, errno: string): never => {
  throw new SystemError(what, errno);
};
const newRing = (): Ring => ({ num: 1, base: 0, desc: 0n, avail: 0n, used: 0n, kick: -1, call: -1, backend: -1 });

export class FakeKernel implements KernelSystem {
  /** Requests, in their order, behind the file they went to: "vhost0", "tap0/1" (queue 1), "tun", "socket". */
  readonly calls: string[] = [];
  /** Errno of requests by number: the next one (0), the one after it, ...; 'open PATH' is one, too. */
  readonly failures = new Map<string, { errno: string; after: number }>();
  /** The n-th call of any kind, from 0, fails. */
  failAt = -1;
  readonly taps: FakeTap[];
  private readonly things = new Map<number, Thing>();
  private count = 0;
  private next = 100_000;

  constructor(private readonly options: FakeKernelOptions = {}) {
    this.taps = (options.taps ?? []).map((tap) => ({ ...this.newTap('tap0', 0x5002), ...tap }));
  }

  private newTap(name: string, flags: number): FakeTap {
    const filter = { flags: 0, addresses: [] };
    return {
      ...{ name, flags, filter },
      mac: [2, 0xfe, 0, 0, 0, 9],
      up: false,
      headerSize: 10,
      sndbuf: 0,
      offload: 0,
      others: 0,
    };
  }

  /** What is open. */
  get leftovers(): string[] {
    return [...this.things.values()].map(({ label }) => label);
  }

  get vhosts(): VhostFile[] {
    return [...this.things.values()].filter((thing) => thing.kind === 'vhost');
  }

  /** Queues of a tap that packets come to. */
  attached(name: string): string[] {
    return [...this.things.values()]
      .filter((thing) => thing.kind === 'tun' && thing.tap?.name === name && thing.attached)
      .map(({ label }) => label);
  }

  /** `ip link del`. */
  deleteTap(name: string): void {
    const at = this.taps.findIndex((tap) => tap.name === name);
    this.taps.splice(at, 1);
    for (const thing of this.things.values())
      if (thing.kind === 'tun' && thing.tap?.name === name) thing.tap = undefined;
  }

  // ---- KernelSystem --------------------------------------------------------------------------------------------------

  private countCall(what: string, label = ''): void {
    this.calls.push(label === '' ? what : `${label} ${what}`);
    const request = what.split(' ')[0] === 'open' ? what : what.split(' ')[0]!;
    const wanted = this.failures.get(request);
    if (wanted !== undefined && wanted.after-- === 0) fail(what, wanted.errno);
    if (this.count++ === this.failAt) fail(what, 'EIO');
  }

  open(path: string): number {
    this.countCall(`open ${path}`);
    const rings = [newRing(), newRing()] as const;
    const label = `vhost${this.vhosts.length}`;
    if (path === '/dev/vhost-net')
      return this.add({ kind: 'vhost', label, owned: false, features: 0n, memory: [], rings });
    if (path !== '/dev/net/tun') return fail('open', 'ENOENT');
    if (this.options.real) return kernelSystem.open(path);
    return this.add({ kind: 'tun', label: 'tun', tap: undefined, attached: false });
  }

  openInterfaceSocket(): number {
    this.countCall('socket');
    return this.options.real ? kernelSystem.openInterfaceSocket() : this.add({ kind: 'socket', label: 'socket' });
  }

  private add(thing: Thing): number {
    this.things.set(this.next, thing);
    return this.next++;
  }

  close(fd: number): void {
    const thing = this.things.get(fd);
    if (thing === undefined) {
      if (!this.options.real || fd >= 100_000) throw new Error(`${fd} is not open`);
      closeFd(fd);
      return;
    }
    this.things.delete(fd);
    this.calls.push(`close ${thing.label}`);
    if (thing.kind !== 'tun' || thing.tap === undefined) return;
    const { tap } = thing;
    const open = [...this.things.values()].some((other) => other.kind === 'tun' && other.tap === tap);
    if (!open && (tap.flags & PERSIST) === 0 && this.taps.includes(tap)) this.deleteTap(tap.name);
  }

  pollErrors(fd: number): number {
    const thing = this.things.get(fd);
    if (thing?.kind === 'tun') return thing.tap === undefined || !thing.attached ? POLLERR : 0;
    return kernelSystem.pollErrors(fd);
  }

  readText(): string {
    return this.options.regionLimit ?? fail('open', 'ENOENT');
  }

  ioctl(fd: number, request: KernelRequest, argument: number | Uint8Array): number {
    const thing = this.things.get(fd);
    if (thing === undefined) {
      this.countCall(request, 'real');
      return this.options.real ? kernelSystem.ioctl(fd, request, argument) : fail(request, 'EBADF');
    }
    const bytes = typeof argument === 'number' ? new Uint8Array(0) : argument;
    const value = typeof argument === 'number' ? argument : 0;
    if (thing.kind === 'vhost') return this.vhost(thing, request, bytes);
    return thing.kind === 'tun' ? this.tun(thing, request, bytes, value) : this.interface(request, bytes);
  }

  // ---- vhost-net -----------------------------------------------------------------------------------------------------

  private vhost(file: VhostFile, request: KernelRequest, bytes: Uint8Array): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const u64 = (at: number) => view.getBigUint64(at, true);
    const u32 = (at: number) => view.getUint32(at, true);
    const label = (text: string) => this.countCall(`${request}${text}`, file.label);
    if (!file.owned && request !== 'VHOST_SET_OWNER' && request !== 'VHOST_GET_FEATURES') fail(request, 'EPERM');
    const ring = request.includes('VRING') || request.includes('BACKEND') ? file.rings[u32(0)] : undefined;
    if (ring !== undefined)
      label(` ${u32(0)}${request.endsWith('NUM') || request.endsWith('BASE') ? ` ${u32(4)}` : ''}`);
    switch (request) {
      case 'VHOST_SET_OWNER':
        label('');
        if (file.owned) fail(request, 'EBUSY');
        file.owned = true;
        return 0;
      case 'VHOST_GET_FEATURES':
        label('');
        view.setBigUint64(0, this.options.vhostFeatures ?? VHOST_FEATURES, true);
        return 0;
      case 'VHOST_SET_FEATURES':
        label(` 0x${u64(0).toString(16)}`);
        if (u64(0) & ~(this.options.vhostFeatures ?? VHOST_FEATURES)) fail(request, 'EOPNOTSUPP');
        file.features = u64(0);
        return 0;
      case 'VHOST_SET_MEM_TABLE':
        label(` ${u32(0)}`);
        if (bytes.length !== 8 + 32 * u32(0) || u32(4) !== 0) fail(request, 'EFAULT');
        if (u32(0) > Number(this.options.regionLimit ?? 64)) fail(request, 'E2BIG');
        file.memory = Array.from({ length: u32(0) }, (_, i) => {
          const at = 8 + 32 * i;
          return { guest: u64(at), size: u64(at + 8), user: u64(at + 16) };
        });
        return 0;
      default:
        return ring === undefined ? fail(request, 'ENOIOCTLCMD') : this.vring(ring, request, view);
    }
  }

  private vring(ring: Ring, request: KernelRequest, view: DataView): number {
    const num = view.getUint32(4, true);
    const fd = view.getInt32(4, true);
    const running = ring.backend !== -1;
    switch (request) {
      case 'VHOST_SET_VRING_NUM':
        if (running) fail(request, 'EBUSY');
        if (num === 0 || num > 0xffff || (num & (num - 1)) !== 0) fail(request, 'EINVAL');
        ring.num = num;
        return 0;
      case 'VHOST_SET_VRING_BASE':
        if (running) fail(request, 'EBUSY');
        if (num > 0xffff) fail(request, 'EINVAL');
        ring.base = num;
        return 0;
      case 'VHOST_SET_VRING_ADDR': {
        if (view.byteLength !== 40) fail(request, 'EFAULT');
        const [desc, used, avail] = [8, 16, 24].map((at) => view.getBigUint64(at, true));
        if (desc! % 16n || avail! % 2n || used! % 4n) fail(request, 'EINVAL');
        Object.assign(ring, { desc, used, avail });
        return 0;
      }
      case 'VHOST_SET_VRING_KICK':
        ring.kick = fd;
        return 0;
      case 'VHOST_SET_VRING_CALL':
        ring.call = fd;
        return 0;
      case 'VHOST_NET_SET_BACKEND': {
        if (fd !== -1 && ring.desc === 0n) fail(request, 'EFAULT');
        const file = this.things.get(fd);
        if (fd !== -1 && !this.options.real && (file?.kind !== 'tun' || file.tap === undefined))
          fail(request, 'EINVAL');
        ring.backend = fd;
        return 0;
      }
      default:
        return fail(request, 'ENOIOCTLCMD');
    }
  }

  // ---- tun -----------------------------------------------------------------------------------------------------------

  private tun(file: TunFile, request: KernelRequest, bytes: Uint8Array, value: number): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const name = new TextDecoder().decode(bytes.subarray(0, 16)).replace(/\0.*$/s, '');
    const label = (text: string | number = '') =>
      this.countCall(`${request}${text === '' ? '' : ` ${text}`}`, file.label);
    if (request === 'TUNGETFEATURES') {
      label();
      view.setUint32(0, this.options.tunFeatures ?? TUN_FEATURES, true);
      return 0;
    }
    if (request === 'TUNSETIFF') {
      label(`${name} 0x${view.getUint16(16, true).toString(16)}`);
      return this.setIff(file, name, view.getUint16(16, true));
    }
    if (request === 'TUNSETQUEUE') return this.setQueue(file, view.getUint16(16, true));
    const { tap } = file;
    if (tap === undefined) return fail(request, 'EBADFD');
    switch (request) {
      case 'TUNGETIFF':
        label();
        bytes.fill(0, 0, 16);
        new TextEncoder().encodeInto(tap.name, bytes);
        view.setUint16(16, tap.flags, true);
        break;
      case 'SIOCGIFHWADDR':
        label();
        view.setUint16(16, 1, true);
        bytes.set(tap.mac, 18);
        break;
      case 'SIOCSIFHWADDR':
        label(hex(bytes.subarray(18, 24)));
        if (view.getUint16(16, true) !== 1) fail(request, 'EINVAL');
        if (bytes[18]! & 1) fail(request, 'EADDRNOTAVAIL');
        tap.mac = [...bytes.subarray(18, 24)];
        break;
      case 'TUNSETVNETHDRSZ':
        label(view.getInt32(0, true));
        tap.headerSize = view.getInt32(0, true);
        break;
      case 'TUNSETSNDBUF':
        label(view.getInt32(0, true));
        tap.sndbuf = view.getInt32(0, true);
        break;
      case 'TUNSETOFFLOAD':
        label(value);
        if (value & ~0x1f || (value & 0x1e && !(value & 1))) fail(request, 'EINVAL');
        tap.offload = value;
        break;
      case 'TUNSETTXFILTER': {
        const count = view.getUint16(2, true);
        label(count);
        if (bytes.length < 4 + 6 * count) fail(request, 'EFAULT');
        const addresses = Array.from({ length: count }, (_, i) => hex(bytes.subarray(4 + 6 * i, 10 + 6 * i)));
        tap.filter = { flags: view.getUint16(0, true), addresses };
        break;
      }
      default:
        return fail(request, 'EINVAL');
    }
    return 0;
  }

  private setIff(file: TunFile, name: string, flags: number): number {
    if (file.tap !== undefined) fail('TUNSETIFF', 'EINVAL');
    if (this.options.others?.includes(name)) fail('TUNSETIFF', 'EINVAL');
    if ((flags & ~0x8000 & ~(this.options.tunFeatures ?? TUN_FEATURES)) !== 0) fail('TUNSETIFF', 'EINVAL');
    const free = [0, 1, 2, 3].find((n) => !this.taps.some((tap) => tap.name === name.replace('%d', String(n))));
    let tap = this.taps.find((one) => one.name === name);
    const queues = this.attached(name).length + (tap?.others ?? 0);
    if (tap === undefined) {
      tap = this.newTap(name.replace('%d', String(free)), flags);
      this.taps.push(tap);
    } else if ((tap.flags & MULTI_QUEUE) !== (flags & MULTI_QUEUE)) fail('TUNSETIFF', 'EINVAL');
    else if ((flags & MULTI_QUEUE) === 0 && queues > 0) fail('TUNSETIFF', 'EBUSY');
    tap.flags |= flags & 0x7010;
    file.tap = tap;
    file.attached = true;
    file.label = `${tap.name}/${this.attached(tap.name).length - 1}`;
    return 0;
  }

  private setQueue(file: TunFile, flags: number): number {
    const on = (flags & ATTACH) !== 0;
    this.countCall(`TUNSETQUEUE ${on ? 'attach' : 'detach'}`, file.label);
    if (file.tap === undefined || (file.tap.flags & MULTI_QUEUE) === 0) fail('TUNSETQUEUE', 'EINVAL');
    if (file.attached === on || (!on && (flags & DETACH) === 0)) fail('TUNSETQUEUE', 'EINVAL');
    file.attached = on;
    return 0;
  }

  // ---- interfaces ----------------------------------------------------------------------------------------------------

  private interface(request: KernelRequest, bytes: Uint8Array): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const name = new TextDecoder().decode(bytes.subarray(0, 16)).replace(/\0.*$/s, '');
    this.countCall(`${request} ${name}`, 'socket');
    const tap = this.taps.find((one) => one.name === name);
    if (tap === undefined && !this.options.others?.includes(name)) fail(request, 'ENODEV');
    if (request === 'SIOCGIFFLAGS') view.setUint16(16, 0x1002 | (tap?.up ? 1 : 0), true);
    else if (request === 'SIOCSIFFLAGS' && tap !== undefined) tap.up = (view.getUint16(16, true) & 1) !== 0;
    else fail(request, 'EINVAL');
    return 0;
  }
}
