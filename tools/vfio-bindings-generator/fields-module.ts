/** The module that every generated module imports: a copy of fields.ts. */
import { readFileSync } from 'node:fs';
import { VirtioPmdError } from '../../native/errors.js';

export const FIELDS_MODULE = 'fields.ts';

/** Places of fields.ts: beside this file; from dist, which has only compiled files, in the source folder. */
const places = ['./fields.ts', '../../../tools/vfio-bindings-generator/fields.ts'];

/** @throws VirtioPmdError ESYSTEM when the package does not contain it */
export function fieldsModule(): string {
  for (const place of places) {
    let text: string;
    try {
      text = readFileSync(new URL(place, import.meta.url), 'utf8');
    } catch {
      continue;
    }
    return text.replace('\n */', '\n * Written by vfio-bindings-generator; do not edit.\n */'); // in its first comment
  }
  const [, built] = places;
  throw new VirtioPmdError(
    'ESYSTEM',
    `${new URL(built!, import.meta.url).pathname} is missing: install virtio-pmd anew`,
  );
}
