/** Which strings name PCI devices, and what addresses a device is given. */
import test from 'ava';
import { addressingOf, isPci, leftToVdpa, parsePci } from '../../../../driver/virtio/pci/probe.js';
import { VIRTIO_F_IOMMU_PLATFORM, VIRTIO_F_VERSION_1 } from '../../../../driver/wire/virtio-features.js';

test('addresses with and without domain, bus prefix, and qtest sockets; vdevs are not', (t) => {
  for (const text of ['0000:00:03.0', '00:03.0,vectorized=1', 'pci:0000:00:03.0', 'qtest:/tmp/q,ram=/tmp/r']) {
    t.true(isPci(text), text);
  }
  for (const text of ['net_virtio_user0,path=/s', 'virtio_user0', '0000:00:03', '']) t.false(isPci(text), text);
});

test('the port is named by the whole address; keys have DPDK’s defaults', (t) => {
  const args = parsePci('pci:00:03.0,vectorized=1,speed=10000');
  t.is(args.name, '0000:00:03.0');
  t.true(args.vectorized);
  t.is(args.speed, 10000);
  t.true(args.cq && args.mrgRxbuf && args.inOrder && args.packedVq);
  t.false(args.eventIdx);
  t.false(parsePci('00:03.0,vectorized=yes').vectorized); // anything but 1 is 0
});

test('vdpa=1 leaves the device alone; anything else does not', (t) => {
  t.true(leftToVdpa('00:03.0,vdpa=1'));
  t.false(leftToVdpa('00:03.0,vdpa=2'));
  t.false(leftToVdpa('00:03.0'));
  t.false(leftToVdpa('net_virtio_user0,path=/s,vdpa=1'));
});

test('what is refused names the device and what is accepted', (t) => {
  t.throws(() => parsePci('00:03.0,speed=1000'), { code: 'EDEVARGS', message: /0000:00:03\.0: speed=1000 is not/ });
  t.throws(() => parsePci('00:03.0,vectorised=1'), { code: 'EDEVARGS', message: /did you mean "vectorized"/ });
  t.throws(() => parsePci('pci:xyz'), { code: 'EDEVARGS', message: /"xyz" is no PCI address/ });
});

test('behind an IOMMU, a device that does not know of it gets physical addresses', (t) => {
  const behind = { addressing: { kind: 'iova', ranges: [] } } as const;
  t.is(addressingOf(behind, VIRTIO_F_IOMMU_PLATFORM | VIRTIO_F_VERSION_1), behind.addressing);
  t.deepEqual(addressingOf(behind, VIRTIO_F_VERSION_1), { kind: 'physical' });
  t.deepEqual(addressingOf({ addressing: { kind: 'physical' } }, VIRTIO_F_IOMMU_PLATFORM), { kind: 'physical' });
});
