/**
 * An lcore polls the rings without pause, while the front-end changes memory, rings, sizes and connection: no packet is lost or
 * comes twice, positions are right, and memory that was taken away is not touched.
 */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import * as wire from '../../../driver/wire/vhost-user.js';
import { VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF } from '../../../driver/wire/virtio-features.js'; // prettier-ignore
import { makeViews } from '../../../native/region.js';
import { soon } from '../../support/wire.js';
import { FREEZE, GIVEN, listOf, NUMBER_AT, TAKEN } from './support/echo-job.js';
import { echoPort, type EchoPort } from './support/echo-port.js';
import { GUEST_BASE, memfdMaps, MEMORY_SIZE, RawFrontend, USER_BASE } from './support/raw-frontend.js';
import { RawGuest } from './support/raw-guest.js';

const PACKET = 64;
const FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF | VHOST_USER_F_PROTOCOL_FEATURES;

/** What the front-end or the guest does next. */
type Step =
  | { readonly what: 'send'; readonly count: number }
  | { readonly what: 'receive' }
  | { readonly what: 'memory'; readonly border: number }
  | { readonly what: 'stop' | 'disable' | 'call' | 'kick'; readonly ring: 0 | 1 }
  | { readonly what: 'reset' }
  | { readonly what: 'resize'; readonly size: number }
  | { readonly what: 'disconnect' };

const aRing = fc.constantFrom(0 as const, 1 as const);
const aStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant('send' as const), count: fc.integer({ min: 1, max: 100 }) }) },
  { weight: 4, arbitrary: fc.record({ what: fc.constant('receive' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant('memory' as const), border: fc.integer({ min: 0, max: 63 }) }),
  },
  { weight: 3, arbitrary: fc.record({ what: fc.constantFrom('stop', 'disable', 'call', 'kick'), ring: aRing }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('reset' as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('resize' as const), size: fc.constantFrom(4, 16, 64, 256) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('disconnect' as const) }) },
);

/** The front-end with its guest, and what both should have seen. */
class World {
  front!: RawFrontend;
  guest!: RawGuest;
  /** Numbers that the guest has sent, less those that went away with their ring. */
  private sent: number[] = [];
  private readonly received: number[] = [];
  private next = 0;
  private size = 64;
  /** Packets that were taken and given before this ring began. */
  private before = { taken: 0, given: 0 };

  constructor(
    private readonly t: ExecutionContext,
    private readonly echo: EchoPort,
    private readonly packed: boolean,
  ) {
    this.before = { taken: this.taken.length, given: this.given.length };
    this.sent = [...this.taken];
    this.received = [...this.given];
    this.next = (this.sent.at(-1) ?? -1) + 1;
    this.connect();
  }

  private get taken(): Int32Array {
    return listOf(this.echo.book, TAKEN);
  }

  private get given(): Int32Array {
    return listOf(this.echo.book, GIVEN);
  }

  private good(answer: bigint | undefined, what: string): void {
    if (answer !== 0n) throw new Error(`${what} was answered ${answer}: ${this.echo.log.slice(-5).join('\n')}`);
  }

  private connect(): void {
    const protocol = wire.PROTOCOL_F_REPLY_ACK | wire.PROTOCOL_F_MQ | wire.PROTOCOL_F_STATUS;
    this.front = new RawFrontend(this.echo.backend);
    this.front.negotiate(FEATURES | (this.packed ? VIRTIO_F_RING_PACKED : 0n), protocol);
    this.good(this.front.setMemory(), 'SET_MEM_TABLE');
    this.begin();
  }

  /** New rings on the memory. */
  private begin(): void {
    const { packed, size } = this;
    const names = packed ? (['virtio_recv_mergeable_pkts_packed', 'virtio_xmit_pkts_packed'] as const) : (['virtio_recv_mergeable_pkts', 'virtio_xmit_pkts'] as const); // prettier-ignore
    this.guest = new RawGuest(this.front, { rx: names[0], tx: names[1], size, mergeable: true, inOrder: false });
    this.before = { taken: this.taken.length, given: this.given.length };
    for (const ring of [0, 1] as const) {
      const answers = this.front.startRing(ring, size, this.guest.ringOff[ring], packed);
      answers.forEach((answer) => this.good(answer, `ring ${ring}`));
    }
    this.good(this.front.ack(wire.SET_STATUS, wire.encodeU64(15n)), 'SET_STATUS');
  }

  private receive(): void {
    for (const bytes of this.guest.receive()) {
      this.received.push(new DataView(bytes.buffer, bytes.byteOffset).getInt32(NUMBER_AT, true));
    }
    this.guest.rx.fill();
  }

  /** Stops a ring. @returns its position, which is checked against what the lcore has taken or given */
  private stop(ring: 0 | 1): number {
    const base = this.front.stop(ring);
    // packets of the guest take one descriptor each here, and so do those that it receives
    const [count, before] =
      ring === 1 ? [this.taken.length, this.before.taken] : [this.given.length, this.before.given];
    const used = count - before;
    const expected = this.packed
      ? (used % this.size) | (Math.floor(used / this.size) % 2 === 0 ? 0x8000 : 0)
      : used & 0xffff;
    this.t.is(base & 0xffff, expected, `position of ring ${ring} after ${used}`);
    return this.packed ? ((base & 0xffff) | (base << 16)) >>> 0 : base;
  }

  private restart(ring: 0 | 1, base: number): void {
    const { front } = this;
    this.good(front.state(wire.SET_VRING_BASE, ring, base), 'SET_VRING_BASE');
    for (const request of [wire.SET_VRING_CALL, wire.SET_VRING_KICK]) {
      this.good(front.ack(request, wire.encodeVringFd(ring, true), [front.eventFd()]), 'descriptor');
    }
  }

  /** Both rings end: what the guest has sent and nobody took goes away with them. */
  private end(): void {
    this.stop(1);
    this.stop(0);
    this.receive();
    this.sent.length = this.taken.length;
  }

  take(step: Step): void {
    const { front, guest } = this;
    switch (step.what) {
      case 'send':
        for (let i = 0; i < step.count; i++) {
          const bytes = new Uint8Array(PACKET).fill(0xa5);
          new DataView(bytes.buffer).setInt32(NUMBER_AT, this.next, true);
          if (!guest.send(bytes)) break;
          this.sent.push(this.next++);
        }
        return;
      case 'receive':
        this.receive();
        return;
      case 'memory':
        this.changeMemory(step.border);
        return;
      case 'stop':
        this.restart(step.ring, this.stop(step.ring));
        return;
      case 'disable':
        this.good(front.state(wire.SET_VRING_ENABLE, step.ring, 0), 'SET_VRING_ENABLE');
        this.good(front.state(wire.SET_VRING_ENABLE, step.ring, 1), 'SET_VRING_ENABLE');
        return;
      case 'call':
      case 'kick': {
        const request = step.what === 'call' ? wire.SET_VRING_CALL : wire.SET_VRING_KICK;
        this.good(front.ack(request, wire.encodeVringFd(step.ring, true), [front.eventFd()]), step.what);
        return;
      }
      case 'reset': {
        this.good(front.ack(wire.SET_STATUS, wire.encodeU64(0n)), 'SET_STATUS');
        const bases = ([0, 1] as const).map((ring) => this.stop(ring));
        for (const ring of [0, 1] as const) this.restart(ring, bases[ring]!);
        this.good(front.ack(wire.SET_STATUS, wire.encodeU64(15n)), 'SET_STATUS');
        return;
      }
      case 'resize':
        this.end();
        this.size = step.size;
        this.begin();
        return;
      case 'disconnect':
        this.end();
        front.close();
        this.connect();
    }
  }

  /** The same memory in two regions: they are mapped anew, and the old place holds zeros, also some bursts later. */
  private changeMemory(border: number): void {
    const { front, echo } = this;
    const cut = BigInt((border + 1) * 4096);
    const size = BigInt(MEMORY_SIZE);
    const parts = [
      { guestAddr: GUEST_BASE, userAddr: USER_BASE, size: cut, mmapOffset: 0n },
      { guestAddr: GUEST_BASE + cut, userAddr: USER_BASE + cut, size: size - cut, mmapOffset: cut },
    ];
    const old = echo.device.table.regions.map(({ mapping }) => mapping);
    const answer = front.ack(wire.SET_MEM_TABLE, wire.encodeMemoryTable(parts), [front.memory.fd, front.memory.fd]);
    this.good(answer, 'SET_MEM_TABLE');
    const kept = new Set(echo.device.table.regions.map(({ mapping }) => mapping.address));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2); // bursts go on meanwhile
    for (const { address, byteLength } of old) {
      if (kept.has(address)) continue;
      this.t.true(
        makeViews(address, byteLength).u32.every((word) => word === 0),
        'the old place was touched',
      );
    }
  }

  /** All that was sent arrives, once and in order. */
  async finish(): Promise<void> {
    await soon('all packets to come back', () => (this.receive(), this.received.length), (n) => n >= this.sent.length); // prettier-ignore
    this.t.deepEqual([...this.taken], this.sent);
    this.t.deepEqual([...this.given], this.sent);
    this.t.deepEqual(this.received, this.sent);
    this.end();
    this.front.close();
  }
}

for (const packed of [false, true]) {
  test.serial(`${packed ? 'packed' : 'split'}: random messages while an lcore bursts without pause`, async (t) => {
    t.timeout(180_000);
    const echo = await echoPort(t);
    await fc.assert(
      fc.asyncProperty(fc.array(aStep, { minLength: 5, maxLength: 40 }), async (steps) => {
        const world = new World(t, echo, packed);
        for (const step of steps) world.take(step);
        await world.finish();
      }),
      { numRuns: 25, endOnFailure: true },
    );
    t.true(listOf(echo.book, TAKEN).length > 1000);
    echo.eal.lcores.stop();
    echo.eal.lcores.wait();
    t.deepEqual(echo.eal.leaks(), []);
  });
}

test.serial(
  'an lcore that does not leave its turn costs its guest the connection, and the memory stays until it does',
  async (t) => {
    const echo = await echoPort(t);
    const words = new Int32Array(echo.book);
    const world = new World(t, echo, false);
    world.take({ what: 'send', count: 1 });
    await soon('the packet', () => words[GIVEN], (n) => n === 1); // prettier-ignore
    Atomics.store(words, FREEZE, 1);
    const maps = memfdMaps();
    t.is(world.front.ack(wire.SET_VRING_ENABLE, wire.encodeVringState({ index: 0, num: 0 })), undefined);
    t.true(world.front.closed);
    t.regex(echo.log.join('\n'), /lcore 1 has not ended a turn of its loop .*connection closed/);
    t.is(memfdMaps(), maps, 'the lcore may be about to touch it');
    t.false(echo.port.link.up);

    Atomics.store(words, FREEZE, 0);
    Atomics.notify(words, FREEZE);
    world.front.close();
    const next = new World(t, echo, false);
    next.take({ what: 'send', count: 10 });
    await next.finish();
    await soon('the mappings to go', memfdMaps, (n) => n < maps);
    t.pass();
  },
);

test.serial(
  "NET_SET_MTU: the port has the guest's MTU; out of range, or without the protocol feature, it is refused",
  async (t) => {
    const echo = await echoPort(t);
    const front = new RawFrontend(echo.backend);
    const mtu = (bytes: bigint) => front.ack(wire.NET_SET_MTU, wire.encodeU64(bytes));
    front.negotiate(FEATURES, wire.PROTOCOL_F_REPLY_ACK);
    t.is(mtu(1400n), 1n);
    front.negotiate(FEATURES, wire.PROTOCOL_F_REPLY_ACK | wire.PROTOCOL_F_NET_MTU);
    for (const wrong of [0n, 67n, 65536n, 1n << 63n]) t.is(mtu(wrong), 1n);
    for (const right of [68n, 65535n, 1400n]) t.is(mtu(right), 0n);
    t.is(echo.port.info().mtu, 1500, 'no driver uses the device yet');
    t.is(front.setMemory(), 0n);
    const guest = new RawGuest(front, { rx: 'virtio_recv_mergeable_pkts', tx: 'virtio_xmit_pkts', size: 64, mergeable: true, inOrder: false }); // prettier-ignore
    for (const ring of [0, 1] as const) front.startRing(ring, 64, guest.ringOff[ring]);
    t.true(echo.port.link.up);
    t.is(echo.port.info().mtu, 1400);
    front.close();
  },
);
