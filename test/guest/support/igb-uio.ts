/** NICs with igb_uio: one MSI-X vector, or the line interrupt with intr_mode=legacy. */
import type { InGuest } from './cases.js';
import { checkRefused } from './interrupt-program.js';
import { checkRecipe } from './recipes.js';
import { checkBind, checkLink, checkPair } from './ways.js';

const NICS = ['modern', 'transitional', 'legacy'];
export function igbUioCases(inGuest: InGuest): void {
  inGuest('igb_uio: devbind shows it and hands it the NICs', async (t, guest) => {
    const status = await guest.ok('devbind --status-dev net');
    t.regex(status, new RegExp(`using kernel driver[^]*${guest.bdf('modern')} .*drv=virtio-pci unused=.*igb_uio`));
    await checkBind(t, guest, 'igb_uio', NICS);
    t.is((await guest.ok('cat /sys/class/uio/uio*/name')).trim(), NICS.map(() => 'igb_uio').join('\n'));
  });

  for (const [nic, name] of [
    ['modern', 'packed mergeable'],
    ['legacy', 'split mergeable'],
  ] as const) {
    inGuest(`igb_uio, ${nic}, ${name}: frames of every size there and back`, (t, guest) =>
      checkRecipe(t, guest, nic, name),
    );
  }

  inGuest('igb_uio: between a modern and a transitional NIC, counted on both', (t, guest) =>
    checkPair(t, guest, 'modern', 'transitional'),
  );

  for (const nic of ['modern', 'legacy']) {
    inGuest(`igb_uio, ${nic}: link changes come by its MSI-X vector`, async (t, guest) => {
      t.is(await checkLink(t, guest, nic, /PCI-MSI.* igb_uio$/), 2);
    });
  }

  inGuest('igb_uio: its one vector is none for Rx queues: refused, with what to do', (t, guest) =>
    checkRefused(
      t,
      guest,
      'modern',
      /has one MSI-X vector here, which igb_uio uses.*\(Multiple intr vector not supported\): .*devbind -b vfio-pci/,
    ),
  );

  inGuest('igb_uio, intr_mode=legacy: the line interrupt, and link changes', async (t, guest) => {
    await guest.ok(`devbind -u ${NICS.map((nic) => guest.bdf(nic)).join(' ')}`);
    await guest.ok('rmmod igb_uio && insmod /modules/igb_uio.ko intr_mode=legacy');
    await checkBind(t, guest, 'igb_uio', NICS);
    t.true((await checkLink(t, guest, 'modern', /fasteoi.* igb_uio$/)) > 0);
  });
}
