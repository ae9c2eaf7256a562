/** Archives in cpio's "newc" format: what the kernel unpacks into memory as the guest's only file system. */

export interface Entry {
  /** Without a leading slash. */
  readonly path: string;
  /** Kind and permissions, as in st_mode. */
  readonly mode: number;
  readonly data: Uint8Array;
  /** Major and minor number of a device. */
  readonly device?: readonly [major: number, minor: number];
}

const DIRECTORY = 0o040755;
const CHARACTER_DEVICE = 0o020600;
const REGULAR_FILE = 0o100000;
const empty = new Uint8Array(0);

export const file = (path: string, data: Uint8Array | string, permissions = 0o644): Entry => ({
  path,
  mode: REGULAR_FILE | permissions,
  data: Buffer.from(data),
});

export const directory = (path: string): Entry => ({ path, mode: DIRECTORY, data: empty });

export const characterDevice = (path: string, major: number, minor: number): Entry => ({
  path,
  mode: CHARACTER_DEVICE,
  data: empty,
  device: [major, minor],
});

/** `entries` with the directories that they lie in, each once and before what is in it. */
function withParents(entries: readonly Entry[]): Entry[] {
  const seen = new Set<string>();
  const all: Entry[] = [];
  const add = (entry: Entry) => {
    if (seen.has(entry.path)) return;
    const slash = entry.path.lastIndexOf('/');
    if (slash > 0) add(directory(entry.path.slice(0, slash)));
    seen.add(entry.path);
    all.push(entry);
  };
  entries.forEach(add);
  return all;
}

const padding = (length: number) => Buffer.alloc(-length & 3);

function record({ path, mode, data, device = [0, 0] }: Entry, inode: number): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const time = 0;
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [inode, mode, 0, 0, 1, time, data.length, 0, 0, ...device, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return [header, name, padding(header.length + name.length), data, padding(data.length)];
}

/** The archive. The first entry of a path counts. */
export function cpio(entries: readonly Entry[]): Buffer {
  const trailer = { path: 'TRAILER!!!', mode: 0, data: empty };
  return Buffer.concat([...withParents(entries), trailer].flatMap((entry, index) => record(entry, index + 1)));
}
