/**
 * `rerun.ts LOG`, for .ci/run: which files with failed tests, in a log of ava's, may run again. A line for each: how many tests
 * of it failed, and its name. These are the files that test/flaky.json lists, each with its cause; what fails elsewhere has failed.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The cause by the name of the file. */
export function flakyFiles(): Map<string, string> {
  return new Map(
    Object.entries(JSON.parse(readFileSync(join(root, 'test/flaky.json'), 'utf8')) as Record<string, string>),
  );
}

/** How ava names the tests of a file in a run of several folders: test/project/imports.test.ts is "project › imports › ". */
function prefixOf(file: string): string {
  return `${file
    .replace(/^test\//, '')
    .replace(/\.test\.ts$/, '')
    .replaceAll('/', ' › ')} › `;
}

/** How many tests failed in each file. Tests whose file is not among `files` are counted under ''. */
export function failuresByFile(log: string, files: readonly string[]): Map<string, number> {
  const failures = new Map<string, number>();
  for (const [, title] of log.matchAll(/^ *✘ \[fail\]: (.+)$/gm)) {
    const file = files.find((one) => title!.startsWith(prefixOf(one))) ?? '';
    failures.set(file, (failures.get(file) ?? 0) + 1);
  }
  return failures;
}

/** The lines that are printed. */
export function runAgain(log: string, files: readonly string[], flaky: ReadonlyMap<string, string>): string[] {
  return [...failuresByFile(log, files)].filter(([file]) => flaky.has(file)).map(([file, count]) => `${count} ${file}`);
}

export const testFiles = (): string[] =>
  readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `test/${name}`);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const line of runAgain(readFileSync(process.argv[2]!, 'utf8'), testFiles(), flakyFiles())) console.log(line);
}
