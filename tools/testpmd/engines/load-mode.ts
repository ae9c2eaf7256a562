/**
 * Loads the modules of users' forwarding modes. Every stream gets a module of its own, which is loaded again at each start.
 * So the mode has its own machine code (docs/decisions/0004-code-per-queue.md), shares no state by accident, and uses the
 * current contents of its file.
 */
import { statSync } from 'node:fs';
import { createRequire, register } from 'node:module';
import { basename, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { VirtioPmdError } from '../../../native/errors.js';
import type { ForwardingMode } from '../../../driver/port/stream.js';
import type { UserMode } from './modes.js';
import type { HooksData } from './ts-hooks.js';

const fail = (sentence: string, cause?: unknown) => new VirtioPmdError('EOPTION', `testpmd: ${sentence}`, { cause });

/**
 * The mode at `path`, from the working directory.
 * @throws VirtioPmdError EOPTION when there is no such file.
 */
export function locateMode(path: string): UserMode {
  const absolute = resolve(path);
  const stat = statSync(absolute, { throwIfNoEntry: false });
  if (!stat) throw fail(`forwarding mode ${path}: no such file (${absolute})`);
  if (!stat.isFile()) throw fail(`forwarding mode ${path}: is no file, and must be a module such as ./my-mode.ts`);
  if (!/\.([cm]?js|m?ts)$/.test(absolute)) {
    throw fail(`forwarding mode ${path}: its name must end in .ts, .mts, .js or .mjs`);
  }
  return { name: basename(absolute), url: pathToFileURL(absolute).href };
}

/** Makes each import a new module: the number becomes part of its URL. */
let loads = 0;

/** Loads a mode. @throws VirtioPmdError EOPTION when the module cannot be loaded or its default export is not a function. */
export async function loadMode(mode: UserMode): Promise<ForwardingMode> {
  if (/\.m?ts$/.test(mode.name)) prepareTypeScript(mode);
  let module: { readonly default?: unknown };
  try {
    module = (await import(`${mode.url}?${loads++}`)) as typeof module;
  } catch (error) {
    throw fail(`forwarding mode ${mode.name} cannot be loaded: ${sentenceOf(mode, error)}`, error);
  }
  // in CommonJS compiled from `export default`, `default` is nested twice
  const exported = (module.default as { readonly default?: unknown } | undefined)?.default ?? module.default;
  if (typeof exported === 'function') return exported as ForwardingMode;
  const found = exported === undefined ? 'has no default export' : `exports ${describe(exported)} as its default`;
  throw fail(`forwarding mode ${mode.name} ${found}: it must export default a function (stream) => () => { ... }`);
}

export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (value instanceof Promise) return 'a promise';
  const type = typeof value;
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}

const quote = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** An error in a mode as one line, with the line number in its file where that is known. */
export function sentenceOf({ name, url }: UserMode, error: unknown): string {
  if (error === undefined || error === null) return `${error} was thrown`;
  // eslint-disable-next-line @typescript-eslint/no-base-to-string -- an object of the user's says of itself what it wants to
  if (!(error instanceof Error)) return `${describe(error)} was thrown: ${String(error)}`;
  const message = error.message.trim().split('\n')[0]!;
  // in the stack of a module the file is a URL; where a source map was applied it is a path
  const file = [new URL(url).pathname, fileURLToPath(url)].map(quote).join('|');
  const line = new RegExp(`(?:${file})(?:\\?\\d+)?:(\\d+)`).exec(error.stack ?? '')?.[1];
  if (message === "Unexpected token 'export'" || message.startsWith('Cannot use import statement')) {
    return `${message}: is it a module? Name it .mjs, or write "type": "module" into its package.json`;
  }
  const what = error.name === 'Error' || error instanceof VirtioPmdError ? message : `${error.name}: ${message}`;
  return line === undefined ? what : `${name}:${line}: ${what}`;
}

let hooked = false;

/**
 * Registers ts-hooks.ts in this thread's module loader. Newer versions of Node strip types themselves. For others ts-node
 * compiles: the one installed beside the mode or beside us. In a clone of this project ts-node compiles with every version of
 * Node, because ts.mjs registers it anyway.
 */
function prepareTypeScript(mode: UserMode): void {
  if (hooked) return;
  const inClone = import.meta.url.endsWith('.ts');
  const native = 'typescript' in process.features && Boolean(process.features.typescript) && !inClone;
  const data: HooksData = native ? undefined : findCompiler(mode);
  if (!native) process.setSourceMapsEnabled(true); // otherwise errors would have line numbers of the compiled code
  register('./ts-hooks.js', import.meta.url, { data });
  hooked = true;
}

function findCompiler(mode: UserMode): HooksData {
  const tsNode = findPackage('ts-node', [mode.url, import.meta.url]);
  const typescript = findPackage('typescript', [mode.url, import.meta.url]);
  if (tsNode !== undefined && typescript !== undefined) return { tsNode, typescript };
  throw fail(
    `forwarding mode ${mode.name}: this Node (${process.version}) cannot load TypeScript: ` +
      `install ts-node and typescript beside it, use Node 22.18 or later, or compile it to JavaScript`,
  );
}

/** Path of a package, resolved from the first of `from` that can resolve it. */
function findPackage(name: string, from: readonly string[]): string | undefined {
  for (const url of from) {
    try {
      return createRequire(url).resolve(name);
    } catch {
      // not found from there
    }
  }
  return undefined;
}
