/** Tests whose interfaces are those of a network namespace, which goes with the process that runs them. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { needs } from '../../../support/needs.js';
import { whyNoTap } from '../../../support/tap.js';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
// /run is where ip keeps other namespaces
const CHILD =
  'mount -t sysfs none /sys && mount -t tmpfs none /run && exec "$0" --import ./tools/ts.mjs test/driver/vdevs/support/namespace-child.ts "$1"';

/** Defines a test for each scenario of a module. @param missing what else is missing here, in a sentence, or '' */
export function inNamespace(
  module: URL,
  { scenarios }: { readonly scenarios: Readonly<Record<string, unknown>> },
  missing = '',
): void {
  const test = needs(whyNoTap() || missing);
  let results: Record<string, string> | undefined;
  const resultOf = (title: string): string => {
    if (results === undefined) {
      const args = ['--net', '--mount', 'sh', '-c', CHILD, process.execPath, fileURLToPath(module)];
      const { stdout, stderr, error } = spawnSync('unshare', args, { cwd: root, encoding: 'utf8', timeout: 400_000 });
      if (!stdout) return `${error?.message ?? ''}${stderr}`;
      results = JSON.parse(stdout) as Record<string, string>;
    }
    return results[title] ?? 'it was not run';
  };
  for (const title of Object.keys(scenarios)) {
    test.serial(title, (t) => {
      t.timeout(420_000);
      t.is(resultOf(title), 'ok');
    });
  }
}
