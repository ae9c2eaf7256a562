/**
 * Every interface of QEMU's device with every recipe that it can have: frames of all sizes out and in, byte for byte. QEMU
 * does not offer IN_ORDER, so the in-order recipes and the vectorized ones of packed rings are not among them.
 */
import { RX_OFFLOAD_SCATTER } from '../../../../../driver/port/types.js';
import { ifSimd } from '../../../../support/simd-here.js';
import { pingPong, startMachine, startPort, stream } from '../../../support/qtest.js';
import { lacks, needs } from '../../../../support/needs.js';

const test = needs(lacks('qemu-system-x86_64'));

const SIZES = [64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1514, 1518, 9000];
/** Frames in a row after which every index of a ring of 256 has been used. */
const LAP = Array.from({ length: 300 }, (_, i) => 60 + i);

interface Recipe {
  readonly name: string;
  /** Options of the device. */
  readonly device: string;
  readonly devargs?: string;
  readonly mergeable: boolean;
  readonly rx: string;
  readonly tx: string;
}

const splitRecipes: Recipe[] = [
  { name: 'split mergeable', device: '', mergeable: true, rx: 'virtio_recv_mergeable_pkts', tx: 'virtio_xmit_pkts' },
  {
    name: 'split non-mergeable',
    device: ',mrg_rxbuf=off',
    mergeable: false,
    rx: 'virtio_recv_pkts',
    tx: 'virtio_xmit_pkts',
  },
  ...ifSimd({
    name: 'split vectorized',
    device: ',mrg_rxbuf=off',
    devargs: ',vectorized=1',
    mergeable: false,
    rx: 'virtio_recv_pkts_vec',
    tx: 'virtio_xmit_pkts',
  }),
];
const packedRecipes: Recipe[] = [
  {
    name: 'packed mergeable',
    device: ',packed=on',
    mergeable: true,
    rx: 'virtio_recv_mergeable_pkts_packed',
    tx: 'virtio_xmit_pkts_packed',
  },
  {
    name: 'packed non-mergeable',
    device: ',packed=on,mrg_rxbuf=off',
    mergeable: false,
    rx: 'virtio_recv_pkts_packed',
    tx: 'virtio_xmit_pkts_packed',
  },
];

const interfaces = [
  { name: 'modern', device: 'disable-legacy=on', recipes: [...splitRecipes, ...packedRecipes] },
  {
    name: 'transitional, by its modern interface',
    device: 'disable-legacy=off,disable-modern=off',
    recipes: [...splitRecipes, ...packedRecipes],
  },
  {
    name: 'transitional, by its legacy interface',
    device: 'disable-legacy=off,disable-modern=off',
    legacy: true,
    hideModern: true,
    recipes: splitRecipes,
  },
  { name: 'legacy only', device: 'disable-legacy=off,disable-modern=on', legacy: true, recipes: splitRecipes },
];

for (const { name, device, legacy = false, hideModern = false, recipes } of interfaces) {
  for (const recipe of recipes) {
    test.serial(`${name}, ${recipe.name}: frames of 64 to 9000 bytes both ways`, async (t) => {
      const machine = await startMachine(t, { devices: [device + recipe.device] });
      const { mergeable, devargs = '' } = recipe;
      // without mergeable buffers a frame must fit into one
      const buffers = mergeable ? { rxOffloads: RX_OFFLOAD_SCATTER } : { dataRoom: 9216 };
      const port = await startPort(t, machine, { ...buffers, devargs, hideModern, mtu: 9000 });
      const path = port.port.path();
      t.deepEqual([path.rx, path.tx], [recipe.rx, recipe.tx]);
      const found = legacy ? 'info trying with legacy virtio pci.' : 'info modern virtio pci detected.';
      t.true(port.lines.includes(found), port.lines.join('\n'));
      await pingPong(t, port, machine.wires[0]!, [...SIZES, ...LAP]);
      const stats = port.port.stats();
      t.like(stats, { ipackets: 313, opackets: 313, ierrors: 0, oerrors: 0, rxNombuf: 0 });
      port.port.close();
      t.deepEqual(port.eal.leaks(), []);
    });
  }
}

test.serial('a legacy device offers no packed ring: split it is, and the report says so', async (t) => {
  const machine = await startMachine(t, { devices: ['disable-legacy=off,disable-modern=on,packed=on'] });
  const port = await startPort(t, machine);
  t.is(port.port.path().rx, 'virtio_recv_mergeable_pkts');
  await pingPong(t, port, machine.wires[0]!, [64, 1514]);
});

test.serial('a burst larger than the ring goes out in order and in full', async (t) => {
  for (const device of ['', 'packed=on', 'event_idx=off', 'packed=on,indirect_desc=off']) {
    const machine = await startMachine(t, { devices: [device] });
    const port = await startPort(t, machine);
    await pingPong(t, port, machine.wires[0]!, [64]);
    await stream(t, port, machine.wires[0]!, 1000);
  }
});
