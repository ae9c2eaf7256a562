/** The command line of vfio-bindings-generator. */
import { VirtioPmdError } from '../../native/errors.js';
import { all, has, last, parseArgs, table } from '../common/parse.js';
import { versionText } from '../common/version.js';
import type { Compiler } from './compiler.js';

export interface GeneratorOptions {
  readonly config: string;
  readonly out: string;
  /** Compare instead of writing. */
  readonly check: boolean;
  readonly compiler: Compiler;
}

export const usage = `vfio-bindings-generator: constants and struct layouts of C headers, as TypeScript

Made for linux/vfio.h, whence its name; it takes any header that the C compiler takes.

  vfio-bindings-generator --config FILE --out DIR [options]

  --config FILE   what is wanted of which headers, as JSON
  --out DIR       where the modules go, one for each header
  --check         write nothing; say which module is not what the compiler says now, and exit with 1
  --cc CC         the C compiler (default: CC of the environment, or cc)
  -I DIR          look for headers here before the system's folders (repeatable)
  -h, --help; -v, --version
`;

const spec = table(['check', 'help', 'version'], ['config', 'out', 'cc'], ['I'], { h: 'help', v: 'version' });

/** @returns options, or a text that is all there is to print. @throws VirtioPmdError EOPTION */
export function parseOptions(argv: readonly string[], environment: NodeJS.ProcessEnv): GeneratorOptions | string {
  const values = parseArgs('vfio-bindings-generator', spec, argv);
  if (has(values, 'help')) return usage;
  if (has(values, 'version')) return versionText('vfio-bindings-generator');
  const needed = (name: string) => {
    const value = last(values, name);
    if (value !== undefined && value !== '') return value;
    throw new VirtioPmdError('EOPTION', `vfio-bindings-generator: --${name} is needed; see --help`);
  };
  return {
    config: needed('config'),
    out: needed('out'),
    check: has(values, 'check'),
    compiler: { command: last(values, 'cc') ?? (environment['CC'] || 'cc'), includes: all(values, 'I') },
  };
}
