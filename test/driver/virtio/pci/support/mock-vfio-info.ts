/** What a mock vfio answers: structures with chains of capabilities behind them, and argsz. */
import { SystemError } from '../../../../../native/errors.js';

/** A capability of a region or of the IOMMU: its id, and what is behind the header. */
export interface FakeCap {
  readonly id: number;
  readonly body?: readonly (number | bigint)[];
  /** Instead of where the next one is. */
  readonly next?: number;
}

export function fail(errno: string): never {
  throw new SystemError('ioctl', errno);
}

export const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A structure and the chain behind it. Bodies are 32 bits for numbers, 64 for bigints. */
export function withCaps(fixed: Uint8Array, caps: readonly FakeCap[], capOffsetAt: number): Uint8Array {
  const bodies = caps.map(({ body = [] }) => body.reduce<number>((sum, x) => sum + (typeof x === 'bigint' ? 8 : 4), 8));
  const answer = new Uint8Array(fixed.length + bodies.reduce((sum, length) => sum + length, 0));
  answer.set(fixed);
  const view = viewOf(answer);
  view.setUint32(capOffsetAt, caps.length > 0 ? fixed.length : 0, true);
  let at = fixed.length;
  caps.forEach(({ id, body = [], next }, i) => {
    const end = at + bodies[i]!;
    view.setUint16(at, id, true);
    view.setUint16(at + 2, 1, true);
    view.setUint32(at + 4, next ?? (i + 1 < caps.length ? end : 0), true);
    let to = at + 8;
    for (const x of body) {
      if (typeof x === 'bigint') view.setBigUint64(to, x, true);
      else view.setUint32(to, x, true);
      to += typeof x === 'bigint' ? 8 : 4;
    }
    at = end;
  });
  return answer;
}

/** As the kernel answers: all of it, or its fixed part and how long all of it would be. */
export function tell(bytes: Uint8Array, answer: Uint8Array, fixed: number, capOffsetAt: number): void {
  const argsz = viewOf(bytes).getUint32(0, true);
  if (argsz < fixed || argsz > bytes.length) fail('EINVAL');
  viewOf(answer).setUint32(0, Math.max(argsz, answer.length), true);
  if (argsz < answer.length) viewOf(answer).setUint32(capOffsetAt, 0, true);
  bytes.set(argsz < answer.length ? answer.subarray(0, fixed) : answer);
}
