#!/usr/bin/env node
/** devbind: see `usage` in options.ts. */
import { Ending } from '../common/ending.js';
import { devbind } from './devbind.js';
import { runMain } from '../common/program.js';
import { machineAt } from './machine.js';

const ending = new Ending('shell');
const printer = {
  out: (text: string) => process.stdout.write(text),
  err: (text: string) => process.stderr.write(text),
};
// `during`: a signal does not leave a device between two drivers
await runMain(() => ending.during(() => devbind(process.argv.slice(2), machineAt('/'), printer)));
