/** One port on vhost-net, which answers the kernel's pings itself (icmpecho). */
import type { ExecutionContext } from 'ava';
import { eventually } from '../../support/peers.js';
import type { InGuest } from './cases.js';
import type { Guest } from './guest.js';
import { quit, start, startTestpmd, stop, xstat, xstats } from './testpmd.js';

const ADDRESS = '192.168.1.1/24';
const OURS = '192.168.1.2';
/** IFF_TAP | IFF_NAPI | IFF_MULTI_QUEUE | IFF_NO_PI | IFF_VNET_HDR, as DPDK 22.11 makes it. */
const TAP_FLAGS = 0x5112;
const IFF_UP = 1;

const attribute = async (guest: Guest, tap: string, name: string) =>
  (await guest.ok(`cat /sys/class/net/${tap}/${name}`)).trim();

/** Threads of vhost-net, one for each queue pair of a device. */
export async function kernelThreads(guest: Guest): Promise<number> {
  return Number(await guest.ok('cat /proc/[0-9]*/comm 2>/dev/null | grep -c ^vhost-'));
}

/** Three pings of `size` bytes, once the first has been answered. */
async function ping(guest: Guest, size = 56): Promise<void> {
  await guest.ok(`until ping -c 1 -W 1 ${OURS}; do :; done`);
  await guest.ok(`ping -c 3 -W 20 -s ${size} ${OURS} | grep ' 0% packet loss'`, 90);
}

async function guideRun(t: ExecutionContext, guest: Guest): Promise<void> {
  const vdev = '--vdev=virtio_user0,path=/dev/vhost-net,queues=1,queue_size=1024';
  const testpmd = await guest.start(t, 'testpmd in the guest', `testpmd -l 0-1 --no-pci ${vdev} -- -i`);
  await testpmd.waitFor(/testpmd> /, 90_000);
  t.is(Number(await attribute(guest, 'tap0', 'tun_flags')), TAP_FLAGS);
  t.is(Number(await attribute(guest, 'tap0', 'flags')) & IFF_UP, 0, 'the user sets it up');
  t.true(testpmd.output.includes(`Port 0: ${(await attribute(guest, 'tap0', 'address')).toUpperCase()}`));
  t.is(await kernelThreads(guest), 1, 'a kernel thread for the queue pair');

  await guest.ok(`ip addr add ${ADDRESS} dev tap0 && ip link set dev tap0 up`);
  await testpmd.ask('set fwd icmpecho', /Set icmpecho packet forwarding mode/);
  await start(testpmd);
  await ping(guest);
  t.regex(await stop(testpmd), /RX-packets: [1-9]\d* [^]*TX-packets: [1-9]/);
  await quit(t, testpmd);
  t.not((await guest.run('ls /sys/class/net/tap0')).code, 0, 'it goes with the process');
}

async function named(t: ExecutionContext, guest: Guest): Promise<void> {
  const testpmd = await startTestpmd(t, guest, {
    vdevs: ['virtio_user0,path=/dev/vhost-net,iface=exc0,up=1,mac=02:00:00:00:00:0a,queue_size=512,speed=10000'],
    mbufs: 4096,
    args: ['--forward-mode=icmpecho', '--max-pkt-len=9030', '--enable-scatter'],
  });
  t.is(await attribute(guest, 'exc0', 'address'), '02:00:00:00:00:0a');
  t.is(Number(await attribute(guest, 'exc0', 'flags')) & IFF_UP, IFF_UP);
  const [info] = await testpmd.ask('show port info 0', /MAC address[^]*MTU: \d+/);
  t.regex(info, /MAC address: 02:00:00:00:00:0A/);
  t.regex(info, /Link speed: 10 Gbps/);
  t.regex(info, /MTU: 9000/);

  await guest.ok(`ip addr add ${ADDRESS} dev exc0 && ip link set exc0 mtu 9000`);
  await start(testpmd);
  await ping(guest, 8900);
  t.true((await xstat(testpmd, 'rx_q0_size_1519_max_packets')) >= 3, 'jumbo frames in');
  t.true((await xstat(testpmd, 'tx_q0_size_1519_max_packets')) >= 3, 'and out');
  t.is(await xstat(testpmd, 'rx_errors'), 0);
  await stop(testpmd);

  for (const mtu of [1500, 4000]) {
    await testpmd.ask('port stop 0', /Done/);
    await testpmd.ask(`port config mtu 0 ${mtu}`, /testpmd> /);
    await testpmd.ask('port start 0', /Done/);
    await testpmd.ask('show port info 0', new RegExp(`MTU: ${mtu}`));
    await guest.ok(`ip link set exc0 mtu ${mtu}`);
    await start(testpmd);
    await ping(guest, mtu - 28);
    await stop(testpmd);
  }
  await quit(t, testpmd);
}

const SIZE = 64;
const BURST = 32;

/** The tap of one testpmd is the interface of another one: packets go round between them, whichever begins. */
async function secondProgram(t: ExecutionContext, guest: Guest): Promise<void> {
  const loop = { args: ['--forward-mode=io', '--port-topology=loop'] };
  const near = await startTestpmd(t, guest, {
    vdevs: ['net_virtio_user0,path=/dev/vhost-net,iface=tap0'],
    ...loop,
  });
  // nothing of the kernel's own accord
  await guest.ok('echo 1 >/proc/sys/net/ipv6/conf/tap0/disable_ipv6 && ip link set tap0 up');
  const far = await startTestpmd(t, guest, { vdevs: ['net_af_packet0,iface=tap0'], ...loop });
  for (const [first, other] of [
    [near, far],
    [far, near],
  ] as const) {
    for (const testpmd of [near, far]) await testpmd.ask('clear port xstats all', /testpmd> /);
    await start(other);
    await first.ask('start tx_first', /packet forwarding - ports=[^]*testpmd> /);
    for (const testpmd of [near, far]) {
      await eventually(
        `${testpmd.name} has seen the burst many times`,
        () => xstat(testpmd, 'rx_good_packets'),
        (count) => count > 30 * BURST,
        60_000,
      );
    }
    for (const testpmd of [first, other]) t.regex(await stop(testpmd), /RX-dropped: 0 [^]*TX-dropped: 0 /);
    for (const testpmd of [near, far]) {
      const counters = await xstats(testpmd);
      for (const direction of ['rx', 'tx']) {
        t.is(counters.get(`${direction}_good_bytes`), SIZE * counters.get(`${direction}_good_packets`)!);
        t.is(counters.get(`${direction}_errors`), 0);
      }
    }
  }
  await quit(t, far);
  await quit(t, near);
}

/** Device arguments, and the receive path that they lead to. */
const PATHS = [
  ['mrg_rxbuf=0', 'virtio_recv_pkts'],
  ['mrg_rxbuf=0,vectorized=1', 'virtio_recv_pkts_vec'],
  ['packed_vq=1,event_idx=1', 'virtio_recv_mergeable_pkts'],
] as const;

async function paths(t: ExecutionContext, guest: Guest): Promise<void> {
  for (const [devargs, rx] of PATHS) {
    const testpmd = await startTestpmd(t, guest, {
      vdevs: [`virtio_user0,path=/dev/vhost-net,up=1,iface=path0,${devargs}`],
      args: ['--forward-mode=icmpecho'],
    });
    await guest.ok(`ip addr add ${ADDRESS} dev path0`);
    await start(testpmd);
    await ping(guest);
    await ping(guest, 1472);
    await testpmd.ask('show port 0 path', new RegExp(`^Rx: ${rx}$`, 'm'));
    await quit(t, testpmd);
  }
}

/** Who is sent something, what is sent, and the counter that tells: each ping has a size, and so a counter, of its own. */
const SENT = [
  ['other', 'ping -c 1 -W 1 -s 300 10.2.0.3', 'rx_q0_size_256_511_packets'],
  ['multicast', 'ping -c 1 -W 1 239.1.2.3', 'rx_q0_multicast_packets'],
  ['broadcast', 'ping -c 1 -W 1 10.2.0.ROUND', 'rx_q0_broadcast_packets'], // the question who has an address not asked for yet
  ['own', 'ping -c 1 -W 1 -s 150 10.2.0.2', 'rx_q0_size_128_255_packets'],
] as const;

async function filters(t: ExecutionContext, guest: Guest): Promise<void> {
  const testpmd = await startTestpmd(t, guest, {
    vdevs: ['virtio_user0,path=/dev/vhost-net,iface=filter0,cq=1,up=1,mac=02:00:00:00:00:0a'],
    args: ['--forward-mode=rxonly'],
  });
  await guest.ok('echo 1 >/proc/sys/net/ipv6/conf/filter0/disable_ipv6'); // nothing of its own accord
  await guest.ok('ip addr add 10.2.0.1/24 dev filter0 && ip route add 239.0.0.0/8 dev filter0');
  await guest.ok('arp -s 10.2.0.2 02:00:00:00:00:0a && arp -s 10.2.0.3 02:00:00:00:00:0b');
  await start(testpmd);
  let round = 10;
  /** Whose packets pass; the port's own, which always do, are sent last. */
  const passing = async (): Promise<string[]> => {
    const before = await xstats(testpmd);
    round++;
    const commands = SENT.map(([, command]) => command.replace('ROUND', String(round)));
    await guest.run(`${commands.slice(0, -1).join(' & ')} & wait; ${commands.at(-1)}`);
    const own = SENT.at(-1)![2];
    const after = await eventually(
      'the last packet is there',
      () => xstats(testpmd),
      (now) => now.get(own)! > before.get(own)!,
    );
    return SENT.filter(([, , name]) => after.get(name)! > before.get(name)!).map(([who]) => who);
  };
  const set = (command: string) => testpmd.ask(command, /testpmd> /);
  t.deepEqual(await passing(), ['other', 'multicast', 'broadcast', 'own'], 'promiscuous, as testpmd makes it');
  await set('set promisc 0 off');
  await set('set allmulti 0 off');
  t.deepEqual(await passing(), ['broadcast', 'own']);
  await set('set allmulti 0 on');
  t.deepEqual(await passing(), ['multicast', 'broadcast', 'own']);
  await set('set allmulti 0 off');
  await set('mac_addr add 0 02:00:00:00:00:0b');
  await set('mcast_addr add 0 01:00:5e:01:02:03');
  t.deepEqual(await passing(), ['other', 'multicast', 'broadcast', 'own']);
  await set('mac_addr remove 0 02:00:00:00:00:0b');
  t.deepEqual(await passing(), ['multicast', 'broadcast', 'own']);
  await quit(t, testpmd);
}

export function guideCases(inGuest: InGuest): void {
  inGuest(
    "the guide's own command: the interface is there after the probe, down, and its pings are answered",
    guideRun,
  );
  inGuest('net_af_packet of a second testpmd on the tap: packets go round between the two', secondProgram);
  inGuest('iface=, up=1, mac= and speed=; jumbo frames, and an MTU that changes at both ends', named);
  inGuest('every receive path that the kernel can serve, and rings that it cannot: pings', paths);
  inGuest('promiscuous mode, allmulticast, MAC and multicast addresses decide what the tap lets through', filters);
}
