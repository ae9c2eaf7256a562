#!/usr/bin/env node
/** vfio-bindings-generator: see `usage` in options.ts. */
import { readFileSync } from 'node:fs';
import { runMain } from '../program.js';
import { parseConfig } from './config.js';
import { generate } from './generate.js';
import { parseOptions, usage, type GeneratorOptions } from './options.js';
import { difference, touching, writeFiles } from './output.js';

function run({ config, out, check, compiler }: GeneratorOptions): number {
  const json = touching(`--config ${config} cannot be read`, () => readFileSync(config, 'utf8'));
  const files = generate(parseConfig(json, config), compiler);
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

await runMain(() => {
  const options = parseOptions(process.argv.slice(2), process.env);
  if (options !== undefined) return run(options);
  process.stdout.write(usage);
  return 0;
});
