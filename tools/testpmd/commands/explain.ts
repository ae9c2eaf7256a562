/** The error text for a line that is not a command. */
import { nearest } from '../../../native/nearest.js';
import { grammar, readableSyntax } from './index.js';
import { splitWords, type Parsed } from './grammar.js';
import type { Testpmd } from '../testpmd.js';
import { whyUnsupported } from './unsupported.js';

/** Most usage lines in an error: with more the reason would be hard to find. */
const MOST_USAGES = 6;

export function explain(line: string, parsed: Exclude<Parsed<Testpmd>, { kind: 'command' }>): string {
  const words = splitWords(line);
  const why = whyUnsupported(words);
  if (why !== undefined) return why;
  if (parsed.kind === 'unknown') {
    const meant = nearest(words[0]!, grammar.verbs);
    return `Command not found${meant === undefined ? '' : `\n  did you mean ${meant}?`}`;
  }
  const { usage, fits, next } = parsed;
  if (usage.length <= MOST_USAGES) {
    return ['Bad arguments', ...usage.map((syntax) => `  ${readableSyntax(syntax)}`)].join('\n');
  }
  const begun = words.slice(0, fits).join(' ');
  const wrong = words[fits];
  if (wrong === undefined) return `Bad arguments\n  ${begun} what? One of ${[...next].sort().join(', ')} (help all)`;
  const meant = nearest(wrong, next);
  const hint = meant === undefined ? 'help all lists the commands' : `did you mean ${begun} ${meant}?`;
  return `Bad arguments\n  there is no ${begun} ${wrong}: ${hint}`;
}
