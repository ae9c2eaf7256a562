/** NICs with vfio-pci in its no-IOMMU mode: the PMD's guide for Rx interrupts. */
import type { ExecutionContext } from 'ava';
import type { InGuest } from './cases.js';
import type { Guest } from './guest.js';
import { asleep } from './interrupt-program.js';
import { checkOneQueue } from './interrupt-vfio.js';
import { checkRecipe } from './recipes.js';
import { checkBind, checkNotOpened, checkPair } from './ways.js';

const NICS = ['modern', 'transitional', 'legacy'];
const PARAMETER = '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode';

/** /dev/vfio/noiommu-N of a NIC. */
async function groupOf(guest: Guest, nic: string): Promise<string> {
  const link = await guest.ok(`readlink /sys/bus/pci/devices/${guest.bdf(nic)}/iommu_group`);
  return `/dev/vfio/noiommu-${link.trim().split('/').at(-1)}`;
}

/** The command of the guide, with -a: the guest has more NICs. */
async function asTheGuideHasIt(t: ExecutionContext, guest: Guest): Promise<void> {
  const command = `l3fwd-power -l 0-1 -a ${guest.bdf('modern')} -- -p 1 -P --config="(0,0,1)" --no-numa --parse-ptype`;
  const program = await guest.start(t, 'l3fwd-power in the guest', command);
  await asleep(program, 1, 90_000);
  await checkOneQueue(t, guest, { nic: 'modern', program, destination: '1.1.1.2', nextHop: '020000000000' });
}

export function noIommuCases(inGuest: InGuest, setpriv: string): void {
  inGuest(
    'vfio-pci without an IOMMU is refused while the mode is off; --noiommu-mode switches it on',
    async (t, guest) => {
      const refused = await guest.run(`devbind -b vfio-pci ${guest.bdf('modern')}`);
      t.is(refused.code, 1);
      t.regex(refused.output, /IOMMU support is disabled, use --noiommu-mode for binding in noiommu mode/);
      t.is((await guest.ok(`cat ${PARAMETER}`)).trim(), 'N');
      t.regex(await checkBind(t, guest, 'vfio-pci', NICS, '--noiommu-mode'), /enabling unsafe no IOMMU mode/);
      t.is((await guest.ok(`cat ${PARAMETER}`)).trim(), 'Y');
      for (const nic of NICS) await guest.ok(`ls -l ${await groupOf(guest, nic)}`);
    },
  );

  for (const [nic, name] of [
    ['modern', 'packed mergeable'],
    ['legacy', 'split mergeable'],
  ] as const) {
    inGuest(`no-IOMMU mode, ${nic}, ${name}: frames of every size there and back`, (t, guest) =>
      checkRecipe(t, guest, nic, name),
    );
  }

  inGuest(
    "the guide's l3fwd-power sleeps on an MSI-X vector: each frame wakes it; link changes do not",
    asTheGuideHasIt,
  );
  inGuest(
    'the mode switched off again, the right missing, the device node missing; then packets again',
    async (t, guest) => {
      await guest.ok(`echo 0 >${PARAMETER}`);
      const off = /no-IOMMU mode is switched off: switch it on \(echo 1 >\/sys\/module\/vfio\/parameters\/enable_/;
      await checkNotOpened(t, guest, 'modern', off);
      await guest.ok(`echo 1 >${PARAMETER}`);

      const without = `${setpriv} --bounding-set=-sys_rawio`;
      await checkNotOpened(t, guest, 'modern', /the no-IOMMU mode needs CAP_SYS_RAWIO: run as root with it/, without);

      const node = await groupOf(guest, 'modern');
      await guest.ok(`mv ${node} /dev/elsewhere`);
      await checkNotOpened(t, guest, 'modern', new RegExp(`there is no ${node} for ${guest.bdf('modern')}`));
      await guest.ok(`mv /dev/elsewhere ${node}`);
      await checkPair(t, guest, 'modern', 'transitional');
    },
  );
}
