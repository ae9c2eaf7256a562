/**
 * The command language: a table of rows, each with its syntax as text. The table is used for parsing, completion and help.
 * Syntax: words; `(a|b)` or `name:(a|b)` one of several; `<name>` any word; `<name:type>` a checked one; the last item may be
 * in brackets, which makes it optional.
 */
import { isModePath } from '../engines/modes.js';
import { parseUnsigned, U16_MAX } from '../../common/values.js';

type Type = 'text' | 'u16' | 'u32' | 'port' | 'module';

/** A position in a command. */
export interface Place {
  readonly name: string;
  readonly type: Type;
}

interface Token extends Place {
  /** The accepted words; undefined: any word. */
  readonly words: readonly string[] | undefined;
  readonly optional: boolean;
}

const checks: Readonly<Record<Type, (word: string) => boolean>> = {
  text: () => true,
  u16: (word) => parseUnsigned(word, 0, U16_MAX) !== undefined,
  u32: (word) => parseUnsigned(word) !== undefined,
  module: isModePath,
  port: (word) => word === 'all' || parseUnsigned(word, 0, U16_MAX) !== undefined,
};

export function parseSyntax(syntax: string): Token[] {
  return syntax.split(' ').map((item) => {
    const optional = item.startsWith('[');
    const [, name, words, parameter, type] = /^\[?(?:(\w+):)?(?:\(([^)]+)\)|<(\w+)(?::(\w+))?>|.*?)\]?$/.exec(item)!;
    if (parameter !== undefined) return { name: parameter, words: undefined, type: (type ?? 'text') as Type, optional };
    const alternatives = words === undefined ? [item.replace(/^\[|\]$/g, '')] : words.split('|');
    return { name: name ?? alternatives[0]!, words: alternatives, type: 'text', optional };
  });
}

/** The arguments of a command, by the names in its syntax. */
export class Args {
  constructor(private readonly words: ReadonlyMap<string, string>) {}

  has(name: string): boolean {
    return this.words.has(name);
  }

  text(name: string): string {
    return this.words.get(name)!;
  }

  number(name: string): number {
    return Number(this.words.get(name));
  }

  /** A port id, or 'all'. */
  port(name = 'port'): number | 'all' {
    const word = this.text(name);
    return word === 'all' ? word : Number(word);
  }
}

const accepts = (token: Token, word: string) => (token.words ? token.words.includes(word) : checks[token.type](word));

/** @returns the arguments, or how many words matched. */
function match(tokens: readonly Token[], words: readonly string[]): Args | number {
  const args = new Map<string, string>();
  for (let i = 0; i < words.length; i++) {
    const token = tokens[i];
    if (!token || !accepts(token, words[i]!)) return i;
    args.set(token.name, words[i]!);
  }
  const next = tokens[words.length];
  return next && !next.optional ? words.length : new Args(args);
}

/** Whether `words` begin with a match of `tokens`; any words may follow. */
export function matchesBeginning(tokens: readonly Token[], words: readonly string[]): boolean {
  return words.length >= tokens.length && tokens.every((token, i) => accepts(token, words[i]!));
}

export interface Row<T> {
  readonly syntax: string;
  readonly help: string;
  readonly run: (target: T, args: Args) => void | Promise<void>;
}

export type Parsed<T> =
  | { readonly kind: 'command'; readonly row: Row<T>; readonly args: Args }
  /** No command begins with these words. */
  | { readonly kind: 'unknown' }
  /**
   * A command begins with these words, but the rest does not match: the rows that matched most words, how many, and the words
   * that could come next.
   */
  | {
      readonly kind: 'bad';
      readonly usage: readonly string[];
      readonly fits: number;
      readonly next: readonly string[];
    };

export class Grammar<T> {
  private readonly rows: readonly { readonly row: Row<T>; readonly tokens: readonly Token[] }[];

  constructor(rows: readonly Row<T>[]) {
    this.rows = rows.map((row) => ({ row, tokens: parseSyntax(row.syntax) }));
  }

  parse(line: string): Parsed<T> {
    const words = splitWords(line);
    let best = 0;
    let usage: string[] = [];
    let next = new Set<string>();
    for (const { row, tokens } of this.rows) {
      const result = match(tokens, words);
      if (result instanceof Args) return { kind: 'command', row, args: result };
      if (result > best) {
        best = result;
        usage = [];
        next = new Set();
      }
      if (result !== best) continue;
      usage.push(row.syntax);
      for (const word of tokens[best]?.words ?? []) next.add(word);
    }
    return best === 0 ? { kind: 'unknown' } : { kind: 'bad', usage, fits: best, next: [...next] };
  }

  /**
   * Completes the last, perhaps unfinished, word of `line`.
   * @param valuesOf further words for a position, besides those of the table
   */
  complete(line: string, valuesOf: (place: Place) => readonly string[] = () => []): string[] {
    const words = splitWords(line);
    const partial = line === '' || line.endsWith(' ') ? '' : words.pop()!;
    const found = new Set<string>();
    for (const { tokens } of this.rows) {
      const token = tokens[words.length];
      if (!token || !words.every((word, i) => accepts(tokens[i]!, word))) continue;
      for (const word of token.words ?? valuesOf(token)) if (word.startsWith(partial)) found.add(word);
    }
    return [...found].sort();
  }

  /** First words of all commands. */
  get verbs(): ReadonlySet<string> {
    return new Set(this.rows.flatMap(({ tokens }) => tokens[0]!.words ?? []));
  }
}

export function splitWords(line: string): string[] {
  return line.split(/\s+/).filter((word) => word !== '');
}
