/** The guest's file system: busybox, this Node, the built project and a few kernel modules, as one archive. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { root } from '../../../tools/bench/common/peer.js';
import { characterDevice, cpio, directory, file, type Entry } from './cpio.js';
import { indexModules, loadOrder, readModule } from './modules.js';
import type { Parts } from './packages.js';
import { run } from './run.js';

/** A NIC belongs to the kernel at first, as in any guest. */
const NIC_MODULES = ['virtio_pci', 'virtio_net'];
/** What the cases use. */
const MODULES = [
  ...[...NIC_MODULES, 'vfio', 'vfio_iommu_type1', 'vfio_pci'],
  ...['uio', 'uio_pci_generic', 'tun', 'tap', 'vhost_net'],
];

/** A program that the loader finds everything for: it and its libraries, at the paths where they are here. */
export function withLibraries(path: string): Entry[] {
  const libraries = [
    ...run('ldd', [path])
      .toString()
      .matchAll(/(\/\S+) \(0x/g),
  ].map((match) => match[1]!);
  return [path, ...libraries].map((name) => file(name.slice(1), readFileSync(name), 0o755));
}

/** Files below `from`, as files below `to`. */
function tree(from: string, to: string, wanted: RegExp): Entry[] {
  return readdirSync(from, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && wanted.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => file(join(to, path.slice(from.length)), readFileSync(path)));
}

/** The project as `npm run build` makes it, installed at /app; its programs are in /bin. */
function project(scratch: string): Entry[] {
  const dist = join(scratch, 'dist');
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  run(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', dist], root);
  const programs = readdirSync(join(dist, 'tools')).filter((name) => existsSync(join(dist, 'tools', name, 'main.js')));
  const script = (name: string) => `#!/bin/sh\nexec ${process.execPath} /app/dist/tools/${name}/main.js "$@"\n`;
  const require = createRequire(import.meta.url);
  const addon = dirname(require.resolve(`@koromix/koffi-linux-${process.arch}`));
  const helper = `native/helper.linux-${process.arch}.so`;
  return [
    ...programs.map((name) => file(`bin/${name}`, script(name), 0o755)),
    file('app/package.json', readFileSync(join(root, 'package.json'))),
    ...tree(dist, 'app/dist', /\.js$/),
    ...(existsSync(join(root, helper)) ? [file(`app/dist/${helper}`, readFileSync(join(root, helper)))] : []),
    ...['koffi', 'arg'].flatMap((name) =>
      tree(join(root, 'node_modules', name), `app/node_modules/${name}`, /(\.c?js|package\.json)$/),
    ),
    ...tree(addon, `app/node_modules/@koromix/koffi-linux-${process.arch}`, /(\.js|\.node|package\.json)$/),
    ...withLibraries(join(addon, `linux_${process.arch}/koffi.node`)).slice(1),
  ];
}

/** What a guest has besides. */
export interface MoreParts {
  /** Without Node and the project: a guest whose kernel alone is of interest boots in half of the time. */
  readonly bare?: boolean;
  /** Names of kernel modules. */
  readonly modules?: readonly string[];
  /** Folders to look for modules in, before the kernel's own. */
  readonly moduleFolders?: readonly string[];
  readonly entries?: readonly Entry[];
}

function modules(names: readonly string[], folders: readonly string[]): Entry[] {
  const paths = new Map(folders.toReversed().flatMap((folder) => [...indexModules(folder)]));
  const load = (name: string) => (paths.has(name) ? readModule(paths.get(name)!) : undefined);
  const order = loadOrder(names, load);
  return [
    file('modules/order', [...order.keys(), ''].join('\n')),
    ...[...order].map(([name, bytes]) => file(`modules/${name}.ko`, bytes)),
  ];
}

/** @param scratch a folder for what is built on the way */
export function guestImage(parts: Parts, scratch: string, more: MoreParts = {}): Buffer {
  const { bare = false, modules: names = [], moduleFolders = [], entries = [] } = more;
  return cpio([
    ...['proc', 'sys', 'tmp'].map(directory),
    characterDevice('dev/console', 5, 1),
    file('init', readFileSync(new URL('./init.sh', import.meta.url)), 0o755),
    file('bin/busybox', readFileSync(parts.busybox), 0o755),
    file('bin/transfer', readFileSync(new URL('./transfer.sh', import.meta.url)), 0o755),
    ...(bare ? [] : [...withLibraries(process.execPath), ...project(scratch)]),
    ...modules([...(bare ? NIC_MODULES : MODULES), ...names], [...moduleFolders, parts.modules]),
    ...entries,
  ]);
}
