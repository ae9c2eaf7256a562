/** A guest with an IOMMU: NICs that belong to the kernel at first, then to vfio-pci, and to us. */
import { TAP_LAUNCHER, whyNoTap } from '../support/tap.js';
import { casesInGuest } from './support/cases.js';
import { interruptCases, interruptNics, vectors } from './support/interrupt-vfio.js';
import { checkRecipe, recipe } from './support/recipes.js';
import { bind, checkPulled, driverOf, quit, start, startTestpmd, stop, testpmdCommand } from './support/testpmd.js';

// behind the IOMMU: only a modern device can be. The others see physical addresses, as in a guest without one.
const behind = 'disable-legacy=on,iommu_platform=on';

const inGuest = casesInGuest({
  iommu: true,
  hugepages: 80,
  launcher: whyNoTap() === '' ? TAP_LAUNCHER : [],
  nics: [
    { name: 'split', properties: `${behind},${recipe('split mergeable').properties},host_mtu=9000` },
    { name: 'single', properties: `${behind},${recipe('split non-mergeable').properties}` },
    { name: 'packed', properties: `${behind},${recipe('packed mergeable').properties},host_mtu=9000` },
    { name: 'packed-single', properties: `${behind},${recipe('packed non-mergeable').properties},vectors=1` },
    { name: 'transitional', properties: `disable-legacy=off,${recipe('split mergeable').properties}` },
    { name: 'legacy', properties: `disable-modern=on,${recipe('split mergeable').properties}` },
    { name: 'pulled', properties: behind, hotplug: true },
    ...interruptNics(behind),
  ],
});

const uioAndVfio = ['split', 'single', 'packed', 'packed-single', 'transitional', 'legacy', 'pulled'];

inGuest('a NIC that the kernel uses is refused, with what to do', async (t, guest) => {
  t.is(await driverOf(guest, 'split'), 'virtio-pci');
  const { code, output } = await guest.run(testpmdCommand({ devices: [guest.bdf('split')] }));
  t.is(code, 1);
  t.regex(output, /skip kernel managed virtio device\./);
  t.regex(output, /devbind -b vfio-pci 0000:00:10\.0/);
  t.notRegex(output, /\n +at /, 'no stack trace');
});

inGuest('a PCI address where nothing is', async (t, guest) => {
  const { code, output } = await guest.run(testpmdCommand({ devices: ['0000:00:1e.7'] }));
  t.is(code, 1);
  t.regex(output, /0000:00:1e\.7/);
  t.notRegex(output, /\n +at /);
});

inGuest('devbind lists the NICs, hands them to vfio-pci, and each has an IOMMU group', async (t, guest) => {
  const bdf = guest.bdf('split');
  t.regex(await guest.ok('devbind --status'), new RegExp(`using kernel driver[^]*${bdf} .*drv=virtio-pci`));
  await bind(guest, 'vfio-pci', ...uioAndVfio);
  const status = await guest.ok('devbind --status');
  for (const name of uioAndVfio) {
    t.regex(status, new RegExp(`DPDK-compatible driver[^]*${guest.bdf(name)} .*drv=vfio-pci`));
    t.is(await driverOf(guest, name), 'vfio-pci');
  }
  const groups = (await guest.ok('ls /dev/vfio')).trim().split(/\s+/);
  t.is(groups.filter((name) => name !== 'vfio').length, uioAndVfio.length);
});

for (const [nic, name] of [
  ['split', 'split mergeable'],
  ['single', 'split non-mergeable'],
  ['single', 'split vector Rx'],
  ['packed', 'packed mergeable'],
  ['packed-single', 'packed non-mergeable'],
] as const) {
  inGuest(`vfio-pci, modern, ${name}: frames of every size there and back`, (t, guest) =>
    checkRecipe(t, guest, nic, name),
  );
}
for (const nic of ['transitional', 'legacy']) {
  inGuest(`vfio-pci, ${nic}, split mergeable: frames there and back, by physical addresses`, (t, guest) =>
    checkRecipe(t, guest, nic, 'split mergeable'),
  );
}

inGuest('the cable pulled and put back: two interrupts, two events, and packets again', async (t, guest) => {
  const testpmd = await startTestpmd(t, guest, { devices: [guest.bdf('split')], args: ['--port-topology=loop'] });
  await start(testpmd);
  await guest.wire('split').pingPong([64], 32);
  const before = await vectors(guest, 'split');
  t.true(before.has(0), 'vector 0 is for changes of the configuration');
  for (const up of [false, true]) {
    await guest.qmp.execute('set_link', { name: 'split', up });
    await testpmd.waitFor(/Port 0: link state change event/);
    const [text] = await testpmd.ask('show port info 0', /Link status: \w+/);
    t.is(text, `Link status: ${up ? 'up' : 'down'}`);
  }
  t.is((await vectors(guest, 'split')).get(0), before.get(0)! + 2);
  await guest.wire('split').pingPong([64, 1514], 32);
  await stop(testpmd);
  await quit(t, testpmd);
});

inGuest('two NICs in one process: what comes in on one goes out on the other', async (t, guest) => {
  const testpmd = await startTestpmd(t, guest, { devices: [guest.bdf('split'), guest.bdf('packed')] });
  await start(testpmd);
  await guest.wire('split').pingPong([64, 1514], 64, guest.wire('packed'));
  await guest.wire('packed').pingPong([64, 1514], 64, guest.wire('split'));
  const summary = await stop(testpmd);
  t.regex(summary, /RX-packets: 128 /);
  await quit(t, testpmd);
});

interruptCases(inGuest);

inGuest('a NIC in use by one process is refused to another', async (t, guest) => {
  const testpmd = await startTestpmd(t, guest, { devices: [guest.bdf('split')] });
  const { code, output } = await guest.run(testpmdCommand({ devices: [guest.bdf('split')] }));
  t.is(code, 1);
  t.regex(output, /in use|busy/i);
  t.notRegex(output, /\n +at /);
  await quit(t, testpmd);
});

inGuest('killed while it forwards: the next process has the NIC at once', async (t, guest) => {
  const devices = [guest.bdf('split')];
  const args = ['--port-topology=loop'];
  const killed = await startTestpmd(t, guest, { devices, args });
  await start(killed);
  await guest.wire('split').pingPong([64], 32);
  await killed.kill();
  await killed.end();
  const next = await startTestpmd(t, guest, { devices, args });
  await start(next);
  await guest.wire('split').pingPong([64], 32);
  await quit(t, next);
});

inGuest('pulled out while it forwards: the port stops, the process goes on', (t, guest) =>
  checkPulled(t, guest, 'pulled', false),
);

inGuest('given back to the kernel, it is a network interface again', async (t, guest) => {
  await bind(guest, 'virtio-pci', 'split');
  const path = `/sys/bus/pci/devices/${guest.bdf('split')}/virtio*/net`;
  const name = (await guest.ok(`ls ${path}`)).trim();
  t.regex(name, /^eth\d+$/);
  await guest.ok(`ip link set ${name} up`);
  t.is((await guest.ok(`cat /sys/class/net/${name}/address`)).trim(), guest.mac('split'));
  t.is((await guest.ok(`cat /sys/class/net/${name}/carrier`)).trim(), '1');
  const refused = await guest.run(`devbind -b vfio-pci ${guest.bdf('split')}`);
  t.not(refused.code, 0, 'an interface that is up is not taken away');
  t.is(await driverOf(guest, 'split'), 'virtio-pci');
});
