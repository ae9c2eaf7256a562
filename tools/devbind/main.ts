#!/usr/bin/env node
/** devbind: see `usage` in options.ts. */
import { devbind } from './devbind.js';
import { runMain } from '../program.js';
import { machineAt } from './machine.js';

await runMain(() =>
  devbind(process.argv.slice(2), machineAt('/'), {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
  }),
);
