/** The ways through the code that docs/architecture.md shows: each file exists and names the next one. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
const ways = [...page.matchAll(/^```way\n([^]*?)^```$/gm)].map(([, lines]) =>
  lines!
    .trim()
    .split('\n')
    .map((line) => line.split(/\s/)[0]!),
);

/** Whether a file imports another, as a value or for a thread, in whatever spelling of the path. */
function names(from: string, to: string): boolean {
  const text = readFileSync(join(root, from), 'utf8');
  const imports = [...text.matchAll(/^(?:import|export)(?! type) [^;]*? from '([^']+)'/gm)];
  const urls = [...text.matchAll(/new URL\(\s*'([^']+)', import\.meta\.url/g)];
  return [...imports, ...urls].some(([, path]) => normalize(join(dirname(from), path!)) === to.replace(/\.ts$/, '.js'));
}

test('every way on the page leads from file to file', (t) => {
  t.is(ways.length, 10);
  for (const way of ways) {
    t.true(way.length >= 3, way.join());
    for (const [i, file] of way.entries()) {
      t.true(existsSync(join(root, file)), `${file} is no file`);
      if (i > 0) t.true(names(way[i - 1]!, file), `${way[i - 1]} does not import ${file}`);
    }
  }
});

test('a way that lies is seen', (t) => {
  t.false(names('tools/testpmd/main.ts', 'paths/guest/rx/split.ts'));
  t.false(names('tools/testpmd/prompt.ts', 'tools/testpmd/testpmd.ts'), 'a type is no step');
  t.true(names('tools/testpmd/forwarding.ts', 'tools/testpmd/forward.ts'));
});
