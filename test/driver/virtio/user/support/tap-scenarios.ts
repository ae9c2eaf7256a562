/**
 * What is tried on taps of the kernel, by title. Run by tap-child.ts in a network namespace of its own, where /sys is the
 * namespace's: the interfaces here are nobody else's. vhost-net is a mock.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { createEal } from '../../../../../driver/eal/eal.js';
import { kernelSystem } from '../../../../../driver/virtio/user/vhost-kernel/system.js';
import { openTap, tapFeatures } from '../../../../../driver/netdev/tap-open.js';
import { flagsRequest } from '../../../../../driver/netdev/ifreq.js';
import type { Tap } from '../../../../../driver/netdev/tap.js';
import { filterArgument } from '../../../../../driver/virtio/user/vhost-kernel/tap-requests.js';
import { openVhostKernel } from '../../../../../driver/virtio/user/vhost-kernel/vhost-kernel.js';
import { VhostNet } from '../../../../../driver/virtio/user/vhost-kernel/vhost-net.js';
import { readNow } from '../../../../../native/device-file.js';
import { isVirtioPmdError } from '../../../../../native/errors.js';
import { FakeKernel } from './mock-vhost-net.js';
import { configure, exists, ip, mac, ofInterface, openFds, send } from './tap-tools.js';

const NOBODY = 65534;
const queuesOf = (name: string) =>
  readdirSync(`/sys/class/net/${name}/queues`).filter((q) => q.startsWith('rx')).length;

const open = (iface?: string, queues = 1) => openTap(kernelSystem, { iface, queues }, tapFeatures(kernelSystem));

function refusedWith(code: string, says: RegExp, run: () => unknown): void {
  const before = openFds();
  assert.throws(run, (error: unknown) => {
    assert.ok(isVirtioPmdError(error, code as 'ECONFIG'), String(error));
    assert.match(error.message, says);
    return true;
  });
  assert.equal(openFds(), before);
}

/** A device whose vhost-net is a mock, and whose tap is real. */
function device(more: { iface?: string; up?: boolean; mac?: Uint8Array }, queues = 1) {
  const eal = createEal({ noHuge: true, memoryMiB: 8, log: () => undefined, pinMain: false });
  eal.createMempool({ count: 64 });
  const options = {
    path: '/dev/vhost-net',
    up: false,
    queues,
    queueSize: 256,
    cq: true,
    log: () => undefined,
    ...more,
  };
  const one = openVhostKernel(eal, options, new FakeKernel({ real: true }));
  const ring = (index: number) => ({ index, size: 256, desc: 0, driver: 4096, device: 8192, base: 0 });
  for (let index = 0; index < 2 * queues; index++) one.setupQueue(ring(index));
  const start = (features = 1n << 32n) => {
    one.writeStatus(0);
    one.writeFeatures(features | (1n << 22n));
    for (const status of [1, 3, 11, 15]) one.writeStatus(status);
  };
  const end = () => {
    one.close();
    eal.close();
  };
  return { one, start, end };
}

interface Frame {
  readonly header: Uint8Array;
  /** x of 10.8.0.x. */
  readonly to: number;
}

/** UDP packets to port 9 that wait in a queue, behind net headers of 12 bytes. */
function frames(tap: Tap, queue = 0): Frame[] {
  const found: Frame[] = [];
  const bytes = new Uint8Array(2048);
  for (;;) {
    const length = readNow(tap.fdOf(queue), bytes);
    if (length === 0) return found;
    const frame = bytes.subarray(12, length);
    const isUdp = frame[12] === 8 && frame[13] === 0 && frame[23] === 17 && frame[36] === 0 && frame[37] === 9;
    if (isUdp) found.push({ header: bytes.slice(0, 12), to: frame[33]! });
  }
}

export const scenarios: Readonly<Record<string, () => void | Promise<void>>> = {
  'a tap is there as soon as it is opened, administratively down, and goes when it is closed': () => {
    const tap = open();
    assert.equal(tap.name, 'tap0');
    assert.equal(ofInterface('tap0', 'tun_flags'), '0x5112');
    assert.equal(parseInt(ofInterface('tap0', 'flags')) & 1, 0);
    assert.match(readFileSync('/proc/net/dev', 'utf8'), /^\s*tap0:/m);
    assert.deepEqual(tap.mac, mac(ofInterface('tap0', 'address')));
    assert.equal(open().name, 'tap1');
    tap.close();
    assert.ok(!exists('tap0'));
  },
  'two pairs: two queues, of which the kernel uses the second when it is switched on': () => {
    const { one, start, end } = device({ iface: 'two' }, 2);
    assert.equal(queuesOf('two'), 1);
    start();
    assert.equal(queuesOf('two'), 1);
    assert.equal(one.control({ class: 4, command: 0, args: [Uint8Array.of(2, 0)] }), 0);
    assert.equal(queuesOf('two'), 2);
    one.writeStatus(0);
    assert.equal(queuesOf('two'), 1);
    end();
    assert.ok(!exists('two'));
  },
  'mac= and up=1 at DRIVER_OK, once': () => {
    const { one, start, end } = device({ iface: 'up0', up: true, mac: mac('02:00:00:00:07:01') });
    assert.equal(parseInt(ofInterface('up0', 'flags')) & 1, 0);
    start();
    assert.equal(ofInterface('up0', 'address'), '02:00:00:00:07:01');
    assert.equal(parseInt(ofInterface('up0', 'flags')) & 1, 1);
    ip('link set up0 down', 'link set up0 address 02:00:00:00:07:02');
    start();
    assert.equal(ofInterface('up0', 'address'), '02:00:00:00:07:02');
    assert.equal(parseInt(ofInterface('up0', 'flags')) & 1, 0);
    assert.equal(one.interfaceName, 'up0');
    end();
  },
  'a MAC address that is none, and offloads that the kernel does not know': () => {
    const tap = open();
    refusedWith('ESYSTEM', /give a unicast address with mac=/, () => tap.setMac(mac('01:00:00:00:00:00')));
    refusedWith('ESYSTEM', /without Rx offloads/, () => tap.setOffload(0x8000));
    for (const flags of [0, 1, 3, 5, 7]) tap.setOffload(flags);
    tap.close();
  },
  'names: one that is taken, one of 15 bytes, a pattern, and those that cannot be': () => {
    const tap = open('taken');
    refusedWith('ECONFIG', /^tap taken is in use by another port or program/, () => open('taken'));
    refusedWith('ECONFIG', /^lo is an interface already, and not a tap/, () => open('lo'));
    refusedWith('EDEVARGS', /it has 16 bytes, the kernel takes 15/, () => open('x'.repeat(16)));
    const others = [open('x'.repeat(15)), open('n%dm')];
    assert.deepEqual(
      others.map(({ name }) => name),
      ['x'.repeat(15), 'n0m'],
    );
    for (const one of [tap, ...others]) one.close();
    ip('tuntap add dev u0 mode tun');
    refusedWith('ECONFIG', /^u0 is an interface already, and not a tap/, () => open('u0'));
    ip('link del u0');
  },
  'names: what is refused is what the kernel would refuse, and nothing else': () => {
    const features = tapFeatures(kernelSystem);
    const kernelTakes = (name: string) => {
      const fd = kernelSystem.open('/dev/net/tun');
      try {
        kernelSystem.ioctl(fd, 'TUNSETIFF', flagsRequest(name, 0x5002));
        return true;
      } catch {
        return false;
      } finally {
        kernelSystem.close(fd);
      }
    };
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 17 }),
      fc.string({ unit: fc.constantFrom(...'a%d./: \u00e0') }),
    );
    fc.assert(
      fc.property(text, (name) => {
        fc.pre(name !== '' && name !== 'lo' && Buffer.byteLength(name) < 16 && !name.includes('\0'));
        let taken = true;
        try {
          openTap(kernelSystem, { iface: name, queues: 1 }, features).close();
        } catch (error) {
          assert.ok(isVirtioPmdError(error, 'EDEVARGS'), String(error));
          taken = false;
        }
        assert.equal(taken, kernelTakes(name));
      }),
      { numRuns: 100 },
    );
  },
  'persistent taps, with one queue and with several, stay when they are closed': () => {
    ip('tuntap add dev p1 mode tap', 'tuntap add dev pn mode tap multi_queue vnet_hdr');
    refusedWith('ECONFIG', /^tap p1 does not support multi queue: .*"ip tuntap add dev p1 mode tap multi_queue/, () =>
      open('p1', 2),
    );
    for (const [name, queues, multiQueue] of [
      ['p1', 1, false],
      ['pn', 1, true],
      ['pn', 3, true],
    ] as const) {
      const tap = open(name, queues);
      assert.equal(tap.multiQueue, multiQueue);
      if (!multiQueue) refusedWith('ECONFIG', /^tap p1 is in use by another port or program/, () => open(name));
      tap.setHeaderSize(12);
      tap.close();
      assert.ok(exists(name));
    }
    ip('link del p1', 'link del pn');
  },
  'a tap that is deleted is noticed, what is asked of it says so, and everything is given back': () => {
    const before = openFds();
    const { one, start, end } = device({ iface: 'gone' }, 2);
    start();
    assert.equal(one.poll(), undefined);
    assert.deepEqual([...one.readConfig(6, 2)], [1, 0]);
    ip('link del gone');
    refusedWith('EPEER', /^tap gone was deleted: detach the port$/, () =>
      one.control({ class: 4, command: 0, args: [Uint8Array.of(2, 0)] }),
    );
    assert.equal(one.poll(), 'lost');
    assert.equal(one.poll(), undefined);
    assert.equal(one.connected, false);
    assert.match(one.finalLoss, /^lost its tap gone, which was deleted: /);
    assert.deepEqual([...one.readConfig(6, 2)], [0, 0]);
    end();
    assert.equal(openFds(), before);
  },
  'a tap that is renamed, or moved to another namespace, is not gone': () => {
    const tap = open('old');
    ip('link set old name new');
    tap.bringUp();
    assert.equal(parseInt(ofInterface('new', 'flags')) & 1, 1);
    assert.equal(spawnSync('ip', ['netns', 'add', 'elsewhere']).status, 0);
    ip('link set new netns elsewhere');
    assert.equal(tap.gone, false);
    tap.setMac(mac('02:00:00:00:00:33'));
    refusedWith('ESYSTEM', /moved to another network namespace: leave up=1 out/, () => tap.bringUp());
    assert.equal(spawnSync('ip', ['netns', 'del', 'elsewhere']).status, 0);
    tap.close();
  },
  'the receive filter: own address, others, multicast, broadcast; too many addresses let everything through':
    async () => {
      const tap = open('flt');
      tap.setHeaderSize(12);
      const at = { 2: '02:00:00:00:00:02', 3: '02:00:00:00:00:03', 4: '01:00:5e:00:00:04', 5: 'ff:ff:ff:ff:ff:ff' };
      configure('flt', at);
      const through = async (promiscuous: boolean, allmulticast: boolean, unicast: string[], multicast: string[]) => {
        const filter = { promiscuous, allmulticast, unicast: unicast.map(mac), multicast: multicast.map(mac) };
        tap.setFilter(filterArgument(filter));
        frames(tap);
        await send([2, 3, 4, 5]);
        return frames(tap).map(({ to }) => to);
      };
      assert.deepEqual(await through(true, false, [at[2]], []), [2, 3, 4, 5]);
      assert.deepEqual(await through(false, false, [at[2]], []), [2, 5]);
      assert.deepEqual(await through(false, true, [at[2]], []), [2, 4, 5]);
      assert.deepEqual(await through(false, false, [at[3]], [at[4]]), [3, 4, 5]);
      const seven = Array.from({ length: 7 }, (_, i) => `02:00:00:00:01:0${i}`);
      assert.deepEqual(await through(false, false, [at[2], ...seven], [at[4]]), [2, 4, 5]);
      assert.deepEqual(await through(false, false, [at[2], ...seven, '02:00:00:00:02:00'], []), [2, 3, 4, 5]);
      assert.deepEqual(await through(true, true, [], []), [2, 3, 4, 5]);
      tap.close();
    },
  'offloads: the kernel leaves checksums to us when it may, and only then': async () => {
    const tap = open('csum');
    tap.setHeaderSize(12);
    configure('csum', { 2: '02:00:00:00:00:02' });
    for (const [offload, flags] of [
      [0, 0],
      [7, 1],
      [0, 0],
    ] as const) {
      tap.setOffload(offload);
      frames(tap);
      await send([2]);
      const [frame] = frames(tap);
      assert.equal(frame?.header[0], flags);
      // csum_start behind Ethernet and IP, csum_offset of UDP
      if (flags === 1) assert.deepEqual([...frame!.header.subarray(6, 10)], [34, 0, 6, 0]);
    }
    tap.close();
  },
  'packets come to queues that are attached, and to no other': async () => {
    const tap = open('mq', 3);
    tap.setHeaderSize(12);
    configure('mq', { 2: '02:00:00:00:00:02' });
    const spread = async (queues: readonly number[]) => {
      await send([2], 64);
      return queues.map((queue) => frames(tap, queue).length);
    };
    assert.ok((await spread([0, 1, 2])).every((count) => count > 0));
    tap.attach(1, false);
    tap.attach(2, false);
    assert.deepEqual(await spread([0]), [64]);
    tap.attach(2, true);
    const [first, third] = await spread([0, 2]);
    assert.ok(first! > 0 && third! > 0 && first! + third! === 64);
    assert.equal(tap.gone, false);
    tap.close();
  },
  'a hundred devices, one after the other, leave nothing': () => {
    const before = openFds();
    for (let i = 0; i < 100; i++) {
      const tap = open(i % 2 === 0 ? undefined : 'again', 2);
      tap.attach(1, false);
      tap.close();
    }
    assert.equal(openFds(), before);
    assert.ok(!exists('tap0') && !exists('again'));
  },
  'misc devices that are not vhost-net': () => {
    const files = ['/dev/net/tun', '/dev/fuse', '/dev/loop-control', '/dev/kvm'].filter((path) => existsSync(path));
    for (const path of files) {
      refusedWith('ECONFIG', /^\/dev\/.* is a device of another kind than vhost-net: /, () =>
        VhostNet.open(kernelSystem, path),
      );
    }
  },
  // the last one: there is no way back to root
  'without privileges: a new tap is refused, one that root made for the user is not': () => {
    ip(`tuntap add dev mine mode tap user ${NOBODY} multi_queue vnet_hdr`, 'tuntap add dev roots mode tap user 1');
    process.setgroups!([]);
    process.setgid!(NOBODY);
    process.setuid!(NOBODY);
    const free =
      /^a tap cannot be made .*CAP_NET_ADMIN: run as root, or have root run "ip tuntap add dev NAME mode tap user \$USER/;
    refusedWith('ESYSTEM', free, () => open());
    refusedWith('ESYSTEM', /"ip tuntap add dev wish mode tap .* give iface=wish$/, () => open('wish'));
    refusedWith('ESYSTEM', /^tap roots cannot be opened .*operation not permitted/, () => open('roots'));
    const tap = open('mine', 2);
    tap.setMac(mac('02:00:00:00:00:44'));
    assert.equal(ofInterface('mine', 'address'), '02:00:00:00:00:44');
    tap.setHeaderSize(12);
    tap.attach(1, false);
    refusedWith('ESYSTEM', /leave up=1 out, and have root run "ip link set mine up"$/, () => tap.bringUp());
    tap.close();
  },
};
