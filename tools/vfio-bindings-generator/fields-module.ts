/** The module that every generated one imports: a copy of fields.ts, as TypeScript. */
import { readFileSync } from 'node:fs';
import { VirtioPmdError } from '../../native/errors.js';

export const FIELDS_MODULE = 'fields.ts';

/** Beside this file; from dist, where there is only what was compiled, in the folder that it was compiled from. */
const places = ['./fields.ts', '../../../tools/vfio-bindings-generator/fields.ts'];

/** @throws VirtioPmdError ESYSTEM when the package lacks it */
export function fieldsModule(): string {
  for (const place of places) {
    let text: string;
    try {
      text = readFileSync(new URL(place, import.meta.url), 'utf8');
    } catch {
      continue;
    }
    return text.replace('\n */', '\n * Written by vfio-bindings-generator; do not edit.\n */'); // its first comment
  }
  const [, built] = places;
  throw new VirtioPmdError(
    'ESYSTEM',
    `${new URL(built!, import.meta.url).pathname} is missing: install virtio-pmd anew`,
  );
}
