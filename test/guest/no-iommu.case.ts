/**
 * A guest without an IOMMU, and the rest of the ways to a NIC in the PMD's guide: igb_uio, vfio-pci in its no-IOMMU mode, no driver
 * at all. One boot for all of them.
 */
import { needs } from '../support/needs.js';
import { builtModules } from './support/built-modules.js';
import { casesInGuest } from './support/cases.js';
import { withLibraries } from './support/image.js';
import { igbUioCases } from './support/igb-uio.js';
import { noIommuCases } from './support/vfio-noiommu.js';
import { portCases } from './support/ports.js';
import { recipe } from './support/recipes.js';
import { run } from './support/run.js';

let folders: string[] = [];
let setpriv = '';
let missing = '';
try {
  folders = [builtModules('noiommu'), builtModules('igb_uio')];
  setpriv = run('sh', ['-c', 'command -v setpriv']).toString().trim();
} catch (error) {
  missing = (error as Error).message;
}

const modern = 'disable-legacy=on';
const mergeable = `${recipe('split mergeable').properties},host_mtu=9000`;

const inGuest = missing
  ? (title: string) => needs(missing)(title, (t) => t.pass())
  : casesInGuest({
      iommu: false,
      hugepages: 80,
      nics: [
        { name: 'modern', properties: `${modern},${recipe('packed mergeable').properties},host_mtu=9000,vectors=4` },
        { name: 'transitional', properties: `disable-legacy=off,${mergeable}` },
        { name: 'legacy', properties: `disable-modern=on,${mergeable}` },
        { name: 'pulled', properties: 'disable-legacy=off', hotplug: true },
      ],
      more: { modules: ['igb_uio'], moduleFolders: folders, entries: withLibraries(setpriv) },
    });

igbUioCases(inGuest);
noIommuCases(inGuest, setpriv);
portCases(inGuest, setpriv);
