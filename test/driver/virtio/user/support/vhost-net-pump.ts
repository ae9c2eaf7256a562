/**
 * The thread of a mock vhost-net: packets between rings and a tap, each way by the rules, whenever a test says so. It knows
 * of the rings what the kernel was told.
 */
import { readNow, writeNow } from '../../../../../native/device-file.js';
import type { Mapping } from '../../../../../native/region.js';
import { splitLayout } from '../../../../../paths/layout.js';
import type { FakeKernel } from './mock-vhost-net.js';
import { capacity, gather, ReferenceSplitRing, scatter, type Buffer } from '../../../../support/reference-ring.js';

const MAX_FRAME = 65_562 + 12;
const NUM_BUFFERS = 10;

interface Served {
  readonly tapFd: number;
  readonly rx: ReferenceSplitRing;
  readonly tx: ReferenceSplitRing;
  /** Buffers that were taken, and no packet has come for them. */
  readonly spare: Buffer[];
  /** A frame that there was no room for. */
  waiting: Uint8Array | undefined;
}

export class VhostPump {
  private readonly served = new Map<object, Served>();
  private readonly frame = new Uint8Array(MAX_FRAME);

  constructor(
    private readonly kernel: FakeKernel,
    private readonly mapping: Mapping,
  ) {}

  /** Moves everything that there is. @returns packets to the tap, and packets to the port */
  run(): { sent: number; received: number } {
    let [sent, received] = [0, 0];
    for (const file of this.kernel.vhosts) {
      const tapFd = file.rings[0].backend;
      if (tapFd < 0) continue;
      let pair = this.served.get(file);
      if (pair?.tapFd !== tapFd) {
        const [rx, tx] = [this.ring(file, 0), this.ring(file, 1)];
        this.served.set(file, (pair = { tapFd, rx, tx, spare: [], waiting: undefined }));
      }
      sent += this.send(pair);
      received += this.receive(pair);
    }
    return { sent, received };
  }

  private ring(file: FakeKernel['vhosts'][number], index: 0 | 1): ReferenceSplitRing {
    const { mapping } = this;
    const { num: size, base, desc, avail, used } = file.rings[index];
    const [memory] = file.memory;
    const at = (address: bigint) => Number(address - memory!.user);
    const layout = splitLayout(size);
    const ringOff = at(desc) - layout.desc;
    if (at(avail) !== ringOff + layout.driver || at(used) !== ringOff + layout.device) {
      throw new Error('the parts of the ring are not where the driver has them');
    }
    return new ReferenceSplitRing({
      ...{ mapping, size, ringOff, packed: false, tx: index === 1, inOrder: false, nbDesc: size },
      addressBase: memory!.guest,
      indirect: (file.features & (1n << 28n)) !== 0n,
      eventIdx: (file.features & (1n << 29n)) !== 0n,
      start: { index: base, wrap: 1 },
    });
  }

  private send({ tapFd, tx }: Served): number {
    const buffers = tx.takeAll();
    for (const buffer of buffers) {
      try {
        writeNow(tapFd, gather(tx, buffer));
      } catch {
        // the interface is down, or the packet is none: the kernel drops it
      }
    }
    tx.use(buffers.map((buffer) => ({ buffer, length: 0 })));
    return buffers.length;
  }

  private receive(pair: Served): number {
    const { rx, spare, tapFd } = pair;
    spare.push(...rx.takeAll());
    for (let count = 0; ; count++) {
      if (pair.waiting === undefined) {
        const length = readNow(tapFd, this.frame);
        if (length === 0) return count;
        pair.waiting = this.frame.slice(0, length);
      }
      const frame = pair.waiting;
      const used: { buffer: Buffer; length: number }[] = [];
      let rest = frame.length;
      for (const buffer of spare) {
        if (rest <= 0) break;
        used.push({ buffer, length: Math.min(rest, capacity(buffer)) });
        rest -= capacity(buffer);
      }
      if (rest > 0) return count;
      new DataView(frame.buffer).setUint16(NUM_BUFFERS, used.length, true);
      let at = 0;
      for (const { buffer, length } of used) scatter(rx, buffer, frame.subarray(at, (at += length)));
      spare.splice(0, used.length);
      rx.use(used);
      pair.waiting = undefined;
    }
  }
}
