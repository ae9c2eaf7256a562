/**
 * Hooks for Node's module loader: a .ts file is always a module, independent of the nearest package.json. Where Node does not
 * strip types itself, ts-node transpiles it. Runs on Node's hooks thread.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { InitializeHook, LoadHook, ModuleFormat } from 'node:module';
import { fileURLToPath } from 'node:url';

/** Paths of the packages that compile; undefined: Node itself strips types. */
export type HooksData = { readonly tsNode: string; readonly typescript: string } | undefined;

/** The part of ts-node that we use. */
interface TsNode {
  readonly create: (options: object) => Compiler;
}
interface Compiler {
  compile(code: string, fileName: string): string;
}

/** A format in versions of Node that strip types; the types of our oldest supported Node do not have it. */
const stripped = 'module-typescript' as ModuleFormat;

/** Our own sources have their own compiler options (tools/ts.mjs). */
const ours = new URL('../../../', import.meta.url).href;
let compiler: Compiler | undefined;

export const initialize: InitializeHook<HooksData> = (data) => {
  if (data === undefined) return;
  const { create } = createRequire(import.meta.url)(data.tsNode) as TsNode;
  compiler = create({
    transpileOnly: true,
    skipProject: true,
    compiler: data.typescript,
    compilerOptions: { module: 'ES2022', target: 'ES2022', verbatimModuleSyntax: true },
  });
};

export const load: LoadHook = (url, context, nextLoad) => {
  if (!/\.m?ts(\?|$)/.test(url) || url.startsWith(ours)) return nextLoad(url, context);
  if (compiler === undefined) return nextLoad(url, { ...context, format: stripped });
  return { format: 'module', shortCircuit: true, source: compile(compiler, fileURLToPath(url)) };
};

/** @throws SyntaxError, because ts-node's own errors cannot be passed to the importing thread. */
function compile(compiler: Compiler, path: string): string {
  const code = readFileSync(path, 'utf8');
  try {
    return compiler.compile(code, path);
  } catch (error) {
    const lines = (error as Error).message.split('\n').filter((line) => line.trim() !== '');
    throw new SyntaxError(lines.find((line) => line.includes('error TS')) ?? lines[0]);
  }
}
