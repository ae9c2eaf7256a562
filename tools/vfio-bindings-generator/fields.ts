/**
 * Fields of C structs, read and written through a DataView. `base` is where in the view the struct begins. Numbers without
 * a byte order in their name are in that of the machine, little-endian on every one that this runs on.
 */

/** A number. Those of 64 bits are bigints. */
export interface Field<T extends number | bigint = number> {
  readonly offset: number;
  /** In bytes. */
  readonly width: number;
  get(view: DataView, base?: number): T;
  /** Bits for which there is no room are dropped. */
  set(view: DataView, value: T, base?: number): void;
}

/** What has no other meaning: addresses, names, structs, unions, pointers. */
export interface Bytes {
  readonly offset: number;
  readonly width: number;
  /** The bytes themselves, not a copy. @throws RangeError outside the view */
  get(view: DataView, base?: number): Uint8Array;
  /** @throws RangeError outside the view, or when there are not exactly as many */
  set(view: DataView, value: Uint8Array, base?: number): void;
}

/** Structs, one behind the other. */
export interface Elements {
  readonly offset: number;
  /** Bytes from one to the next. */
  readonly stride: number;
  /** Where one of them begins: the `base` of its fields. */
  at(index: number, base?: number): number;
}

/** Numbers, one behind the other. */
export interface Numbers<T extends number | bigint = number> extends Elements {
  /** Undefined when the struct ends with them: how many there are is said elsewhere. */
  readonly length: number | undefined;
  get(view: DataView, index: number, base?: number): T;
  set(view: DataView, index: number, value: T, base?: number): void;
}

function kind<T extends number | bigint>(
  width: number,
  read: (view: DataView, at: number) => T,
  write: (view: DataView, at: number, value: T) => void,
) {
  return (offset: number): Field<T> => ({
    offset,
    width,
    get: (view, base = 0) => read(view, base + offset),
    set: (view, value, base = 0) => write(view, base + offset, value),
  });
}

export const u8 = kind<number>(
  1,
  (view, at) => view.getUint8(at),
  (view, at, value) => view.setUint8(at, value),
);
export const s8 = kind<number>(
  1,
  (view, at) => view.getInt8(at),
  (view, at, value) => view.setInt8(at, value),
);
export const u16 = kind<number>(
  2,
  (view, at) => view.getUint16(at, true),
  (view, at, value) => view.setUint16(at, value, true),
);
export const s16 = kind<number>(
  2,
  (view, at) => view.getInt16(at, true),
  (view, at, value) => view.setInt16(at, value, true),
);
export const u32 = kind<number>(
  4,
  (view, at) => view.getUint32(at, true),
  (view, at, value) => view.setUint32(at, value, true),
);
export const s32 = kind<number>(
  4,
  (view, at) => view.getInt32(at, true),
  (view, at, value) => view.setInt32(at, value, true),
);
export const u64 = kind<bigint>(
  8,
  (view, at) => view.getBigUint64(at, true),
  (view, at, value) => view.setBigUint64(at, value, true),
);
export const s64 = kind<bigint>(
  8,
  (view, at) => view.getBigInt64(at, true),
  (view, at, value) => view.setBigInt64(at, value, true),
);
export const be16 = kind<number>(
  2,
  (view, at) => view.getUint16(at),
  (view, at, value) => view.setUint16(at, value),
);
export const be32 = kind<number>(
  4,
  (view, at) => view.getUint32(at),
  (view, at, value) => view.setUint32(at, value),
);
export const be64 = kind<bigint>(
  8,
  (view, at) => view.getBigUint64(at),
  (view, at, value) => view.setBigUint64(at, value),
);

export function bytes(offset: number, width: number): Bytes {
  const get = (view: DataView, base = 0) => {
    const at = base + offset;
    if (at < 0 || at + width > view.byteLength) {
      throw new RangeError(`bytes ${at} to ${at + width} are outside of a view of ${view.byteLength}`);
    }
    return new Uint8Array(view.buffer, view.byteOffset + at, width);
  };
  return {
    offset,
    width,
    get,
    set: (view, value, base) => {
      if (value.length !== width) throw new RangeError(`${width} bytes are expected, not ${value.length}`);
      get(view, base).set(value);
    },
  };
}

export function elements(offset: number, stride: number): Elements {
  return { offset, stride, at: (index, base = 0) => base + offset + index * stride };
}

export function numbers<T extends number | bigint>(
  of: (offset: number) => Field<T>,
  offset: number,
  length?: number,
): Numbers<T> {
  const first = of(offset);
  return {
    ...elements(offset, first.width),
    length,
    get: (view, index, base = 0) => first.get(view, base + index * first.width),
    set: (view, index, value, base = 0) => first.set(view, value, base + index * first.width),
  };
}
