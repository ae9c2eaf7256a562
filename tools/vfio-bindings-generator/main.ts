#!/usr/bin/env node
/** vfio-bindings-generator: see `usage` in options.ts. */
import { closeSync, openSync, readSync } from 'node:fs';
import { VirtioPmdError } from '../../native/errors.js';
import { formatMiB } from '../../native/sizes.js';
import { Ending } from '../common/ending.js';
import { runMain } from '../common/program.js';
import { parseConfig } from './config.js';
import { generate } from './generate.js';
import { parseOptions, type GeneratorOptions } from './options.js';
import { difference, touching, writeFiles } from './output.js';

/** Most bytes of a configuration: endless files such as /dev/zero must not be read for ever. */
const LONGEST_CONFIG = 4 << 20;

function readConfig(path: string): string {
  const buffer = Buffer.alloc(LONGEST_CONFIG + 1);
  let length = 0;
  touching(`--config ${path} cannot be read`, () => {
    const fd = openSync(path, 'r');
    try {
      for (let n = -1; n !== 0; length += n) n = readSync(fd, buffer, length, buffer.length - length, null);
    } finally {
      closeSync(fd);
    }
  });
  if (length <= LONGEST_CONFIG) return buffer.toString('utf8', 0, length);
  throw new VirtioPmdError('EOPTION', `--config ${path}: at most ${formatMiB(LONGEST_CONFIG)} are expected`);
}

function run({ config, out, check, compiler }: GeneratorOptions): number {
  const files = generate(parseConfig(readConfig(config), config), compiler);
  if (!check) {
    writeFiles(out, files);
    process.stdout.write(`${files.size} files written to ${out}\n`);
    return 0;
  }
  const found = difference(out, files);
  if (found === undefined) return 0;
  process.stderr.write(`vfio-bindings-generator: ${found}\n`);
  return 1;
}

function main(): number {
  const options = parseOptions(process.argv.slice(2), process.env);
  if (typeof options !== 'string') return run(options);
  process.stdout.write(options);
  return 0;
}

const ending = new Ending('shell');
await runMain(() => ending.during(main)); // `during`: its temporary folder is removed after a signal, too
