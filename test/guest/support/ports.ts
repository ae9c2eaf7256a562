/** NICs that no driver is bound to: I/O ports. */
import type { InGuest } from './cases.js';
import { checkRefused } from './interrupt-program.js';
import { checkRecipe } from './recipes.js';
import { bind, checkPulled, driverOf, quit, start, startTestpmd, testpmdCommand } from './testpmd.js';
import { checkLink, checkNotOpened, checkPair } from './ways.js';

const NICS = ['modern', 'transitional', 'legacy', 'pulled'];
const LEGACY = ['transitional', 'legacy'];

export function portCases(inGuest: InGuest, setpriv: string): void {
  inGuest('devbind takes the NICs from their drivers and lists them as others', async (t, guest) => {
    await guest.ok(`devbind -u ${NICS.map((nic) => guest.bdf(nic)).join(' ')}`);
    const status = await guest.ok('devbind --status-dev net');
    for (const nic of NICS) {
      t.regex(status, new RegExp(`Other Network devices\\n=+\\n(0000.*\\n)*${guest.bdf(nic)} .*unused=.*igb_uio`));
      t.is(await driverOf(guest, nic), '');
      t.is((await guest.ok(`cat /sys/bus/pci/devices/${guest.bdf(nic)}/enable`)).trim(), '0');
    }
  });

  inGuest('no driver, modern only: refused, with what to do', (t, guest) =>
    checkNotOpened(t, guest, 'modern', /is bound to no driver: bind it to vfio-pci .*or use uio_pci_generic/),
  );

  inGuest('no driver, legacy: frames of every size there and back through its I/O ports', (t, guest) =>
    checkRecipe(t, guest, 'legacy', 'split mergeable'),
  );

  inGuest('no driver: what it says, and packets between two of them, counted on both', async (t, guest) => {
    const testpmd = await startTestpmd(t, guest, { devices: [guest.bdf('transitional')] });
    t.regex(testpmd.output, /is bound to no driver: it is used through its I\/O ports, without interrupts/);
    t.regex(testpmd.output, /trying with legacy virtio pci\./);
    t.notRegex(testpmd.output, /base addr is NULL/);
    await quit(t, testpmd);
    await checkPair(t, guest, 'transitional', 'legacy');
    t.is((await guest.ok(`cat /sys/bus/pci/devices/${guest.bdf('legacy')}/enable`)).trim(), '0');
  });

  inGuest('no driver: link changes are noticed without an interrupt', async (t, guest) => {
    await checkLink(t, guest, 'legacy');
  });

  inGuest('no driver: nothing could wake an Rx queue: refused, with what to do', (t, guest) =>
    checkRefused(t, guest, 'legacy', /has no interrupts for its Rx queues, as it is bound to no driver: .*devbind -b/),
  );

  inGuest('no driver: CAP_SYS_RAWIO is not needed; not root, or root without its other rights', async (t, guest) => {
    const nobody = `${setpriv} --reuid=65534 --regid=65534 --clear-groups`;
    await checkNotOpened(t, guest, 'legacy', /permission denied \[EACCES\] \(\/sys\/bus\/pci.*: run as root/, nobody);
    const without = `${setpriv} --bounding-set=-sys_admin`;
    await checkNotOpened(t, guest, 'legacy', /does not enable .*: run as root \(CAP_SYS_ADMIN\)/, without);
    const command = testpmdCommand({ devices: [guest.bdf('legacy')] });
    t.regex(await guest.ok(`${setpriv} --bounding-set=-sys_rawio ${command}`), /Port 0: 52:54:00:.*[^]*Bye/);
  });

  inGuest('no driver, and no -a: the NIC is left alone', async (t, guest) => {
    const { output } = await guest.run('testpmd --lcores 0@0,1@1 -- -i --total-num-mbufs=2048');
    for (const nic of LEGACY) t.false(output.includes(guest.mac(nic).toUpperCase()), output);
  });

  inGuest(
    'no driver, killed while it forwards: the next process has the NIC, and the kernel after that',
    async (t, guest) => {
      const options = { devices: [guest.bdf('legacy')], args: ['--port-topology=loop'] };
      const killed = await startTestpmd(t, guest, options);
      await start(killed);
      await guest.wire('legacy').pingPong([64], 32);
      await killed.kill();
      await killed.end();
      const next = await startTestpmd(t, guest, options);
      await start(next);
      await guest.wire('legacy').pingPong([64], 32);
      await quit(t, next);

      await bind(guest, 'virtio-pci', 'legacy');
      const name = (await guest.ok(`ls /sys/bus/pci/devices/${guest.bdf('legacy')}/virtio*/net`)).trim();
      await guest.ok(`ip link set ${name} up`);
      t.is((await guest.ok(`cat /sys/class/net/${name}/carrier`)).trim(), '1');
    },
  );

  inGuest('no driver, pulled out while it forwards, --hot-plug: the port is closed, the process goes on', (t, guest) =>
    checkPulled(t, guest, 'pulled', true),
  );
}
