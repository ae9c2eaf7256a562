/** vfio-bindings-generator and configurations that mean harm, or macros of a header that happen to: no text becomes code. */
import test from 'ava';
import fc from 'fast-check';
import ts from 'typescript';
import { isVirtioPmdError } from '../../../native/errors.js';
import { parseConfig, type HeaderWish } from '../../../tools/vfio-bindings-generator/config.js';
import { emitModule } from '../../../tools/vfio-bindings-generator/emit.js';
import { selectConstants, type Macro } from '../../../tools/vfio-bindings-generator/macros.js';
import { FIELD_FUNCTIONS, matches } from '../../../tools/vfio-bindings-generator/names.js';
import { program, questions, type Answer } from '../../../tools/vfio-bindings-generator/probe.js';

const kinds = ['u8', 's16', 'be32', 'u64', 'bytes', 'u16[]', 'u8[]'];

/** What a compiler may answer. */
const answerTo = (wish: HeaderWish, count: number): Answer => ({
  linux: 0x60100,
  constants: Array.from({ length: count }, (_, i) => BigInt(i) ** 7n - 5n),
  sizes: wish.structs.map((_, i) => 8 * i),
  fields: wish.structs.flatMap(({ fields }) =>
    fields.map((_, i) => ({ offset: i, size: 8, kind: kinds[i % kinds.length]! })),
  ),
});

const isNumber = (node: ts.Node): boolean =>
  ts.isNumericLiteral(node) ||
  ts.isBigIntLiteral(node) ||
  (ts.isPrefixUnaryExpression(node) && node.operator === ts.SyntaxKind.MinusToken && isNumber(node.operand));

const isField = (node: ts.Node): boolean =>
  ts.isCallExpression(node) &&
  ts.isIdentifier(node.expression) &&
  FIELD_FUNCTIONS.includes(node.expression.text) &&
  node.arguments.every((arg) => isNumber(arg) || (ts.isIdentifier(arg) && FIELD_FUNCTIONS.includes(arg.text)));

const isStruct = (node: ts.Node): boolean =>
  ts.isObjectLiteralExpression(node) &&
  node.properties.every(
    (property) =>
      ts.isPropertyAssignment(property) &&
      ts.isIdentifier(property.name) &&
      property.name.text !== '__proto__' &&
      (isNumber(property.initializer) || isField(property.initializer) || isStruct(property.initializer)),
  );

/** What there is in a module that should not be, or undefined. */
function surprise(text: string): string | undefined {
  const source = ts.createSourceFile('m.ts', text, ts.ScriptTarget.ES2022, true);
  const [problem] = (source as unknown as { parseDiagnostics: readonly ts.Diagnostic[] }).parseDiagnostics;
  if (problem) return ts.flattenDiagnosticMessageText(problem.messageText, ' ');
  const names = new Set<string>();
  for (const [i, statement] of source.statements.entries()) {
    if (i === 0 && ts.isImportDeclaration(statement)) {
      if ((statement.moduleSpecifier as ts.StringLiteral).text === './fields.js') continue;
    }
    if (!ts.isVariableStatement(statement)) return statement.getText();
    if (statement.modifiers?.length !== 1 || statement.declarationList.declarations.length !== 1)
      return statement.getText();
    const { name, initializer } = statement.declarationList.declarations[0]!;
    if (!ts.isIdentifier(name) || names.has(name.text) || FIELD_FUNCTIONS.includes(name.text))
      return statement.getText();
    names.add(name.text);
    const value = ts.isAsExpression(initializer!) ? initializer.expression : initializer!;
    if (!isNumber(value) && !isStruct(value)) return statement.getText();
  }
  // strict mode has more words of its own than the parser minds
  const { diagnostics } = ts.transpileModule(text, {
    reportDiagnostics: true,
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022, isolatedModules: true },
  });
  if (diagnostics?.length) return ts.flattenDiagnosticMessageText(diagnostics[0]!.messageText, ' ');
  try {
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- whether it can be compiled is the question
    new Function(`"use strict"; return async () => { ${[...names].map((name) => `const ${name} = 0;`).join('')} }`);
  } catch (error) {
    return String(error);
  }
  return undefined;
}

const nasty = fc.constantFrom(
  ...[
    '*/',
    '/*',
    '//',
    '`',
    '${',
    '"',
    "'",
    '\n',
    '\r',
    '\u2028',
    '\u2029',
    '\\',
    ';',
    '{',
    '}',
    '(',
    ')',
    '#',
    '*',
    '=',
  ],
  ...[
    'process.exit(1)',
    'export default 1',
    '@ts-nocheck',
    '# sourceMappingURL=x',
    '<script>',
    '/// <reference path="x"/>',
  ],
  ...[
    '#include </etc/passwd>',
    '??/',
    '%:',
    '<%',
    '__attribute__((constructor))',
    'VBG_END',
    '\0',
    '\ud800',
    'é',
    ' ',
    '\t',
  ],
);
const word = fc.oneof(
  fc.stringMatching(/^[A-Za-z_]\w{0,6}$/),
  fc.constantFrom(
    ...[
      'class',
      'await',
      'let',
      'eval',
      'arguments',
      'enum',
      'static',
      'yield',
      '__proto__',
      'constructor',
      'undefined',
    ],
    ...[
      'u8',
      'numbers',
      'A',
      'AB',
      'vbg_be16',
      'sizeof',
      'A*',
      '*',
      '**A**',
      '1A',
      'a.b',
      'a[]',
      'default',
      'implements',
    ],
  ),
);
const text = fc
  .array(fc.oneof({ weight: 2, arbitrary: word }, { weight: 1, arbitrary: nasty }), { maxLength: 5 })
  .map((parts) => parts.join(''));
const some = fc.oneof({ weight: 3, arbitrary: word }, { weight: 1, arbitrary: text });
const wish = fc.record(
  {
    header: fc.oneof(
      { weight: 5, arbitrary: fc.constant('a/b.h') },
      { weight: 1, arbitrary: text.map((name) => `${name}.h`) },
    ),
    about: text,
    constants: fc.array(
      fc.oneof(
        some,
        fc.tuple(word, some).map(([name, value]) => `${name} = ${value}`),
      ),
      { maxLength: 4 },
    ),
    without: fc.array(some, { maxLength: 1 }),
    structs: fc.dictionary(
      some,
      fc.record({ about: text, fields: fc.array(some, { maxLength: 4 }).map((words) => words.join(' ')) }),
      { maxKeys: 2 },
    ),
  },
  { requiredKeys: ['header', 'about'] },
);
const macros: readonly Macro[] = [
  ...['A', 'AB', 'class', 'await', 'u8', 'constructor', 'NOT*/A'].map((name) => ({
    name: name.replace(/\W/g, ''),
    body: name,
  })),
  { name: 'REMARK', body: 'x */ process.exit(1) /* `${' },
];

test('whatever a configuration says, its module has constants and structs, and nothing else', (t) => {
  let accepted = 0;
  fc.assert(
    fc.property(wish, (value) => {
      let wishes: readonly HeaderWish[];
      let constants: ReturnType<typeof selectConstants>;
      try {
        wishes = parseConfig(JSON.stringify({ headers: [value] }), 'c.json');
        constants = selectConstants(wishes[0]!, macros);
      } catch (error) {
        if (isVirtioPmdError(error, 'EOPTION') && !/[\n\r]/.test(JSON.stringify(error.message))) return;
        throw error;
      }
      accepted++;
      const module = emitModule(wishes[0]!, constants, answerTo(wishes[0]!, constants.length));
      const found = surprise(module);
      if (found !== undefined) throw new Error(`${found}\n${module}`);
      // and in C: no line that is not one of the questions begins with #, and none of them ends what is around it
      const asked = questions(constants, wishes[0]!.structs);
      const c = program('a/b.h', asked);
      const plain = program('a/b.h', []);
      const directives = (source: string) => source.split('\n').filter((line) => /^\s*(#|%:|\?\?=)/.test(line)).length;
      if (directives(c) !== directives(plain) + asked.length) throw new Error(c);
      for (const { text: question } of asked) {
        if (!/^[\w\s()[\]+\-*/%<>=!&|^~?:,.]*$/.test(question) || /\/[/*]/.test(question)) throw new Error(question);
      }
    }),
    { numRuns: 3000 },
  );
  t.true(accepted > 100, `${accepted} of 3000 were accepted`);
  t.log(`${accepted} of 3000 were accepted`);
});

test('a comment cannot be ended from inside, and says what it said', (t) => {
  const config = {
    headers: [{ header: 'a.h', about: 'a */ process.exit(1); /* b', structs: { s: { about: '*/', fields: 'a' } } }],
  };
  const [only] = parseConfig(JSON.stringify(config), 'c.json');
  const module = emitModule(only!, [], answerTo(only!, 0));
  t.is(surprise(module), undefined);
  t.regex(module, /^ \* <a\.h> of Linux 6\.1: a \*\\\/ process\.exit\(1\); \/\* b$/m);
});

test('a macro whose name cannot be one: a sentence says how to leave it out', (t) => {
  const select = (constants: readonly string[], without: readonly string[] = []) =>
    selectConstants(
      parseConfig(JSON.stringify({ headers: [{ header: 'a.h', about: 'A.', constants, without }] }), 'c.json')[0]!,
      macros,
    );
  const error = t.throws(() => select(['*']));
  t.true(isVirtioPmdError(error, 'EOPTION'));
  t.is(
    error!.message,
    '<a.h>: class, which * matches, cannot be a constant\'s name: TypeScript has that word for itself; exclude it with "without", or give it another name, as in "NAME = EXPRESSION"',
  );
  t.deepEqual(
    select(['*', 'KLASS = class'], ['c*', 'await', 'u8']).map(({ name }) => name),
    ['A', 'AB', 'NOTA', 'REMARK', 'KLASS'],
  );
});

test('a pattern means what the obvious regular expression means', (t) => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 10 });
  fc.assert(
    fc.property(
      letters,
      letters.map((name) => name.replaceAll('*', '')),
      (pattern, name) => {
        const expected = new RegExp(`^${pattern.replace(/\*+/g, '*').replaceAll('*', '.*')}$`).test(name);
        return matches(pattern, name) === expected;
      },
    ),
    { numRuns: 5000 },
  );
  t.pass();
});

test('no pattern runs for ever', (t) => {
  const begin = performance.now();
  const name = 'A'.repeat(10_000);
  t.false(matches(`${'*A'.repeat(63)}*B`, name));
  t.true(matches(`${'*A'.repeat(63)}*`, name));
  t.true(performance.now() - begin < 60_000);
});
