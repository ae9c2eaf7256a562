/**
 * A QEMU whose netdev is a tap with several queues, in a network namespace of its own: the interface is not one of this
 * machine's, and goes with QEMU. At its other end is the kernel of the namespace, which answers pings.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { isInstalled } from './peers.js';

export const TAP_LAUNCHER = ['unshare', '--net'];
export const TAP_MAC = [2, 0, 0, 0, 0, 1];
export const TAP_IP = [10, 9, 0, 1];

export function tapNetdev(queues: number): string {
  return `tap,ifname=t0,queues=${queues},script=no,downscript=no,vhost=off`;
}

/** Why there can be no such tap here, or ''. */
export function whyNoTap(): string {
  for (const program of ['ip', 'unshare', 'nsenter']) if (!isInstalled(program)) return `${program} is not installed`;
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  return spawnSync('unshare', ['--net', 'true']).status === 0 ? '' : 'no network namespace may be made (not root)';
}

/** Gives the kernel's end an address, and neighbours 10.9.0.x, all at `mac`, of whom it need not ask. */
export function configureTap(pid: number, mac: string, neighbours: readonly number[]): void {
  const lines = [
    'link set t0 address 02:00:00:00:00:01',
    'addr add 10.9.0.1/24 dev t0',
    'link set t0 up',
    ...neighbours.map((x) => `neigh replace 10.9.0.${x} lladdr ${mac} dev t0 nud permanent`),
  ];
  const args = [`--net=/proc/${pid}/ns/net`, 'ip', '-batch', '-'];
  const { status, stderr } = spawnSync('nsenter', args, { input: lines.join('\n'), encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip: ${stderr}`);
}

function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** An ICMP echo request from 10.9.0.x to the kernel's end. */
export function ping(source: readonly number[], x: number): Uint8Array {
  const bytes = new Uint8Array(14 + 20 + 8 + 32);
  const view = new DataView(bytes.buffer);
  bytes.set([...TAP_MAC, ...source, 8, 0]);
  bytes.set([0x45, 0, 0, 60, 0, x, 0, 0, 64, 1, 0, 0, 10, 9, 0, x, ...TAP_IP], 14);
  bytes.set([8, 0, 0, 0, 0, x, 0, 1], 34);
  bytes.fill(x, 42);
  view.setUint16(24, checksum(bytes.subarray(14, 34)));
  view.setUint16(36, checksum(bytes.subarray(34)));
  return bytes;
}

/** x of 10.9.0.x, to whom an ICMP echo reply of the kernel's end goes; undefined for any other packet. */
export function pongTo(bytes: Uint8Array): number | undefined {
  const isIcmp = bytes[12] === 8 && bytes[13] === 0 && bytes[23] === 1;
  return isIcmp && bytes[34] === 0 ? bytes[33] : undefined;
}
