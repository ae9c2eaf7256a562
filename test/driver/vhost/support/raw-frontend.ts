/**
 * A vhost-user front-end made of single messages, right or wrong, and a back-end beside it that runs only when `poll` is
 * called: so every test is a sequence of steps, in one thread, over a real socket.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { VhostDriver, type VhostDevice, type VhostOptions } from '../../../../driver/vhost/index.js';
import { MessageChannel } from '../../../../driver/wire/channel.js';
import * as wire from '../../../../driver/wire/vhost-user.js';
import { unclosed } from '../../../../native/closer.js';
import { createEventFd } from '../../../../native/event.js';
import { closeFd, createRegion, destroyRegion, type Region } from '../../../../native/region.js';
import { connectUnix, sendWithFds } from '../../../../native/socket.js';
import { splitLayout, packedLayout } from '../../../../paths/layout.js';

/** Where the front-end says that its memory is: all numbers differ, so that none can stand in for another. */
export const GUEST_BASE = 0x1_0000_0000n;
export const USER_BASE = 0x7f00_0000_0000n;
export const MEMORY_SIZE = 4 << 20;

/** Open descriptors of this process, once those of peers that are being closed apart have gone. */
export function openFds(): number {
  for (let i = 0; i < 2000 && unclosed() > 0; i++) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  return readdirSync('/proc/self/fd').length;
}
/** Mappings of memfds in this process. */
export const memfdMaps = (): number => readFileSync('/proc/self/maps', 'utf8').split('/memfd:').length - 1;

/** The back-end, what it logged, and what its callbacks saw. */
export class Backend {
  readonly log: string[] = [];
  readonly events: string[] = [];
  readonly driver: VhostDriver;

  constructor(
    readonly path: string,
    options: VhostOptions = {},
  ) {
    const note = (event: string) => this.events.push(event);
    this.driver = new VhostDriver(
      path,
      { ...options, log: (level, line) => this.log.push(`${level}: ${line}`) },
      {
        newDevice: () => void note('new'),
        destroyDevice: () => void note('destroy'),
        vringStateChanged: (_device, queue, enabled) => void note(`ring ${queue} ${enabled ? 'on' : 'off'}`),
        featuresChanged: (_device, features) => void note(`features 0x${features.toString(16)}`),
        newConnection: () => void note('connect'),
        destroyConnection: () => void note('disconnect'),
      },
    );
  }

  /** The device of the only connection. */
  get device(): VhostDevice {
    const [device] = this.driver.devices;
    if (device === undefined) throw new Error(`no connection; log: ${this.log.join('\n')}`);
    return device;
  }

  /** Errors and warnings so far, one string. */
  get complaints(): string {
    return this.log.filter((line) => /^(error|warning)/.test(line)).join('\n');
  }
}

export class RawFrontend {
  readonly channel: MessageChannel;
  private region: Region | undefined;
  private readonly fds: number[] = [];

  constructor(
    readonly backend: { readonly path: string; readonly driver: { poll(): void } },
    fd = connectUnix(backend.path),
  ) {
    this.channel = new MessageChannel(fd);
    backend.driver.poll();
  }

  /** Bytes as they are. */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    sendWithFds(this.channel.fd, bytes, fds);
  }

  /** One message, then one turn of the back-end. @returns the reply, if any. */
  send(
    request: number,
    payload?: Uint8Array,
    fds: readonly number[] = [],
    flags = wire.VERSION,
  ): wire.Message | undefined {
    try {
      this.sendBytes(wire.encodeMessage(request, flags, payload), fds);
    } catch {
      return undefined; // closed by the other side
    }
    return this.turn();
  }

  turn(): wire.Message | undefined {
    this.backend.driver.poll();
    return this.channel.receive();
  }

  /** A request with NEED_REPLY. @returns what was answered: 0 for done, or undefined for no answer. */
  ack(request: number, payload?: Uint8Array, fds: readonly number[] = []): bigint | undefined {
    const reply = this.send(request, payload, fds, wire.VERSION | wire.NEED_REPLY);
    return reply === undefined ? undefined : wire.decodeU64(reply.payload);
  }

  /** A request that answers with a number. */
  get(request: number): bigint {
    return wire.decodeU64(this.send(request)!.payload);
  }

  state(request: number, index: number, num: number): bigint | undefined {
    return this.ack(request, wire.encodeVringState({ index, num }));
  }

  /** GET_VRING_BASE. */
  stop(index: number): number {
    return wire.decodeVringState(this.send(wire.GET_VRING_BASE, wire.encodeVringState({ index, num: 0 }))!.payload).num;
  }

  /** True when the back-end has closed the connection. */
  get closed(): boolean {
    this.backend.driver.poll();
    while (this.channel.receive() !== undefined);
    return this.channel.ended !== undefined;
  }

  /** An eventfd that is closed with the front-end. */
  eventFd(): number {
    const fd = createEventFd();
    this.fds.push(fd);
    return fd;
  }

  get memory(): Region {
    this.region ??= createRegion('raw-frontend', MEMORY_SIZE, false);
    return this.region;
  }

  /** The memory as a region for SET_MEM_TABLE; fields may be replaced by wrong ones. */
  memoryRegion(change: Partial<wire.MemoryRegion> = {}): wire.MemoryRegion {
    return { guestAddr: GUEST_BASE, userAddr: USER_BASE, size: BigInt(MEMORY_SIZE), mmapOffset: 0n, ...change };
  }

  /** The messages up to the acknowledged features. */
  negotiate(features: bigint, protocol: bigint = wire.PROTOCOL_F_REPLY_ACK | wire.PROTOCOL_F_MQ): void {
    this.send(wire.SET_OWNER);
    this.send(wire.SET_PROTOCOL_FEATURES, wire.encodeU64(protocol));
    this.send(wire.SET_FEATURES, wire.encodeU64(features));
  }

  setMemory(): bigint | undefined {
    return this.ack(wire.SET_MEM_TABLE, wire.encodeMemoryTable([this.memoryRegion()]), [this.memory.fd]);
  }

  /** Addresses of a ring of `size` whose first byte is at `offset` of the memory. */
  ringAddr(
    index: number,
    size: number,
    offset: number,
    packed = false,
    change: Partial<wire.VringAddr> = {},
  ): Uint8Array {
    const layout = packed ? packedLayout(size) : splitLayout(size);
    const at = (part: number) => USER_BASE + BigInt(offset + part);
    return wire.encodeVringAddr({
      index,
      flags: 0,
      desc: at(layout.desc),
      avail: at(layout.driver),
      used: at(layout.device),
      log: 0n,
      ...change,
    });
  }

  /** NUM, BASE, ADDR, CALL, KICK, ENABLE of one ring. @returns the answers. */
  startRing(index: number, size: number, offset: number, packed = false): (bigint | undefined)[] {
    return [
      this.state(wire.SET_VRING_NUM, index, size),
      this.state(wire.SET_VRING_BASE, index, packed ? 0x8000 : 0),
      this.ack(wire.SET_VRING_ADDR, this.ringAddr(index, size, offset, packed)),
      this.ack(wire.SET_VRING_CALL, wire.encodeVringFd(index, true), [this.eventFd()]),
      this.ack(wire.SET_VRING_KICK, wire.encodeVringFd(index, true), [this.eventFd()]),
      this.state(wire.SET_VRING_ENABLE, index, 1),
    ];
  }

  close(): void {
    this.channel.close();
    for (const fd of this.fds.splice(0)) closeFd(fd);
    if (this.region !== undefined) destroyRegion(this.region);
    this.region = undefined;
    this.backend.driver.poll();
  }
}

/**
 * Runs `body` between a fresh back-end and a front-end connected to it, and fails when a descriptor or mapping is left
 * over at the end, or the back-end cannot take another connection.
 */
export function withFrontend(
  t: ExecutionContext,
  body: (front: RawFrontend, backend: Backend) => void,
  options: VhostOptions = {},
): void {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  const fds = openFds();
  const maps = memfdMaps();
  const backend = new Backend(join(directory, 's'), options);
  try {
    backend.driver.start();
    const front = new RawFrontend(backend);
    try {
      body(front, backend);
    } finally {
      front.close();
    }
    backend.driver.poll();
    t.is(backend.driver.devices.length, 0, 'the session has ended');
    t.is(openFds(), fds + 1, 'no descriptor is left but the listening socket');
    t.is(memfdMaps(), maps, 'no mapping is left');
    const next = new RawFrontend(backend);
    t.is(next.get(wire.GET_FEATURES) > 0n, true, 'another front-end is served');
    next.close();
  } finally {
    backend.driver.close();
    rmSync(directory, { recursive: true, force: true });
  }
  t.is(openFds(), fds, 'no descriptor is left');
}
