// `npm test`: ava twice, first with the files that may run beside each other, then with the rest. With arguments, as in
// `npm test -- test/native/guard.test.ts`, once, with these.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const ava = fileURLToPath(new URL('../node_modules/ava/entrypoints/cli.mjs', import.meta.url));
const args = process.argv.slice(2);
const runs = args.length > 0 ? [args] : ['pure', 'rest'].map((name) => ['--config', `ava.${name}.config.js`]);
const statuses = runs.map(
  (run) => spawnSync(process.execPath, [ava, ...run], { cwd: root, stdio: 'inherit' }).status ?? 1,
);
process.exit(statuses.find((status) => status !== 0) ?? 0);
