/**
 * The option ROM of QEMU's NIC (iPXE) on a net_vhost port: a driver of its own, which polls, without EVENT_IDX and mergeable
 * buffers. It asks for an address by DHCP; testpmd forwards that into a capture file. There is no system to boot.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { needs } from '../support/needs.js';
import { eventually, isInstalled, startPeer, temporaryDirectory } from '../support/peers.js';
import { COMPLAINT, startForwarding, startPorts, xstatsOf } from './support/vhost-port.js';

const QEMU = 'qemu-system-x86_64';
const ROM = '/usr/lib/ipxe/qemu/pxe-virtio.rom';
const PCAP_HEADER = 24;
const RECORD_HEADER = 16;
const BOOT_MS = 150_000;

function whyNot(): string {
  if (!isInstalled(QEMU)) return `${QEMU} is not installed`;
  return existsSync(ROM) ? '' : `${ROM} is missing (package ipxe-qemu)`;
}

/** Packets of a capture file in this machine's byte order, whole ones. */
function packetsOf(path: string): Buffer[] {
  const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  const packets = [];
  for (let at = PCAP_HEADER; at + RECORD_HEADER <= bytes.length;) {
    const end = at + RECORD_HEADER + bytes.readUInt32LE(at + 8);
    if (end <= bytes.length) packets.push(bytes.subarray(at + RECORD_HEADER, end));
    at = end;
  }
  return packets;
}

/** DHCPDISCOVER of this address: to UDP port 67 from 68, BOOTP request, the magic cookie of DHCP, message type 1 first. */
function isDiscover(packet: Buffer, mac: string): boolean {
  if (packet.length < 14 + 20 + 8 + 240 || packet.readUInt16BE(12) !== 0x0800 || packet[23] !== 17) return false;
  const udp = 14 + (packet[14]! & 0xf) * 4;
  const bootp = udp + 8;
  return (
    packet.readUInt16BE(udp) === 68 &&
    packet.readUInt16BE(udp + 2) === 67 &&
    packet[bootp] === 1 &&
    packet.toString('hex', bootp + 28, bootp + 34) === mac.replaceAll(':', '') &&
    packet.toString('hex', bootp + 236, bootp + 243) === '63825363350101'
  );
}

const test = needs(whyNot());

for (const [i, [name, properties]] of [
  ['legacy', 'disable-modern=on'],
  ['modern, packed rings offered', 'disable-legacy=on,packed=on'],
].entries()) {
  test.serial(`iPXE on a ${name} NIC: its DHCP requests come, and again after a reset`, async (t) => {
    t.timeout(2 * BOOT_MS);
    const directory = temporaryDirectory(t);
    const [socket, capture] = [join(directory, 's'), join(directory, 'capture')];
    const testpmd = await startPorts(t, [`net_vhost0,iface=${socket}`, `net_pcap0,tx_pcap=${capture}`]);
    await startForwarding(testpmd);
    const mac = `52:54:00:00:78:0${i}`;
    const qemu = startPeer(t, 'QEMU', QEMU, [
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'stdio'],
      ...['-M', 'q35,memory-backend=ram', '-accel', 'tcg', '-m', '128M'],
      ...['-object', 'memory-backend-memfd,id=ram,size=128M,share=on'],
      ...['-chardev', `socket,id=c,path=${socket}`, '-netdev', 'vhost-user,id=n,chardev=c'],
      ...['-device', `virtio-net-pci,netdev=n,mac=${mac},bootindex=1,vectors=0,${properties}`],
    ]);
    const discovers = () => packetsOf(capture).filter((packet) => isDiscover(packet, mac)).length;
    await eventually('two requests, the second because nobody answers', discovers, (n) => n >= 2, BOOT_MS);
    const before = discovers();
    qemu.send('system_reset');
    await eventually('requests after the reset', discovers, (n) => n > before + 1, BOOT_MS);
    const counters = await xstatsOf(testpmd, 0);
    t.true(counters.get('rx_good_packets')! >= packetsOf(capture).length);
    t.is(counters.get('rx_errors'), 0);
    t.is(qemu.ended, undefined);
    t.notRegex(testpmd.output, COMPLAINT);
    t.log(
      testpmd.output
        .split('\n')
        .filter((line) => /negotiated|link state/.test(line))
        .join('\n'),
    );
  });
}
