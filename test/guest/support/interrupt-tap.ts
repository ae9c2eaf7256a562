/** A NIC whose cable is a tap of the host with several queues, in QEMU's own network namespace, and what is sent into it. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { DEFAULT_RSS_KEY } from '../../../driver/virtio/rss-config.js';
import { configureTap, TAP_IP } from '../../support/tap.js';
import { toeplitz } from '../../support/toeplitz.js';

const TAP = 't0';
/** Who the datagrams are for: 10.9.0.2, which the NIC is made out to have. */
const NEIGHBOUR = 2;
const DISCARD = 9;
const IPV6_OFF = `/proc/sys/net/ipv6/conf/${TAP}/disable_ipv6`;

function inNamespace(qemu: number, ...command: readonly string[]): void {
  const { status, stderr } = spawnSync('nsenter', [`--net=/proc/${qemu}/ns/net`, ...command], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command[0]}: ${stderr}`);
}

/** Sets the tap up; nothing is sent into it but datagrams. @param qemu its pid */
export function setTapUp(qemu: number, mac: string): void {
  inNamespace(qemu, 'sh', '-c', `[ ! -e ${IPV6_OFF} ] || echo 1 >${IPV6_OFF}`);
  configureTap(qemu, mac, [NEIGHBOUR]);
}

/** A source port whose datagrams RSS gives to `queue`, its table being as the driver makes it: one queue after the other. */
export function sourcePort(queue: number, queues: number): number {
  for (let port = 5000; ; port++) {
    const flow = Uint8Array.of(...TAP_IP, 10, 9, 0, NEIGHBOUR, port >> 8, port & 0xff, 0, DISCARD);
    if (toeplitz(DEFAULT_RSS_KEY, flow) % queues === queue) return port;
  }
}

/** Has the namespace's kernel send one datagram. */
export function sendDatagram(qemu: number, source: number): void {
  const send = `s.send('x', ${DISCARD}, '10.9.0.${NEIGHBOUR}', () => s.close())`;
  const program = `const s = require('node:dgram').createSocket('udp4'); s.bind(${source}, () => ${send})`;
  inNamespace(qemu, process.execPath, '-e', program);
}

/** Packets that the guest has sent into the tap. */
export function packetsFromGuest(qemu: number): number {
  const line = readFileSync(`/proc/${qemu}/net/dev`, 'latin1')
    .split('\n')
    .find((each) => each.trimStart().startsWith(`${TAP}:`))!;
  return Number(line.split(':')[1]!.trim().split(/ +/)[1]);
}
