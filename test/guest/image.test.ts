/** What the guest is built from: archives as the kernel reads them, modules in an order in which they load. */
import test from 'ava';
import { characterDevice, cpio, file } from './support/cpio.js';
import { dependsOn, loadOrder } from './support/modules.js';

interface Unpacked {
  readonly name: string;
  readonly mode: number;
  readonly data: string;
  readonly device: readonly number[];
}

/** Reads an archive as the kernel does (Documentation/driver-api/early-userspace/buffer-format.rst). */
function unpack(archive: Buffer): Unpacked[] {
  const entries: Unpacked[] = [];
  const aligned = (at: number) => (at + 3) & ~3;
  for (let at = 0; at < archive.length;) {
    const field = (index: number) => parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16);
    if (archive.toString('latin1', at, at + 6) !== '070701') throw new Error(`no header at byte ${at}`);
    const nameEnd = at + 110 + field(11);
    const data = aligned(nameEnd);
    const name = archive.toString('utf8', at + 110, nameEnd - 1);
    const content = archive.toString('utf8', data, data + field(6));
    entries.push({ name, mode: field(1), data: content, device: [field(9), field(10)] });
    at = aligned(data + field(6));
  }
  return entries;
}

test('an archive: directories once and before what is in them, names and contents of any length', (t) => {
  const contents = ['', 'a', 'ab', 'abc', 'abcd', 'abcde'];
  const files = contents.map((content, i) => file(`deep/er${'x'.repeat(i)}/file`, content, 0o755));
  const entries = unpack(cpio([...files, characterDevice('dev/console', 5, 1)]));
  t.deepEqual(
    entries.filter(({ mode }) => mode === 0o100755).map(({ data }) => data),
    contents,
  );
  const names = entries.map(({ name }) => name);
  t.deepEqual(names.slice(0, 3), ['deep', 'deep/er', 'deep/er/file']);
  t.is(new Set(names).size, names.length);
  t.deepEqual(entries.at(-2), { name: 'dev/console', mode: 0o020600, data: '', device: [5, 1] });
  t.is(names.at(-1), 'TRAILER!!!');
});

const module_ = (depends: string) => Buffer.from(`\x7fELF...license=GPL\0depends=${depends}\0name=x\0`, 'latin1');

test('what a module depends on: nothing, several, names with hyphens, a module without the entry', (t) => {
  t.deepEqual(dependsOn(module_('')), []);
  t.deepEqual(dependsOn(module_('vfio-pci-core,vfio')), ['vfio_pci_core', 'vfio']);
  t.deepEqual(dependsOn(Buffer.from('\x7fELF')), []);
});

test('modules load behind what they need, once; what is built in is left out; a circle ends', (t) => {
  const modules: Record<string, string> = { a: 'b,c', b: 'd', c: 'd,built-in', d: '', x: 'y', y: 'x' };
  const load = (name: string) => (name in modules ? module_(modules[name]!) : undefined);
  t.deepEqual([...loadOrder(['a', 'd', 'built-in'], load).keys()], ['d', 'b', 'c', 'a']);
  t.deepEqual([...loadOrder(['x'], load).keys()], ['y', 'x']);
});
