/**
 * Kernel modules that Debian leaves out, built for the guest's kernel from Debian's source packages, once, into the cache: the
 * vdpa bus with its network simulator and vhost-vdpa, vfio with its no-IOMMU mode, igb_uio.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cache, kernelPackage } from './packages.js';
import { run } from './run.js';

export const VDPA_MODULES = ['vdpa_sim_net', 'vhost_vdpa'] as const;

/** What is built together, and stays apart: a guest takes the kernel's own vfio unless it asks for the one with the mode. */
export type ModuleSet = 'vdpa' | 'noiommu' | 'igb_uio';

/** Debian's source of DPDK's modules: linux/igb_uio. */
const KMODS = 'dpdk-kmods-dkms';

/** Files of the kernel's source that the modules of a set are made of, below drivers/, and how. */
const SETS: Record<ModuleSet, { readonly sources: readonly string[]; readonly kbuild: string }> = {
  vdpa: {
    sources: [
      ...['vdpa/vdpa.c', 'vdpa/vdpa_sim/vdpa_sim.c', 'vdpa/vdpa_sim/vdpa_sim.h', 'vdpa/vdpa_sim/vdpa_sim_net.c'],
      ...['vhost/vringh.c', 'vhost/vhost.h', 'vhost/vdpa.c'],
    ],
    kbuild: 'obj-m := vdpa.o vringh.o vdpa_sim.o vdpa_sim_net.o vhost_vdpa.o\n',
  },
  // vfio.ko alone: what it exports to vfio_pci and vfio_iommu_type1 stays the same
  noiommu: {
    sources: ['vfio/vfio_main.c', 'vfio/iova_bitmap.c', 'vfio/container.c', 'vfio/vfio.h'],
    kbuild: 'obj-m := vfio.o\nvfio-y := vfio_main.o iova_bitmap.o container.o\nccflags-y := -DCONFIG_VFIO_NOIOMMU=1\n',
  },
  igb_uio: { sources: [], kbuild: 'obj-m := igb_uio.o\n' },
};

/** @returns the folder that a set is in. @throws Error when a package cannot be downloaded, or they cannot be built */
export function builtModules(set: ModuleSet): string {
  const release = kernelPackage().replace('linux-image-', ''); // 6.1.0-56-amd64
  const folder = join(cache, `built-modules-${release}`);
  if (!existsSync(folder)) {
    mkdirSync(cache, { recursive: true });
    const scratch = mkdtempSync(join(cache, 'building-'));
    try {
      renameSync(build(release, scratch), folder); // complete, or not there
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
  return join(folder, set);
}

function build(release: string, scratch: string): string {
  const version = /^\d+\.\d+/.exec(release)![0];
  const common = release.replace(/-[^-]*$/, '-common');
  const source = `linux-source-${version}`;
  const headers = [`linux-headers-${release}`, `linux-headers-${common}`, `linux-kbuild-${version}`];
  run('apt-get', ['download', source, KMODS, ...headers], scratch);
  const archiveOf = (name: string) => readdirSync(scratch).find((file) => file.startsWith(`${name}_`))!;
  // one root for all headers: they point at each other by relative links
  for (const name of headers) run('dpkg-deb', ['--extract', archiveOf(name), 'root'], scratch);
  for (const name of [source, KMODS]) run('dpkg-deb', ['--extract', archiveOf(name), 'source'], scratch);
  const wanted = Object.values(SETS).flatMap(({ sources }) => sources.map((file) => `${source}/drivers/${file}`));
  run('tar', ['--extract', '--file', `source/usr/src/${source}.tar.xz`, ...wanted], scratch);

  const modules = join(scratch, 'modules');
  mkdirSync(modules);
  const tree = (name: string) => join(scratch, 'root/usr/src', `linux-headers-${name}`);
  for (const [set, { sources, kbuild }] of Object.entries(SETS)) {
    const files = sources.map((file) => join(scratch, source, 'drivers', file));
    const built = join(scratch, set);
    mkdirSync(built);
    for (const file of set === 'igb_uio' ? kmodsSources(scratch) : files) {
      // two of vdpa's have the same name
      copyFileSync(file, join(built, file.endsWith('vhost/vdpa.c') ? 'vhost_vdpa.c' : file.split('/').at(-1)!));
    }
    writeFileSync(join(built, 'Kbuild'), kbuild);
    run('make', ['-C', tree(common), `O=${tree(release)}`, `M=${built}`, 'modules']);
    mkdirSync(join(modules, set));
    for (const name of readdirSync(built).filter((file) => file.endsWith('.ko'))) {
      run('strip', ['--strip-debug', '-o', join(modules, set, name), join(built, name)]);
    }
  }
  return modules;
}

/** The C files of Debian's package of igb_uio, whose folder has its version in its name. */
function kmodsSources(scratch: string): string[] {
  const parent = join(scratch, 'source/usr/src');
  const folder = join(
    parent,
    readdirSync(parent).find((name) => name.startsWith('dpdk-kmods-'))!,
  );
  return readdirSync(folder)
    .filter((name) => /\.[ch]$/.test(name))
    .map((name) => join(folder, name));
}
