/** What may become a name in TypeScript and in the C program, and which names a pattern means. */
import * as fields from './fields.js';

/** Words that no constant of a module can be called, and names that objects have already. */
const reserved = new Set(
  (
    'arguments await break case catch class const constructor continue debugger default delete do else enum eval export ' +
    'extends false finally for function globalThis if implements import in instanceof interface let new null package private ' +
    'protected prototype public return static super switch this throw true try typeof undefined var void while with yield ' +
    '__proto__'
  ).split(' '),
);

/** As a field, every word is good but these, which objects have already. */
const inherited = new Set(['__proto__', 'constructor', 'prototype', 'sizeof']);

/** Modules import them. */
export const FIELD_FUNCTIONS: readonly string[] = Object.keys(fields);

const LONGEST = 128;

/** A name in C. Those of the C program that asks (probe.ts) begin with vbg_. */
const isIdentifier = (word: string): boolean =>
  /^[A-Za-z_]\w*$/.test(word) && word.length <= LONGEST && !/^vbg_/i.test(word);

/** Why `name` cannot be that of a constant or of a struct's object, or undefined. */
export function nameProblem(name: string): string | undefined {
  if (!isIdentifier(name)) return 'it is no name';
  if (reserved.has(name)) return 'TypeScript has that word for itself';
  return FIELD_FUNCTIONS.includes(name) ? 'fields.ts has a function of that name' : undefined;
}

export const isFieldName = (word: string): boolean => isIdentifier(word) && !inherited.has(word);

export const isPattern = (word: string): boolean => /^[\w*]+$/.test(word) && word.length <= LONGEST;

/**
 * Whether `pattern`, in which * means anything, means `name`. At most as many steps as one length times the other, which no
 * regular expression with several stars promises.
 */
export function matches(pattern: string, name: string): boolean {
  let p = 0;
  let star = -1; // the last one so far, and how far what it stands for goes
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
 * Why `expression` is no constant expression that may go into the C program, or undefined: without braces, semicolons, quotes and
 * directives it cannot be anything but an expression, and it ends where it should.
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

/** Text for the inside of a comment: it does not end it. */
export const commentText = (text: string): string => text.replaceAll('*/', '*\\/');
