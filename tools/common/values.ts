/** Parses values of options and commands: numbers, masks, lists, IPv4 addresses. The result is undefined for invalid text. */
import { formatMac } from '../../driver/wire/mac.js';

export const U16_MAX = 0xffff;
export const U32_MAX = 0xffffffff;

/** A decimal or 0x number from `min` to `max`. */
export function parseUnsigned(text: string, min = 0, max = U32_MAX): number | undefined {
  if (!/^(\d+|0[xX][0-9a-fA-F]+)$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}

/** Comma-separated numbers: "64,128". */
export function parseNumberList(text: string, max = U32_MAX): number[] | undefined {
  const values: number[] = [];
  for (const part of text.split(',')) {
    const value = parseUnsigned(part, 0, max);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values;
}

/** Numbers and ranges: "0,2-4". */
export function parseRangeList(text: string, max = U16_MAX): number[] | undefined {
  const values: number[] = [];
  for (const part of text.split(',')) {
    const bounds = part.split('-');
    const from = parseUnsigned(bounds[0]!, 0, max);
    const to = parseUnsigned(bounds[bounds.length - 1]!, 0, max);
    if (from === undefined || to === undefined || bounds.length > 2 || to < from) return undefined;
    for (let value = from; value <= to; value++) values.push(value);
  }
  return values;
}

/** The numbers of the set bits of a hexadecimal mask, with or without 0x, lowest first; up to 1024 bits. */
export function parseMask(text: string): number[] | undefined {
  if (!/^(0[xX])?[0-9a-fA-F]{1,256}$/.test(text)) return undefined;
  let bits = BigInt(`0x${text.replace(/^0[xX]/, '')}`);
  const numbers: number[] = [];
  for (let n = 0; bits !== 0n; n++, bits >>= 1n) if (bits & 1n) numbers.push(n);
  return numbers;
}

/** A hexadecimal number such as in --rx-offloads=0x10. */
export function parseHex(text: string, max = Number.MAX_SAFE_INTEGER): number | undefined {
  if (!/^(0[xX])?[0-9a-fA-F]+$/.test(text)) return undefined;
  const value = Number.parseInt(text.replace(/^0[xX]/, ''), 16);
  return value <= max ? value : undefined;
}

/** The default MAC address of a port's peer (`set eth-peer` changes it). */
export function defaultPeer(portId: number): string {
  return formatMac(Uint8Array.of(2, 0, 0, 0, 0, portId));
}

/** "198.18.0.1" as a 32-bit number. */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let address = 0;
  for (const part of parts) {
    const byte = /^\d{1,3}$/.test(part) ? Number(part) : 256;
    if (byte > 255) return undefined;
    address = address * 256 + byte;
  }
  return address;
}
