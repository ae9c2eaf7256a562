/** The device's side of a split control queue, as slow and obvious as it can be: what a fake PCI device answers with. */
import assert from 'node:assert/strict';
import { viewsOf } from '../../../../native/region.js';
import type { Eal } from '../../../../driver/eal/eal.js';

export interface SeenCommand {
  readonly class: number;
  readonly command: number;
  readonly data: readonly number[];
}

export class ControlDevice {
  readonly seen: SeenCommand[] = [];
  private next = 0;

  constructor(
    private readonly eal: Eal,
    private readonly size: number,
    private readonly ack: number,
  ) {}

  /** Answers everything in the ring whose parts are at these device addresses. */
  run(ring: { readonly desc: bigint; readonly avail: bigint; readonly used: bigint }): void {
    const memory = viewsOf(this.eal.memory!);
    const view = new DataView(memory.u8.buffer, memory.u8.byteOffset, memory.u8.byteLength);
    const at = (address: bigint) => Number(address - this.eal.deviceAddress(0));
    const [desc, avail, used] = [at(ring.desc), at(ring.avail), at(ring.used)];
    while (this.next !== view.getUint16(avail + 2, true)) {
      const head = view.getUint16(avail + 4 + 2 * (this.next % this.size), true);
      const bytes: number[] = [];
      for (let id = head; ;) {
        const entry = desc + 16 * id;
        const from = at(view.getBigUint64(entry, true));
        const length = view.getUint32(entry + 8, true);
        const flags = view.getUint16(entry + 12, true);
        if (flags & 2) view.setUint8(from, this.ack);
        else bytes.push(...memory.u8.subarray(from, from + length));
        if ((flags & 1) === 0) break;
        id = view.getUint16(entry + 14, true);
        assert.ok(id < this.size);
      }
      this.seen.push({ class: bytes[0]!, command: bytes[1]!, data: bytes.slice(2) });
      view.setUint32(used + 4 + 8 * (this.next % this.size), head, true);
      view.setUint32(used + 8 + 8 * (this.next % this.size), 1, true);
      this.next = (this.next + 1) & 0xffff;
      view.setUint16(used + 2, this.next, true);
    }
  }
}
