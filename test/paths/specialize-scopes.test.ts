/**
 * `specialize` makes a function anew from its text: what that names has to be in its scope, or it is a ReferenceError, perhaps
 * on one architecture only. The compiler does not see that, so this test compares the two in the sources.
 */
import { fileURLToPath } from 'node:url';
import test from 'ava';
import ts from 'typescript';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Use {
  readonly where: string;
  readonly factory: ts.FunctionLikeDeclaration;
  readonly scope: readonly string[];
}

/** Names that are used in `factory` as values, and declared outside of it in a source of ours. */
function freeNames(checker: ts.TypeChecker, factory: ts.Node): string[] {
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node)) return;
    if (ts.isIdentifier(node)) {
      const symbol = ts.isShorthandPropertyAssignment(node.parent)
        ? checker.getShorthandAssignmentValueSymbol(node.parent)
        : checker.getSymbolAtLocation(node);
      const isMember = ts.isPropertyAccessExpression(node.parent) && node.parent.name === node;
      const declaration = symbol?.declarations?.[0];
      if (declaration !== undefined && !isMember && isOutside(declaration, factory)) names.add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(factory);
  return [...names].sort();
}

function isOutside(declaration: ts.Node, factory: ts.Node): boolean {
  const file = declaration.getSourceFile();
  if (file.isDeclarationFile || declaration === factory) return false;
  // what an object literal, a class or an interface declares is not named by itself
  if (ts.isPropertyAssignment(declaration) || ts.isPropertySignature(declaration)) return false;
  if (ts.isPropertyDeclaration(declaration) || ts.isMethodDeclaration(declaration)) return false;
  return file !== factory.getSourceFile() || declaration.pos < factory.pos || declaration.end > factory.end;
}

/** The function or object that an expression of a module names. */
function declarationOf(checker: ts.TypeChecker, node: ts.Expression): ts.Node | undefined {
  let symbol = checker.getSymbolAtLocation(node);
  if (symbol !== undefined && (symbol.flags & ts.SymbolFlags.Alias) !== 0) symbol = checker.getAliasedSymbol(symbol);
  const declaration = symbol?.valueDeclaration;
  return declaration !== undefined && ts.isVariableDeclaration(declaration) ? declaration.initializer : declaration;
}

function uses(program: ts.Program): Use[] {
  const checker = program.getTypeChecker();
  const found: Use[] = [];
  for (const file of program.getSourceFiles()) {
    if (file.isDeclarationFile || file.fileName.endsWith('/specialize.ts')) continue;
    const visit = (node: ts.Node): void => {
      if (ts.isCallExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 'specialize') {
        const [first, second] = node.arguments;
        const factory = declarationOf(checker, first!);
        const scope = ts.isObjectLiteralExpression(second!) ? second : declarationOf(checker, second!);
        if (factory === undefined || !ts.isFunctionLike(factory) || scope === undefined) {
          throw new Error(
            `${file.fileName}: ${node.getText()}: a function and an object literal of a module are expected`,
          );
        }
        found.push({
          where: `${file.fileName.slice(root.length)}, ${first!.getText()}`,
          factory: factory as ts.FunctionLikeDeclaration,
          scope: (scope as ts.ObjectLiteralExpression).properties.map((property) => property.name!.getText()).sort(),
        });
      }
      ts.forEachChild(node, visit);
    };
    visit(file);
  }
  return found;
}

function programOf(files: readonly string[], host?: ts.CompilerHost): ts.Program {
  const config = ts.readConfigFile(`${root}tsconfig.json`, (path) => ts.sys.readFile(path))
    .config as ts.TsConfigSourceFile;
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  return ts.createProgram([...files], options, host);
}

test('every scope names exactly what its factory uses', (t) => {
  const folders = ['paths', 'driver', 'tools'];
  const files = folders.flatMap((folder) => ts.sys.readDirectory(`${root}${folder}`, ['.ts']));
  const program = programOf(files);
  const all = uses(program);
  t.true(all.length >= 20, `${all.length} uses`);
  for (const { where, factory, scope } of all) {
    t.deepEqual(scope, freeNames(program.getTypeChecker(), factory), where);
  }
});

test('a name that is missing, and one too many, are seen', (t) => {
  const path = `${root}paths/mock.ts`;
  const text = `
    import { NIL } from './mempool.js';
    import { specialize } from './specialize.js';
    import type { Mempool } from './mempool.js';
    const LIMIT = 3;
    function helper(n: number): number { return n; }
    function factory(pool: Mempool): () => number {
      const inner = { LIMIT: 1, helper };
      return () => (Math.max(inner.LIMIT, NIL) > pool.count ? LIMIT : inner.helper(1));
    }
    export const made = specialize(factory, { NIL, helper, specialize }, undefined as never);
  `;
  const host = ts.createCompilerHost({});
  const { getSourceFile, fileExists } = host;
  host.fileExists = (name) => name === path || fileExists(name);
  host.getSourceFile = (name, options) =>
    name === path ? ts.createSourceFile(name, text, options, true) : getSourceFile(name, options);
  const program = programOf([path], host);
  const [use] = uses(program).filter(({ where }) => where.startsWith('paths/mock.ts'));
  t.deepEqual(use!.scope, ['NIL', 'helper', 'specialize']);
  t.deepEqual(freeNames(program.getTypeChecker(), use!.factory), ['LIMIT', 'NIL', 'helper']);
});
