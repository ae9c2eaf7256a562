/** The committed bindings of the kernel's headers: they are what the compiler says, and what paths/ types in agrees. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import * as tun from '../../../driver/wire/linux/if-tun.js';
import * as vhost from '../../../driver/wire/linux/vhost.js';
import * as net from '../../../driver/wire/linux/virtio-net.js';
import * as ring from '../../../driver/wire/linux/virtio-ring.js';
import * as vfio from '../../../driver/wire/linux/vfio.js';
import * as layout from '../../../paths/layout.js';
import { parseConfig } from '../../../tools/vfio-bindings-generator/config.js';
import { generate } from '../../../tools/vfio-bindings-generator/generate.js';
import { lacks, needs } from '../../support/needs.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const folder = join(root, 'driver/wire/linux');
const versionOf = (text: string) => / of Linux (\d+\.\d+): /.exec(text)?.[1];

const file = 'tools/vfio-bindings-generator/linux.json';
const wishes = parseConfig(readFileSync(join(root, file), 'utf8'), file);
const compiler = { command: 'cc', includes: [] };

/** Why the headers here are not those of the bindings, or ''. */
function whyOtherHeaders(): string {
  const committed = versionOf(readFileSync(join(folder, 'virtio-config.ts'), 'utf8'));
  // one small header: those of another kernel version may lack what the others ask for
  const here = versionOf(
    generate(
      wishes.filter(({ module }) => module === 'virtio-config.ts'),
      compiler,
    ).get('virtio-config.ts')!,
  );
  return here === committed ? '' : `the bindings are of Linux ${committed}, the headers here of Linux ${here}`;
}

needs(lacks('cc') || whyOtherHeaders())('a fresh run writes what is committed', (t) => {
  const files = generate(wishes, compiler);
  t.deepEqual(readdirSync(folder).sort(), [...files.keys()].sort());
  for (const [name, text] of files) t.is(readFileSync(join(folder, name), 'utf8'), text, name);
});

test('what paths/ types in, as it imports no bindings, is what the headers say', (t) => {
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

test('ioctl numbers are what kernels have answered to for ever', (t) => {
  t.is(vfio.VFIO_GET_API_VERSION, 0x3b64);
  t.is(vfio.VFIO_IOMMU_MAP_DMA, 0x3b71);
  t.is(vhost.VHOST_SET_OWNER, 0xaf01);
  t.is(vhost.VHOST_GET_FEATURES, 0x8008af00);
  t.is(tun.TUNSETIFF, 0x400454ca);
});
