/** Makes the text of a module, in Prettier's format. */
import type { FieldWish, HeaderWish, StructWish } from './config.js';
import type { Constant } from './macros.js';
import { commentText } from './names.js';
import type { Answer, FieldAnswer } from './probe.js';

/** A call that makes a field (see fields.ts), or the fields of an inner struct. */
type Node = string | Map<string, Node>;

/** A number as TypeScript: hexadecimal where the header has that or an expression, a bigint where a number is not exact. */
export function literal(value: bigint, body: string): string {
  if (value < 0n) return `-${literal(-value, body)}`;
  const hexadecimal = /0x|<<|[|~]|\b_IO/i.test(body);
  const suffix = value > BigInt(Number.MAX_SAFE_INTEGER) ? 'n' : '';
  return (hexadecimal ? `0x${value.toString(16)}` : value.toString()) + suffix;
}

/** A comment with the body of a macro, where that says more than the value. */
function remark(body: string): string {
  const words = body.replace(/\b(0x[\da-f]+|\d+)[ul]*\b/gi, '');
  return /[A-Za-z_']/.test(words) && !body.includes('*/') ? `/** ${body} */\n` : '';
}

function emitConstant({ name, body = '' }: Constant, value: bigint): string {
  return `${remark(body)}export const ${name} = ${literal(value, body)};\n`;
}

/** The call that makes a field. @param used gets the functions that it uses */
function maker({ array }: FieldWish, { offset, size, kind }: FieldAnswer, used: Set<string>): string {
  const call = (name: string, ...args: readonly (string | number)[]) => {
    used.add(name);
    return `${name}(${args.join(', ')})`;
  };
  const numbers = (element: string, ...length: readonly number[]) => {
    used.add(element);
    return call('numbers', element, offset, ...length);
  };
  const element = kind.replace('[]', '');
  if (array) return kind === 'bytes' ? call('elements', offset, size) : numbers(element);
  if (kind === element && kind !== 'bytes') return call(kind, offset);
  const width = Number(element.replace(/\D+/, '')) / 8;
  return width > 1 ? numbers(element, size / width) : call('bytes', offset, size);
}

function emitTree(tree: Map<string, Node>, indent: string): string {
  let text = '';
  for (const [name, node] of tree) {
    const inner = typeof node === 'string' ? node : `{\n${emitTree(node, `${indent}  `)}${indent}}`;
    text += `${indent}${name}: ${inner},\n`;
  }
  return text;
}

function emitStruct(struct: StructWish, size: number, answers: readonly FieldAnswer[], used: Set<string>): string {
  const tree = new Map<string, Node>();
  for (const [i, field] of struct.fields.entries()) {
    const names = field.path.split('.');
    const last = names.pop()!;
    let at = tree;
    for (const name of names) {
      const inner = at.get(name) ?? new Map<string, Node>();
      at.set(name, inner);
      at = inner as Map<string, Node>; // config.ts refuses a field together with its parts
    }
    at.set(last, maker(field, answers[i]!, used));
  }
  const fields = emitTree(tree, '  ');
  return `/** ${commentText(struct.about)} */\nexport const ${struct.name} = {\n  sizeof: ${size},\n${fields}} as const;\n`;
}

export function emitModule(wish: HeaderWish, constants: readonly Constant[], answer: Answer): string {
  const used = new Set<string>();
  const answers = answer.fields.values();
  const structs = wish.structs.map((struct, i) =>
    emitStruct(
      struct,
      answer.sizes[i]!,
      Array.from(struct.fields, () => answers.next().value!),
      used,
    ),
  );
  const version = `${answer.linux >> 16}.${(answer.linux >> 8) & 0xff}`;
  const head =
    `/**\n * <${wish.header}> of Linux ${version}: ${commentText(wish.about)}\n` +
    ' * Written by vfio-bindings-generator, which asked the C compiler; do not edit.\n */\n';
  const imports = used.size > 0 ? `import { ${[...used].sort().join(', ')} } from './fields.js';\n` : '';
  const values = constants.map((constant, i) => emitConstant(constant, answer.constants[i]!)).join('');
  return [head + imports, values, ...structs].filter((part) => part !== '').join('\n');
}
