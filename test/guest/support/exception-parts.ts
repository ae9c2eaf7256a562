/** What the guest of the exception path has besides: programs of its cases, of the documentation, and the benchmarks. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { root } from '../../../tools/bench/common/peer.js';
import { file, type Entry } from './cpio.js';

const here = (name: string) => readFileSync(new URL(name, import.meta.url));

/** The programs of a folder that the build leaves out, beside those that it makes, with the folders within. */
function transpiled(folder: string): Entry[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  return names.map((name) => {
    const source = readFileSync(join(root, folder, name), 'utf8');
    const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
    const { outputText } = ts.transpileModule(source, { compilerOptions });
    return file(`app/dist/${folder}/${name.replace(/\.ts$/, '.js')}`, outputText);
  });
}

export function exceptionParts(): Entry[] {
  return [
    file('etc/passwd', 'somebody:x:1000:1000::/tmp:/bin/sh\n'),
    ...['net-headers.mjs', 'datagram.mjs', 'attach-cycles.mjs'].map((name) => file(`app/${name}`, here(`./${name}`))),
    ...['docs/examples', 'tools/bench'].flatMap(transpiled),
  ];
}
