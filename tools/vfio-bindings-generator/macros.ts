/** Selects the constants of a header from its macros, in the order of the preprocessor's output. */
import { VirtioPmdError } from '../../native/errors.js';
import { didYouMean } from '../../native/nearest.js';
import type { HeaderWish } from './config.js';
import { matches, nameProblem } from './names.js';

export interface Macro {
  readonly name: string;
  /** Its replacement text in the header. */
  readonly body: string;
}

export interface Constant {
  readonly name: string;
  /** The expression that the compiler evaluates. */
  readonly expression: string;
  /** The macro's body; undefined when it is not a macro of the header itself. */
  readonly body: string | undefined;
}

/**
 * The macros that `header` itself defines, without those with arguments or an empty body.
 * @param text output of `cc -E -dD`: lines `# 1 "FILE"` give the origin of the lines after them
 */
export function macrosOf(text: string, header: string): readonly Macro[] {
  const found = new Map<string, Macro>();
  let inside = false;
  for (const line of text.split('\n')) {
    const path = /^# \d+ "(.*?)"/.exec(line)?.[1];
    if (path !== undefined) inside = path === header || path.endsWith(`/${header}`);
    else if (line.startsWith('#undef ')) found.delete(line.slice(7).trim());
    else if (inside) {
      const [, name, body] = /^#define (\w+)\s+(\S.*)$/.exec(line) ?? [];
      if (name !== undefined) found.set(name, { name, body: body!.trim().replace(/\s+/g, ' ') });
    }
  }
  return [...found.values()];
}

/** The constants that a configuration selects, each once. @throws VirtioPmdError EOPTION when a pattern matches none */
export function selectConstants(wish: HeaderWish, macros: readonly Macro[]): readonly Constant[] {
  const selected = new Map<string, Constant>();
  const add = (constant: Constant) => {
    if (!selected.has(constant.name)) selected.set(constant.name, constant);
  };
  for (const constant of wish.constants) {
    if ('name' in constant) {
      const body = macros.find(({ name }) => name === constant.expression)?.body;
      add({ ...constant, body: constant.name === constant.expression ? body : constant.expression });
      continue;
    }
    const meant = macros.filter(
      ({ name }) => matches(constant.pattern, name) && !wish.without.some((excluded) => matches(excluded, name)),
    );
    if (meant.length === 0) {
      const stem = constant.pattern.replaceAll('*', '');
      const names = macros.map(({ name }) => name);
      throw new VirtioPmdError(
        'EOPTION',
        `<${wish.header}> has no constant that ${constant.pattern} matches${didYouMean(stem, names)}`,
      );
    }
    for (const { name, body } of meant) {
      const taken = wish.structs.some((struct) => struct.name === name) ? 'a struct is called so' : undefined;
      const why = nameProblem(name) ?? taken;
      if (why !== undefined) {
        const remedy = 'exclude it with "without", or give it another name, as in "NAME = EXPRESSION"';
        throw new VirtioPmdError(
          'EOPTION',
          `<${wish.header}>: ${name}, which ${constant.pattern} matches, cannot be a constant's name: ${why}; ${remedy}`,
        );
      }
      add({ name, expression: name, body });
    }
  }
  return [...selected.values()];
}
