/**
 * The only file of devbind that does I/O: it accesses the files of a machine under a root folder, `/` for this machine. Paths
 * are those of the machine (`/sys/...`), so that messages show the usual paths.
 */
import { closeSync, constants, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';

export interface Machine {
  /** The text of a file, or undefined when it cannot be read. */
  read(path: string): string | undefined;
  /** The names in a folder, sorted; empty when there is no such folder. */
  list(path: string): string[];
  /** The names of the folders in a folder, sorted, without links. */
  folders(path: string): string[];
  /** The last part of a symbolic link's target, which in sysfs is a name; undefined when there is no link. */
  linkName(path: string): string | undefined;
  /** Writes to an existing file. @throws the errors of node:fs */
  write(path: string, text: string): void;
}

export function machineAt(root: string): Machine {
  const at = (path: string) => join(root, path);
  return {
    read: (path) => unlessError(() => readFileSync(at(path), 'utf8')),
    list: (path) => (unlessError(() => readdirSync(at(path))) ?? []).sort(),
    folders: (path) =>
      (unlessError(() => readdirSync(at(path), { withFileTypes: true })) ?? [])
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
        .sort(),
    linkName: (path) => unlessError(() => basename(readlinkSync(at(path)))),
    write: (path, text) => {
      // neither create nor truncate: these files are interfaces of the kernel
      const fd = openSync(at(path), constants.O_WRONLY);
      try {
        writeSync(fd, text);
      } finally {
        closeSync(fd);
      }
    },
  };
}

function unlessError<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
