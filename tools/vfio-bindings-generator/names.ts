/** Checks of names for TypeScript and for the C program, and matching of patterns. */
import * as fields from './fields.js';

/** Words that cannot be the name of a module's constant, and inherited names of objects. */
const reserved = new Set(
  (
    'arguments await break case catch class const constructor continue debugger default delete do else enum eval export ' +
    'extends false finally for function globalThis if implements import in instanceof interface let new null package private ' +
    'protected prototype public return static super switch this throw true try typeof undefined var void while with yield ' +
    '__proto__'
  ).split(' '),
);

/** Names that a field cannot have, because objects have them already. */
const inherited = new Set(['__proto__', 'constructor', 'prototype', 'sizeof']);

/** The functions of fields.ts, which modules import. */
export const FIELD_FUNCTIONS: readonly string[] = Object.keys(fields);

const LONGEST = 128;

/** Whether a word is a valid name in C. Names that begin with vbg_ are reserved for the C program of probe.ts. */
const isIdentifier = (word: string): boolean =>
  /^[A-Za-z_]\w*$/.test(word) && word.length <= LONGEST && !/^vbg_/i.test(word);

/** Why `name` cannot be the name of a constant or of a struct's object; undefined when it can. */
export function nameProblem(name: string): string | undefined {
  if (!isIdentifier(name)) return 'it is no name';
  if (reserved.has(name)) return 'TypeScript has that word for itself';
  return FIELD_FUNCTIONS.includes(name) ? 'fields.ts has a function of that name' : undefined;
}

export const isFieldName = (word: string): boolean => isIdentifier(word) && !inherited.has(word);

export const isPattern = (word: string): boolean => /^[\w*]+$/.test(word) && word.length <= LONGEST;

/**
 * Whether `pattern`, in which * stands for any text, matches `name`. The number of steps is at most the product of the
 * lengths, which a regular expression with several stars does not guarantee.
 */
export function matches(pattern: string, name: string): boolean {
  let p = 0;
  let star = -1; // position of the last star, and the end of the text that it matches
  let end = 0;
  for (let n = 0; n < name.length;) {
    if (pattern[p] === '*') {
      star = p++;
      end = n;
    } else if (pattern[p] === name[n]) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++end;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

/**
 * Why `expression` must not go into the C program; undefined when it may. Without braces, semicolons, quotes and directives
 * it can only be an expression, and cannot end early.
 */
export function expressionProblem(expression: string): string | undefined {
  const stray = /[^\w\s()[\]+\-*/%<>=!&|^~?:,.]/.exec(expression)?.[0];
  if (stray !== undefined) return `${JSON.stringify(stray)} has no place in it`;
  if (/\/[/*]/.test(expression)) return 'a comment has no place in it';
  if (/\bvbg_/i.test(expression)) return 'names that begin with vbg_ are not those of headers';
  let depth = 0;
  for (const char of expression) {
    if (char === '(') depth++;
    if (char === ')' && --depth < 0) break;
  }
  return depth === 0 ? undefined : 'its brackets do not match';
}

/** Escapes text for a comment, so that it does not end the comment. */
export const commentText = (text: string): string => text.replaceAll('*/', '*\\/');
