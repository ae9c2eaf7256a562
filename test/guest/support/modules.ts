/** Which kernel modules to load, in what order: what depmod and modprobe do on an installed system. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { run } from './run.js';

/** Both spellings are in use. */
const canonical = (name: string) => name.replaceAll('-', '_');

/** Every module below `folder`, by name. */
export function indexModules(folder: string): Map<string, string> {
  const index = new Map<string, string>();
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const name = /^(.*)\.ko(\.xz)?$/.exec(basename(path))?.[1];
    if (name !== undefined) index.set(canonical(name), join(folder, path));
  }
  return index;
}

/** The bytes of a module, as insmod takes them. */
export function readModule(path: string): Buffer {
  return path.endsWith('.xz') ? run('xz', ['--decompress', '--stdout', path]) : readFileSync(path);
}

/** Names of the modules that this one needs: `depends=a,b` in its section .modinfo, whose entries end with a zero. */
export function dependsOn(module: Buffer): string[] {
  const key = Buffer.from('\0depends=');
  const at = module.indexOf(key);
  if (at < 0) return [];
  const from = at + key.length;
  return module.toString('latin1', from, module.indexOf(0, from)).split(',').filter(Boolean).map(canonical);
}

/**
 * `wanted` and what they need, each behind what it needs itself.
 * @param load the bytes of a module; undefined when there is none of that name (it is built in, or the kernel lacks it).
 */
export function loadOrder(wanted: readonly string[], load: (name: string) => Buffer | undefined): Map<string, Buffer> {
  const ordered = new Map<string, Buffer>();
  const visiting = new Set<string>();
  const visit = (name: string) => {
    if (visiting.has(name)) return;
    visiting.add(name);
    const module = load(name);
    if (module === undefined) return;
    dependsOn(module).forEach(visit);
    ordered.set(name, module);
  };
  wanted.map(canonical).forEach(visit);
  return ordered;
}
