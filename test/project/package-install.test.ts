/**
 * `npm pack` of a copy of this folder, installed into an empty one on a machine without a C compiler: vectorized paths run
 * from the prebuilt library. Needs a compiler here, to have something to pack, and koffi and arg from npm's cache or registry.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { Peer } from '../../tools/bench/common/peer.js';
import { canGoOn, lacks, needs } from '../support/needs.js';
import { eventually, ourCpu, peerCpu, portStats, temporaryDirectory, type Scope } from '../support/peers.js';
import { startBackend, waitForSocket } from '../support/testpmd-process.js';

const compilerTest = needs(lacks(process.env['CC'] ?? 'cc'));

const root = fileURLToPath(new URL('../..', import.meta.url));
const library = `helper.linux-${process.arch}.so`;
const notCopied = /^(node_modules|dist|coverage|bench-out|\.git|.*\.so)$/;

/** Undone after the last test. */
const scope = ((): Scope & { end: () => Promise<void> } => {
  const undos: (() => void | Promise<void>)[] = [];
  return {
    teardown: (undo) => void undos.push(undo),
    end: async () => {
      for (const undo of undos.reverse()) await undo();
    },
  };
})();
test.after.always(() => scope.end());

const run = (command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = process.env) =>
  spawnSync(command, args, { cwd, env, encoding: 'utf8' });

/** A PATH with Node, npm and a shell: no compiler. */
function pathWithoutCompiler(): string {
  const bin = temporaryDirectory(scope);
  const find = (program: string) => realpathSync(run('sh', ['-c', `command -v ${program}`], root).stdout.trim());
  symlinkSync(process.execPath, join(bin, 'node'));
  for (const program of ['npm', 'sh']) symlinkSync(find(program), join(bin, program));
  return bin;
}

interface Installed {
  /** The copy, with the dist that was packed. */
  readonly source: string;
  /** node_modules/virtio-pmd */
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  /** What `npm pack` said. */
  readonly said: string;
  readonly problem: string;
}

let installed: Installed | undefined;

/** Packs and installs, once for all tests. */
function install(): Installed {
  if (installed !== undefined) return installed;
  const copy = temporaryDirectory(scope);
  cpSync(root, copy, { recursive: true, filter: (path) => path === root || !notCopied.test(basename(path)) });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const pack = run('npm', ['pack', '--loglevel=error'], copy);
  const tarball = readdirSync(copy).find((name) => name.endsWith('.tgz'));

  const target = temporaryDirectory(scope);
  writeFileSync(join(target, 'package.json'), '{ "private": true }\n');
  const env: NodeJS.ProcessEnv = { ...process.env, PATH: pathWithoutCompiler() };
  delete env['CC'];
  const flags = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = tarball === undefined ? undefined : run('npm', [...flags, join(copy, tarball)], target, env);
  installed = {
    source: copy,
    folder: join(target, 'node_modules/virtio-pmd'),
    env,
    said: pack.stdout + pack.stderr,
    problem: result?.status === 0 ? '' : `npm pack and npm install failed: ${pack.stderr}${result?.stderr ?? ''}`,
  };
  return installed;
}

/** The registry, or npm's cache, is found wanting by an installation, which takes too long for the time of loading. */
const isReady = (t: ExecutionContext): boolean => canGoOn(t, install().problem);

compilerTest.serial('the package holds the libraries that could be built, and what it takes to build one', (t) => {
  if (!isReady(t)) return;
  const { folder, said } = install();
  const libraries = readdirSync(join(folder, 'dist/native')).filter((name) => name.endsWith('.so'));
  t.true(libraries.includes(library));
  const other = process.arch === 'x64' ? 'arm64' : 'x64';
  if (!libraries.includes(`helper.linux-${other}.so`))
    t.regex(said, new RegExp(`helper\\.linux-${other}\\.so was not built: `));
  t.deepEqual(
    libraries.filter((name) => !/^helper\.linux-(x64|arm64)\.so$/.test(name)),
    [],
  );
  for (const file of [
    'native/helper/simd.c',
    'native/helper/simd.h',
    'native/helper/guard.c',
    'tools/build-native.mjs',
  ]) {
    t.true(existsSync(join(folder, file)), file);
  }
});

compilerTest.serial('declarations lead to the sources that they were made from; programs have none', (t) => {
  if (!isReady(t)) return;
  const { folder } = install();
  const built = readdirSync(join(folder, 'dist'), { recursive: true, encoding: 'utf8' });
  t.deepEqual(
    built.filter((file) => file.startsWith('tools/') && /\.d\.ts(\.map)?$/.test(file)),
    [],
  );
  const declarations = built.filter((file) => file.endsWith('.d.ts'));
  t.true(declarations.length > 100);
  for (const file of declarations) {
    const path = join(folder, 'dist', file);
    const { sources } = JSON.parse(readFileSync(`${path}.map`, 'utf8')) as { readonly sources: readonly string[] };
    for (const source of sources) t.true(existsSync(join(dirname(path), source)), `${file}: ${source}`);
  }
});

compilerTest.serial('a TypeScript program that imports all of it is compiled, with Node’s types', (t) => {
  if (!isReady(t)) return;
  const { folder } = install();
  const project = dirname(dirname(folder));
  const entries = ['virtio-pmd', 'virtio-pmd/vhost', 'virtio-pmd/devargs', 'virtio-pmd/paths'];
  const lines = entries.map((name, i) => `import * as entry${i} from '${name}';\nexport { entry${i} };`);
  writeFileSync(join(project, 'program.mts'), `${lines.join('\n')}\n`);
  const types = join(root, 'node_modules/@types');
  const flags = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2023,esnext.disposable',
  ];
  const tsc = [join(root, 'node_modules/typescript/bin/tsc'), ...flags, '--typeRoots', types, '--types', 'node'];
  const { status, stdout } = run(process.execPath, [...tsc, 'program.mts'], project);
  t.is(status, 0, stdout);
});

compilerTest.serial('the installed l3fwd-power runs', (t) => {
  if (!isReady(t)) return;
  const { folder, env } = install();
  const program = join(dirname(folder), '.bin/l3fwd-power');
  const { status, stdout } = run(process.execPath, [program, '--', '--help'], folder, env);
  t.is(status, 0);
  t.regex(stdout, /^\nUsage: l3fwd-power /);
});

test.serial('vfio-bindings-generator writes the same bindings installed, and from dist in a clone', (t) => {
  if (!isReady(t)) return;
  const { folder, source } = install();
  const bindings = 'driver/wire/linux/fields.ts';
  for (const place of [folder, source]) {
    const program = join(place, 'dist/tools/vfio-bindings-generator/main.js');
    const out = temporaryDirectory(t);
    const config = join(root, 'tools/vfio-bindings-generator/linux.json');
    const { status, stderr } = run(process.execPath, [program, '--config', config, '--out', out], out);
    t.is(status, 0, stderr);
    t.is(readFileSync(join(out, 'fields.ts'), 'utf8'), readFileSync(join(root, bindings), 'utf8'), place);
  }
});

/** The installed testpmd, at its prompt. */
async function startInstalled(t: ExecutionContext): Promise<Peer> {
  const { folder, env } = install();
  const vdev = `net_virtio_user0,path=${await waitForSocket(startBackend(t))},packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1`;
  const ours = new Peer(
    'the installed testpmd',
    process.execPath,
    [
      join(dirname(folder), '.bin/testpmd'),
      ...[
        '--lcores',
        `0@${peerCpu},1@${ourCpu}`,
        '--no-huge',
        '--no-pci',
        '--log-level=info',
        '--vdev',
        vdev,
        '--',
        '-i',
      ],
    ],
    env,
  );
  t.teardown(() => ours.kill());
  await ours.waitFor(/testpmd> /, 60_000);
  return ours;
}

compilerTest.serial('installed without a compiler, vectorized=1 runs from the prebuilt library', async (t) => {
  if (!isReady(t)) return;
  const ours = await startInstalled(t);
  t.regex(ours.output, /virtio: using packed ring vectorized Rx path on port 0\n/);
  t.regex(ours.output, /virtio: using packed ring vectorized Tx path on port 0\n/);
  t.regex(ours.output, /virtio: using \w+ code on port 0\n/);
  await ours.ask('start tx_first', /testpmd> /);
  await eventually(
    'packets',
    () => portStats(ours),
    ({ rxPackets }) => rxPackets > 5_000,
  );
  await ours.ask('quit', /Bye/);
});

compilerTest.serial(
  'without the prebuilt library it says how to build one; `npm run build:native` there does',
  async (t) => {
    if (!isReady(t)) return;
    const { folder } = install();
    rmSync(join(folder, 'dist/native', library));
    const ours = await startInstalled(t);
    const [report] = await ours.ask('show port 0 path', /Recipe: [^]*Refused:/);
    t.regex(
      report,
      /_packed_vec: no SIMD code: .*: there is no native helper .*: run `npm run build:native` in the folder of/,
    );
    await ours.ask('quit', /Bye/);

    const { status, stderr } = run('npm', ['run', 'build:native'], folder);
    t.is(status, 0, stderr);
    t.true(existsSync(join(folder, 'dist/native', library)));
  },
);
