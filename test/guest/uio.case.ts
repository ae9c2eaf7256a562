/** A guest without an IOMMU: uio_pci_generic, physical addresses of hugepages, no MSI-X; and what vfio-pci says there. */
import { casesInGuest } from './support/cases.js';
import { checkRefused } from './support/interrupt-program.js';
import { checkRecipe, recipe } from './support/recipes.js';
import { bind, checkPulled, driverOf, goRound, quit, start, startTestpmd, testpmdCommand } from './support/testpmd.js';

const modern = 'disable-legacy=on';
const transitional = 'disable-legacy=off';
const legacy = 'disable-modern=on';

const inGuest = casesInGuest({
  iommu: false,
  hugepages: 80,
  nics: [
    { name: 'modern', properties: `${modern},${recipe('split mergeable').properties},host_mtu=9000` },
    { name: 'packed', properties: `${modern},${recipe('packed mergeable').properties},host_mtu=9000` },
    { name: 'packed-single', properties: `${modern},${recipe('packed non-mergeable').properties}` },
    { name: 'transitional', properties: `${transitional},${recipe('split mergeable').properties},host_mtu=9000` },
    { name: 'legacy', properties: `${legacy},${recipe('split mergeable').properties},host_mtu=9000` },
    { name: 'legacy-single', properties: `${legacy},${recipe('split non-mergeable').properties}` },
    { name: 'hub0', netdev: { type: 'hubport,hubid=1' } },
    { name: 'hub1', netdev: { type: 'hubport,hubid=1' } },
    { name: 'pulled', properties: modern, hotplug: true },
  ],
});

const all = ['modern', 'packed', 'packed-single', 'transitional', 'legacy', 'legacy-single', 'hub0', 'hub1', 'pulled'];

inGuest('without an IOMMU vfio-pci is refused, with what to do', async (t, guest) => {
  const { code, output } = await guest.run(`devbind -b vfio-pci ${guest.bdf('modern')}`);
  t.is(code, 1);
  t.regex(output, /IOMMU/);
  t.is(await driverOf(guest, 'modern'), 'virtio-pci', 'it has its old driver back');
});

inGuest('a NIC that nothing is bound to is refused, with what to do', async (t, guest) => {
  await guest.ok(`devbind -u ${guest.bdf('modern')}`);
  t.is(await driverOf(guest, 'modern'), '');
  const { code, output } = await guest.run(testpmdCommand({ devices: [guest.bdf('modern')] }));
  t.is(code, 1);
  t.regex(output, /devbind -b/);
  t.notRegex(output, /\n +at /, 'no stack trace');
});

inGuest('devbind hands the NICs to uio_pci_generic', async (t, guest) => {
  await bind(guest, 'uio_pci_generic', ...all);
  for (const name of all) t.is(await driverOf(guest, name), 'uio_pci_generic');
  t.is((await guest.ok('ls -d /dev/uio*')).trim().split(/\s+/).length, all.length);
});

for (const [nic, name] of [
  ['modern', 'split mergeable'],
  ['packed', 'packed mergeable'],
  ['packed-single', 'packed non-mergeable'],
  ['transitional', 'split mergeable'],
  ['legacy', 'split mergeable'],
  ['legacy-single', 'split non-mergeable'],
  ['legacy-single', 'split vector Rx'],
] as const) {
  inGuest(`uio_pci_generic, ${nic}, ${name}: frames of every size there and back`, (t, guest) =>
    checkRecipe(t, guest, nic, name),
  );
}

inGuest('without hugepages there are no physical addresses: a refusal, with what to do', async (t, guest) => {
  const { code, output } = await guest.run(testpmdCommand({ devices: [guest.bdf('modern')], ealArgs: ['--no-huge'] }));
  t.is(code, 1);
  t.regex(output, /hugepages/);
  t.notRegex(output, /\n +at /);
});

for (const nic of ['modern', 'legacy']) {
  inGuest(`${nic}: the cable pulled and put back is an event, by the line interrupt`, async (t, guest) => {
    const testpmd = await startTestpmd(t, guest, { devices: [guest.bdf(nic)], args: ['--port-topology=loop'] });
    for (const up of [false, true]) {
      await guest.qmp.execute('set_link', { name: nic, up });
      await testpmd.waitFor(/Port 0: link state change event/);
      const [text] = await testpmd.ask('show port info 0', /Link status: \w+/);
      t.is(text, `Link status: ${up ? 'up' : 'down'}`);
    }
    await start(testpmd);
    await guest.wire(nic).pingPong([64, 1514], 32);
    await quit(t, testpmd);
  });
}

inGuest('a line interrupt is none for Rx queues: refused, with what to do', (t, guest) =>
  checkRefused(t, guest, 'modern', /Multiple intr vector not supported.*devbind -b vfio-pci 0000:00:10\.0/),
);

inGuest('two NICs on a hub: packets go round between them', async (t, guest) => {
  const testpmd = await startTestpmd(t, guest, {
    devices: [guest.bdf('hub0'), guest.bdf('hub1')],
    args: ['--port-topology=loop'],
  });
  await goRound(testpmd, [0, 1]);
  await quit(t, testpmd);
});

inGuest('pulled out while it forwards, --hot-plug: the port is closed, the process goes on', (t, guest) =>
  checkPulled(t, guest, 'pulled', true),
);
