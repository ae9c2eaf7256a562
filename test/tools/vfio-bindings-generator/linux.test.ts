/** The committed bindings of the kernel's headers: they are what the compiler says, and what is typed in elsewhere agrees. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import * as ctrlq from '../../../driver/virtio/control/commands.js';
import * as transport from '../../../driver/virtio/transport.js';
import * as features from '../../../driver/wire/virtio-features.js';
import * as tun from '../../../driver/wire/linux/if-tun.js';
import * as vhost from '../../../driver/wire/linux/vhost.js';
import * as config from '../../../driver/wire/linux/virtio-config.js';
import * as net from '../../../driver/wire/linux/virtio-net.js';
import * as pci from '../../../driver/wire/linux/virtio-pci.js';
import * as ring from '../../../driver/wire/linux/virtio-ring.js';
import * as vfio from '../../../driver/wire/linux/vfio.js';
import * as layout from '../../../paths/layout.js';
import { parseConfig } from '../../../tools/vfio-bindings-generator/config.js';
import { generate } from '../../../tools/vfio-bindings-generator/generate.js';
import { requirePeer } from '../../support/peers.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const folder = join(root, 'driver/wire/linux');
const versionOf = (text: string) => / of Linux (\d+\.\d+): /.exec(text)?.[1];

test('a fresh run writes what is committed', (t) => {
  if (!requirePeer(t, 'cc')) return;
  const file = 'tools/vfio-bindings-generator/linux.json';
  const wishes = parseConfig(readFileSync(join(root, file), 'utf8'), file);
  const committed = versionOf(readFileSync(join(folder, 'virtio-config.ts'), 'utf8'));
  const compiler = { command: 'cc', includes: [] };
  // one small header first: those of another kernel version may lack what the others ask for
  const here = versionOf(
    generate(
      wishes.filter(({ module }) => module === 'virtio-config.ts'),
      compiler,
    ).get('virtio-config.ts')!,
  );
  const other = here === committed ? '' : `the bindings are of Linux ${committed}, the headers here of Linux ${here}`;
  if (!requirePeer(t, 'cc', other)) return;
  const files = generate(wishes, compiler);
  t.deepEqual(readdirSync(folder).sort(), [...files.keys()].sort());
  for (const [name, text] of files) t.is(readFileSync(join(folder, name), 'utf8'), text, name);
});

/** Exports that are numbers or bigints. */
const valuesOf = (module: object): Map<string, number | bigint> =>
  new Map(
    Object.entries(module as Record<string, number | bigint>).filter(
      ([, value]) => typeof value === 'number' || typeof value === 'bigint',
    ),
  );

test('feature bits and status bits are those of the headers', (t) => {
  const bits = new Map([...valuesOf(net), ...valuesOf(config), ...valuesOf(ring)]);
  let compared = 0;
  for (const [name, mask] of valuesOf(features)) {
    const bit = bits.get(name) ?? bits.get(name.replace('VIRTIO_F_', 'VIRTIO_RING_F_'));
    const status = bits.get(name.replace('STATUS_', 'VIRTIO_CONFIG_S_'));
    if (bit !== undefined) t.is(mask, 1n << BigInt(bit), name);
    else if (status !== undefined) t.is(mask, status, name);
    else continue;
    compared++;
  }
  t.true(compared >= 40, `${compared} compared`);
});

test('classes and commands of the control queue are those of the header', (t) => {
  const commands = [...valuesOf(ctrlq)].filter(([name]) => /^CTRL_(RX|MAC|VLAN|ANNOUNCE|MQ)/.test(name));
  t.true(commands.length >= 10);
  const header = valuesOf(net);
  for (const [name, value] of commands) t.is(value, header.get(`VIRTIO_NET_${name}`)!, name);
});

test('offsets and sizes of rings, net headers and the device configuration are those of the headers', (t) => {
  const struct = net.virtio_net_config;
  t.deepEqual(
    [transport.CONFIG_MAC, transport.CONFIG_STATUS, transport.CONFIG_MAX_PAIRS, transport.CONFIG_MTU],
    [struct.mac.offset, struct.status.offset, struct.max_virtqueue_pairs.offset, struct.mtu.offset],
  );
  t.is(transport.CONFIG_SPEED, struct.speed.offset);
  t.is(transport.LINK_UP, net.VIRTIO_NET_S_LINK_UP);
  t.deepEqual(
    [layout.NET_HDR_LEGACY, layout.NET_HDR_MRG, layout.NET_HDR_HASH, layout.NUM_BUFFERS_OFF],
    [
      net.virtio_net_hdr.sizeof,
      net.virtio_net_hdr_mrg_rxbuf.sizeof,
      net.virtio_net_hdr_v1_hash.sizeof,
      net.virtio_net_hdr_v1.num_buffers.offset,
    ],
  );
  t.deepEqual([ring.vring_desc.sizeof, ring.vring_packed_desc.sizeof], [layout.DESC_SIZE, layout.DESC_SIZE]);
  t.deepEqual(
    [layout.DESC_F_NEXT, layout.DESC_F_WRITE, layout.DESC_F_INDIRECT, layout.DESC_F_AVAIL, layout.DESC_F_USED],
    [
      ring.VRING_DESC_F_NEXT,
      ring.VRING_DESC_F_WRITE,
      ring.VRING_DESC_F_INDIRECT,
      1 << ring.VRING_PACKED_DESC_F_AVAIL,
      1 << ring.VRING_PACKED_DESC_F_USED,
    ],
  );
});

test('registers that headers give both as a struct and as numbers are the same', (t) => {
  const common = pci.virtio_pci_common_cfg;
  t.is(common.device_status.offset, pci.VIRTIO_PCI_COMMON_STATUS);
  t.is(common.queue_select.offset, pci.VIRTIO_PCI_COMMON_Q_SELECT);
  t.is(common.queue_used_hi.offset, pci.VIRTIO_PCI_COMMON_Q_USEDHI);
  t.is(pci.virtio_pci_notify_cap.notify_off_multiplier.offset, pci.VIRTIO_PCI_NOTIFY_CAP_MULT);
  t.deepEqual([pci.VIRTIO_PCI_CONFIG_OFF_NO_MSIX, pci.VIRTIO_PCI_CONFIG_OFF_MSIX], [20, 24]);
});

test('ioctl numbers are what kernels have answered to for ever', (t) => {
  t.is(vfio.VFIO_GET_API_VERSION, 0x3b64);
  t.is(vfio.VFIO_IOMMU_MAP_DMA, 0x3b71);
  t.is(vhost.VHOST_SET_OWNER, 0xaf01);
  t.is(vhost.VHOST_GET_FEATURES, 0x8008af00);
  t.is(tun.TUNSETIFF, 0x400454ca);
});
