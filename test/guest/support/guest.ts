/**
 * A virtual machine in software emulation that runs what the host tells it: Debian's kernel, the file system of image.ts, and a
 * NIC for each entry of `nics`, whose cable ends in this process. One boot serves many cases.
 */
import { writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { sleep, startPeer, temporaryDirectory, type Peer, type Scope } from '../../support/peers.js';
import { guestImage, type MoreParts } from './image.js';
import { Incoming } from './incoming.js';
import { guestParts } from './packages.js';
import { GuestProcess } from './process.js';
import { Qmp } from './qmp.js';
import { listen } from './sockets.js';
import { Wire } from './wire.js';

export interface Nic {
  readonly name: string;
  /** Properties of virtio-net-pci: packed=on,mrg_rxbuf=off */
  readonly properties?: string;
  /** Another back-end than a wire: the arguments of -netdev behind `id=`, and what it needs before it. */
  readonly netdev?: { readonly type: string; readonly before?: readonly string[] };
  /** Behind a port of its own, so that it can be pulled out. */
  readonly hotplug?: boolean;
}

export interface GuestOptions {
  /** An IOMMU that the guest's kernel uses. */
  readonly iommu: boolean;
  readonly nics: readonly Nic[];
  /** Hugepages of 2 MiB. */
  readonly hugepages?: number;
  /** A command that QEMU runs under, as the same process: `unshare --net`. */
  readonly launcher?: readonly string[];
  /** Default q35. */
  readonly machine?: 'q35' | 'pc';
  /** As QEMU writes sizes, `512M`. Default 1G. */
  readonly memory?: string;
  /** Sockets for memory that is plugged in later, and the most that there may be of it all: `slots=16,maxmem=4G`. */
  readonly memorySlots?: string;
  /** Default 2. */
  readonly cpus?: number;
  /** Tells the MAC addresses of several guests apart. Default 0. */
  readonly number?: number;
  readonly kernelArguments?: readonly string[];
  /** Of QEMU, behind those of the NICs. */
  readonly arguments?: readonly string[];
  readonly more?: MoreParts;
}

export interface Answer {
  readonly code: number;
  readonly output: string;
}

const BOOT_MS = 180_000;
/** Slots on the root bus: NIC i has the one behind, or its port has. */
const FIRST_SLOT = 0x10;

const hex = (value: number) => value.toString(16).padStart(2, '0');
const mac = (guest: number, index: number) => `52:54:00:00:${hex(guest)}:${hex(index + 1)}`;

export class Guest {
  private last: Promise<unknown> = Promise.resolve();
  private readonly agent: Incoming;
  private processes = 0;

  constructor(
    private readonly options: GuestOptions,
    private readonly qemu: Peer,
    readonly qmp: Qmp,
    private readonly wires: ReadonlyMap<string, Wire>,
    private readonly agentSocket: Socket,
  ) {
    this.agent = new Incoming(agentSocket, 'guest');
  }

  /** Waits until the guest takes commands. */
  async booted(): Promise<void> {
    await this.explain(this.agent.line(BOOT_MS));
  }

  /** Presses the reset button, and waits until the guest has booted again. */
  async reset(): Promise<void> {
    await this.qmp.execute('set-action', { reboot: 'reset' }); // instead of the end that -no-reboot asks for
    await this.qmp.execute('system_reset');
    await this.booted();
  }

  /** QEMU's. */
  get pid(): number {
    return this.qemu.pid;
  }

  /** What the kernel and the guest's process 1 have said. */
  get console(): string {
    return this.qemu.output;
  }

  /** Runs one line of shell, killed after `seconds`. */
  run(command: string, seconds = 60): Promise<Answer> {
    const answer = this.last.then(() => this.explain(this.exchange(command, seconds)));
    this.last = answer; // once it has not answered, it never will
    return answer;
  }

  /** Runs one line of shell that has to succeed. @returns what it printed */
  async ok(command: string, seconds?: number): Promise<string> {
    const { code, output } = await this.run(command, seconds);
    if (code !== 0) throw new Error(`in the guest, ${command}: exit code ${code}\n${output}`);
    return output;
  }

  /** Starts a program with a prompt. It ends with the scope. */
  async start(scope: Scope, name: string, command: string): Promise<GuestProcess> {
    const process = await GuestProcess.start(this, name, `/tmp/process${++this.processes}`, command);
    scope.teardown(() => process.kill());
    return process;
  }

  wire(name: string): Wire {
    return this.wires.get(name)!;
  }

  private indexOf(name: string): number {
    return this.options.nics.findIndex((nic) => nic.name === name);
  }

  mac(name: string): string {
    return mac(this.options.number ?? 0, this.indexOf(name));
  }

  /** PCI address of a NIC. The firmware numbers the buses of hotplug ports in their order. */
  bdf(name: string): string {
    const index = this.indexOf(name);
    const { nics } = this.options;
    if (!nics[index]!.hotplug) return `0000:00:${hex(FIRST_SLOT + index)}.0`;
    return `0000:${hex(nics.slice(0, index + 1).filter((nic) => nic.hotplug).length)}:00.0`;
  }

  private async exchange(command: string, seconds: number): Promise<Answer> {
    if (command.includes('\n')) throw new Error(`a command is one line: ${command}`);
    this.agentSocket.write(`${seconds} ${command}\n`, 'latin1');
    const ms = (seconds + 10) * 1000;
    const [code, length] = (await this.agent.line(ms)).split(' ').map(Number);
    return { code: code!, output: (await this.agent.exactly(length!, ms)).toString('latin1') };
  }

  /** Adds what the guest's console said last to an error. */
  private async explain<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (cause) {
      await Promise.race([this.qemu.end(), sleep(500)]); // its last words may be on their way
      throw new Error(
        `${(cause as Error).message} (QEMU: ${this.qemu.ended ?? 'runs'})\nconsole:\n${this.console.slice(-3000)}`,
        { cause },
      );
    }
  }
}

/** Arguments for one NIC; `path` is the socket of its wire. */
function nicArguments(nic: Nic, guest: number, index: number, path: string): string[] {
  const { name, properties, netdev, hotplug } = nic;
  const slot = `0x${hex(FIRST_SLOT + index)}`;
  const place = hotplug ? `bus=port-${name}` : `addr=${slot}`;
  const device = `virtio-net-pci,id=${name},netdev=wire-${name},mac=${mac(guest, index)},romfile=,${place}`;
  const type = netdev?.type ?? 'stream';
  const stream = netdev ? '' : `,server=off,addr.type=unix,addr.path=${path}`;
  const [kind, ...rest] = type.split(',');
  return [
    ...(netdev?.before ?? []),
    ...['-netdev', [kind, `id=wire-${name}`, ...rest].join(',') + stream],
    ...(hotplug ? ['-device', `pcie-root-port,id=port-${name},chassis=${index + 1},addr=${slot}`] : []),
    ...['-device', properties ? `${device},${properties}` : device],
  ];
}

/** Boots a guest that ends with the scope. */
export async function startGuest(scope: Scope, options: GuestOptions): Promise<Guest> {
  const { iommu, nics, hugepages = 64, launcher = [], more } = options;
  const { machine = 'q35', memory = '1G', memorySlots, cpus = 2, number = 0 } = options;
  const directory = temporaryDirectory(scope);
  const parts = guestParts();
  const image = join(directory, 'image');
  writeFileSync(image, guestImage(parts, directory, more));

  const agent = await listen(scope, join(directory, 'agent'));
  const qmp = await listen(scope, join(directory, 'qmp'));
  const wired = nics.filter((nic) => nic.netdev === undefined);
  const listening = new Map<string, Awaited<ReturnType<typeof listen>>>();
  for (const { name } of wired) listening.set(name, await listen(scope, join(directory, name)));

  const kernelArguments = [
    ...['console=ttyS0', 'loglevel=4', 'panic=-1', `hugepages=${hugepages}`],
    'no_timer_check', // a host with much else to do may let the ticks that the kernel waits for come late
    ...(iommu ? ['intel_iommu=on'] : []),
    ...(options.kernelArguments ?? []),
  ];
  const [program, ...qemuArguments] = [
    ...[...launcher, 'qemu-system-x86_64'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-M', `${machine},kernel-irqchip=split,memory-backend=ram`, '-accel', 'tcg,thread=multi', '-cpu', 'max'],
    ...['-smp', `${cpus}`],
    // shared, for back-ends in other processes
    ...['-m', memorySlots ? `${memory},${memorySlots}` : memory],
    ...['-object', `memory-backend-memfd,id=ram,size=${memory},share=on`],
    ...['-kernel', parts.kernel, '-initrd', image, '-append', kernelArguments.join(' ')],
    ...['-serial', 'stdio', '-chardev', `socket,id=agent,path=${agent.path}`, '-serial', 'chardev:agent'],
    ...['-chardev', `socket,id=qmp,path=${qmp.path}`, '-mon', 'chardev=qmp,mode=control'],
    ...(iommu ? ['-device', 'intel-iommu,intremap=on,caching-mode=on'] : []),
    ...nics.flatMap((nic, index) => nicArguments(nic, number, index, listening.get(nic.name)?.path ?? '')),
    ...(options.arguments ?? []),
  ];
  const qemu = startPeer(scope, 'guest', program!, qemuArguments);
  const failed = qemu.end().then((how) => {
    throw new Error(`QEMU ended (${how}):\n${qemu.output.slice(-3000)}`);
  });
  failed.catch(() => {}); // it ends with the scope, too
  const connected = <T>(socket: Promise<T>) => Promise.race([socket, failed]);

  const wires = new Map<string, Wire>();
  for (const [name, { connected: socket }] of listening) wires.set(name, new Wire(name, await connected(socket)));
  const control = await connected(qmp.connected.then((socket) => Qmp.open(socket)));
  const guest = new Guest(options, qemu, control, wires, await connected(agent.connected));
  await guest.booted();
  return guest;
}
