/** paths/layout.ts against the kernel's headers, as the C compiler reads them. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import * as layout from '../../paths/layout.js';
import { isInstalled, temporaryDirectory } from '../support/peers.js';

const compiler = process.env['CC'] ?? 'cc';
const compilerTest = isInstalled(compiler) ? test : test.skip;

/** The values of C expressions over the headers. */
function valuesOf(t: ExecutionContext, expressions: readonly string[]): number[] {
  const program = `
    #include <stddef.h>
    #include <stdio.h>
    #include <linux/virtio_net.h>
    #include <linux/virtio_pci.h>
    #include <linux/virtio_ring.h>
    int main(void) {
      ${expressions.map((expression) => `printf("%lld\\n", (long long)(${expression}));`).join('\n')}
    }`;
  const path = join(temporaryDirectory(t), 'values');
  const built = spawnSync(compiler, ['-x', 'c', '-o', path, '-'], { input: program, encoding: 'utf8' });
  t.is(built.status, 0, built.stderr);
  const lines = spawnSync(path, { encoding: 'utf8' }).stdout.trim().split('\n');
  return lines.map(Number);
}

/** What the headers say, by the names of paths/layout.ts. */
const said: Readonly<Record<string, string>> = {
  DESC_F_NEXT: 'VRING_DESC_F_NEXT',
  DESC_F_WRITE: 'VRING_DESC_F_WRITE',
  DESC_F_INDIRECT: 'VRING_DESC_F_INDIRECT',
  DESC_F_AVAIL: '1 << VRING_PACKED_DESC_F_AVAIL',
  DESC_F_USED: '1 << VRING_PACKED_DESC_F_USED',
  DESC_F_AVAIL_USED: '1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED',
  DESC_SIZE: 'sizeof(struct vring_desc)',
  DESC_WORDS: 'sizeof(struct vring_packed_desc) / 4',
  AVAIL_F_NO_INTERRUPT: 'VRING_AVAIL_F_NO_INTERRUPT',
  USED_F_NO_NOTIFY: 'VRING_USED_F_NO_NOTIFY',
  EVENT_F_ENABLE: 'VRING_PACKED_EVENT_FLAG_ENABLE',
  EVENT_F_DISABLE: 'VRING_PACKED_EVENT_FLAG_DISABLE',
  EVENT_F_DESC: 'VRING_PACKED_EVENT_FLAG_DESC',
  RING_ALIGN: 'VIRTIO_PCI_VRING_ALIGN',
  NET_HDR_LEGACY: 'sizeof(struct virtio_net_hdr)',
  NET_HDR_MRG: 'sizeof(struct virtio_net_hdr_mrg_rxbuf)',
  NET_HDR_HASH: 'sizeof(struct virtio_net_hdr_v1_hash)',
  GSO_TYPE_OFF: 'offsetof(struct virtio_net_hdr_v1, gso_type)',
  GSO_SIZE_OFF: 'offsetof(struct virtio_net_hdr_v1, gso_size)',
  CSUM_START_OFF: 'offsetof(struct virtio_net_hdr_v1, csum_start)',
  CSUM_OFFSET_OFF: 'offsetof(struct virtio_net_hdr_v1, csum_offset)',
  NUM_BUFFERS_OFF: 'offsetof(struct virtio_net_hdr_v1, num_buffers)',
  HASH_VALUE_OFF: 'offsetof(struct virtio_net_hdr_v1_hash, hash_value)',
  HASH_REPORT_OFF: 'offsetof(struct virtio_net_hdr_v1_hash, hash_report)',
  NET_HDR_F_NEEDS_CSUM: 'VIRTIO_NET_HDR_F_NEEDS_CSUM',
  NET_HDR_F_DATA_VALID: 'VIRTIO_NET_HDR_F_DATA_VALID',
  NET_HDR_GSO_NONE: 'VIRTIO_NET_HDR_GSO_NONE',
  NET_HDR_GSO_TCPV4: 'VIRTIO_NET_HDR_GSO_TCPV4',
  NET_HDR_GSO_TCPV6: 'VIRTIO_NET_HDR_GSO_TCPV6',
};

/** What virtio's headers do not say: Ethernet's lengths, and limits of the specification, of DPDK and of ours. */
const unsaid = ['MAX_QUEUE_SIZE', 'ETHER_HDR_LEN', 'ETHER_CRC_LEN', 'MAX_RX_PKTLEN', 'MAX_LRO_PKTLEN'];

compilerTest('every constant is what the headers say, or is known not to be in them', (t) => {
  const constants = Object.entries(layout).filter(
    ([name, value]) => typeof value === 'number' && !unsaid.includes(name),
  );
  const values = valuesOf(t, Object.values(said));
  t.deepEqual(Object.fromEntries(constants), Object.fromEntries(Object.keys(said).map((name, i) => [name, values[i]])));
});

/** Fields that the paths reach by numbers written out. */
const fields: readonly (readonly [struct: string, field: string, offset: number])[] = [
  ['vring_desc', 'addr', 0],
  ['vring_desc', 'len', 8],
  ['vring_desc', 'flags', 12],
  ['vring_desc', 'next', 14],
  ['vring_packed_desc', 'addr', 0],
  ['vring_packed_desc', 'len', 8],
  ['vring_packed_desc', 'id', 12],
  ['vring_packed_desc', 'flags', 14],
  ['vring_packed_desc_event', 'off_wrap', 0],
  ['vring_packed_desc_event', 'flags', 2],
  ['vring_avail', 'flags', 0],
  ['vring_avail', 'idx', 2],
  ['vring_avail', 'ring', 4],
  ['vring_used', 'flags', 0],
  ['vring_used', 'idx', 2],
  ['vring_used', 'ring', 4],
  ['vring_used_elem', 'id', 0],
  ['vring_used_elem', 'len', 4],
];

compilerTest('fields of descriptors and rings are where the paths look for them', (t) => {
  const values = valuesOf(
    t,
    fields.map(([struct, field]) => `offsetof(struct ${struct}, ${field})`),
  );
  t.deepEqual(
    fields.map(([struct, field], i) => [struct, field, values[i]]),
    fields.map((field) => [...field]),
  );
});

compilerTest('the parts of a split ring lie where vring_init of the headers puts them', (t) => {
  for (const size of [1, 2, 256, 32768]) {
    const { driver, device, byteLength } = layout.splitLayout(size);
    const ring = `({ struct vring vr; vring_init(&vr, ${size}, (void *)4096, VIRTIO_PCI_VRING_ALIGN); vr; })`;
    const values = valuesOf(t, [
      `(char *)${ring}.avail - (char *)4096`,
      `(char *)${ring}.used - (char *)4096`,
      `vring_size(${size}, VIRTIO_PCI_VRING_ALIGN)`,
    ]);
    t.deepEqual(values, [driver, device, byteLength], String(size));
  }
});
