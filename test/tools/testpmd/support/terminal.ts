/** Programs on a terminal of their own, as in a window: util-linux's `script` has its other end. */
import type { ExecutionContext } from 'ava';
import { startPeer, type Peer } from '../../../support/peers.js';

const quoted = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;

/** What reaches a shell unchanged. */
export const shellLine = (words: readonly string[]) => words.map(quoted).join(' ');

const COLUMNS = 80;

/** A terminal on which bash runs `line`, with job control. What it shows is the output, see `screenOf`. */
export function startTerminal(t: ExecutionContext, line: string, env: NodeJS.ProcessEnv = {}): Peer {
  const shell = `stty cols ${COLUMNS} rows 24; ${line}`;
  const args = ['--quiet', '--return', '--command', shellLine(['bash', '-mc', shell]), '/dev/null'];
  return startPeer(t, 'terminal', 'script', args, { ...process.env, TERM: 'xterm', ...env });
}

/** The rows of a terminal after `output`: line ends, cursor movements and deletions are done, older rows are kept. */
export function screenOf(output: string): string[] {
  const rows = [''];
  let row = 0;
  let column = 0;
  const down = () => {
    if (++row === rows.length) rows.push('');
  };
  const put = (character: string) => {
    if (column === COLUMNS) {
      down();
      column = 0;
    }
    const text = rows[row]!.padEnd(column);
    rows[row] = text.slice(0, column) + character + text.slice(column + 1);
    column++;
  };
  for (const [code, count, letter] of output.matchAll(/\x1b\[(\d*)([A-Z])|[^]/g)) {
    const n = Number(count || 1);
    if (code === '\n') down();
    else if (code === '\r') column = 0;
    else if (code === '\x07') continue;
    else if (letter === undefined && code !== '\x1b') put(code);
    else if (letter === 'A') row = Math.max(0, row - n);
    else if (letter === 'C') column = Math.min(COLUMNS - 1, column + n);
    else if (letter === 'D') column = Math.max(0, column - n);
    else if (letter === 'G') column = n - 1;
    else if (letter === 'J' || letter === 'K') {
      if (letter === 'J') rows.length = row + 1;
      rows[row] = rows[row]!.slice(0, column);
    } else throw new Error(`an escape code that is not known here: ${JSON.stringify(code)}`);
  }
  return rows.map((text) => text.trimEnd());
}
