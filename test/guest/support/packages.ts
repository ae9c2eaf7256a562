/**
 * Debian packages that the guest is made of: downloaded and unpacked into a cache, not installed. The host's own kernel and
 * programs are left alone.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { run } from './run.js';

export const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'virtio-pmd');

/** The folder with what the package holds. @throws Error when it cannot be downloaded */
export function unpacked(name: string): string {
  const folder = join(cache, name);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, 'unpacking-'));
  try {
    run('apt-get', ['download', name], scratch);
    const archive = readdirSync(scratch).find((file) => file.endsWith('.deb'))!;
    run('dpkg-deb', ['--extract', archive, 'root'], scratch);
    renameSync(join(scratch, 'root'), folder); // complete, or not there
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return folder;
}

/** linux-image-amd64 is empty and depends on the newest kernel. */
export function kernelPackage(): string {
  const depends = run('apt-cache', ['depends', '--important', 'linux-image-amd64']).toString();
  const name = /Depends: (linux-image-\d\S*)/.exec(depends)?.[1];
  if (name === undefined) throw new Error('apt knows no linux-image-amd64: run apt-get update');
  return name;
}

export interface Parts {
  /** The kernel's file. */
  readonly kernel: string;
  /** Folder with its modules. */
  readonly modules: string;
  /** A busybox that needs no libraries. */
  readonly busybox: string;
}

/** @throws Error when a package cannot be downloaded */
export function guestParts(): Parts {
  const root = unpacked(kernelPackage());
  const image = readdirSync(join(root, 'boot')).find((name) => name.startsWith('vmlinuz-'))!;
  return {
    kernel: join(root, 'boot', image),
    modules: join(root, 'lib/modules'),
    busybox: join(unpacked('busybox-static'), 'bin/busybox'),
  };
}
