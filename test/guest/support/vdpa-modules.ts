/**
 * Kernel modules that Debian leaves out: the vdpa bus, its network simulator and vhost-vdpa. They are built from Debian's
 * source of the guest's kernel, once, into the cache.
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

/** Files of the kernel's source that they are made of, below drivers/. */
const SOURCES = [
  ...['vdpa/vdpa.c', 'vdpa/vdpa_sim/vdpa_sim.c', 'vdpa/vdpa_sim/vdpa_sim.h', 'vdpa/vdpa_sim/vdpa_sim_net.c'],
  ...['vhost/vringh.c', 'vhost/vhost.h', 'vhost/vdpa.c'],
];
const KBUILD = 'obj-m := vdpa.o vringh.o vdpa_sim.o vdpa_sim_net.o vhost_vdpa.o\n';

/** @returns the folder that they are in. @throws Error when a package cannot be downloaded, or they cannot be built */
export function vdpaModules(): string {
  const release = kernelPackage().replace('linux-image-', ''); // 6.1.0-56-amd64
  const folder = join(cache, `vdpa-modules-${release}`);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, 'building-'));
  try {
    renameSync(build(release, scratch), folder); // complete, or not there
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return folder;
}

function build(release: string, scratch: string): string {
  const version = /^\d+\.\d+/.exec(release)![0];
  const common = release.replace(/-[^-]*$/, '-common');
  const source = `linux-source-${version}`;
  const headers = [`linux-headers-${release}`, `linux-headers-${common}`, `linux-kbuild-${version}`];
  run('apt-get', ['download', source, ...headers], scratch);
  const archiveOf = (name: string) => readdirSync(scratch).find((file) => file.startsWith(`${name}_`))!;
  // one root for all headers: they point at each other by relative links
  for (const name of headers) run('dpkg-deb', ['--extract', archiveOf(name), 'root'], scratch);
  run('dpkg-deb', ['--extract', archiveOf(source), 'source'], scratch);
  const files = SOURCES.map((file) => `${source}/drivers/${file}`);
  run('tar', ['--extract', '--file', `source/usr/src/${source}.tar.xz`, ...files], scratch);

  const built = join(scratch, 'built');
  mkdirSync(built);
  for (const file of files) {
    // two of them have the same name
    const name = file.endsWith('vhost/vdpa.c') ? 'vhost_vdpa.c' : file.split('/').at(-1)!;
    copyFileSync(join(scratch, file), join(built, name));
  }
  writeFileSync(join(built, 'Kbuild'), KBUILD);
  const tree = (name: string) => join(scratch, 'root/usr/src', `linux-headers-${name}`);
  run('make', ['-C', tree(common), `O=${tree(release)}`, `M=${built}`, 'modules']);

  const modules = join(scratch, 'modules');
  mkdirSync(modules);
  for (const name of readdirSync(built).filter((file) => file.endsWith('.ko'))) {
    run('strip', ['--strip-debug', '-o', join(modules, name), join(built, name)]);
  }
  return modules;
}
