/** Reads commands from a terminal, a pipe, or a file. Commands run strictly one after the other. */
import { clearScreenDown, createInterface, cursorTo, moveCursor } from 'node:readline';
import { VirtioPmdError } from '../../native/errors.js';
import { complain, keepTyped } from '../common/eal-program.js';
import { understandsEscapes } from '../common/terminal.js';
import { LONGEST_LINE, linesOf, linesOfFile } from './commands/lines.js';
import { grammar } from './commands/index.js';
import { execute } from './commands/execute.js';
import type { Testpmd } from './testpmd.js';

const PROMPT = 'testpmd> ';

/** Most lines that wait for a command to end; when more are pasted, reading stops. */
const MOST_WAITING = 64;

/** Characters, the limit of the kernel's line editor; readline's time grows with the square of the length. */
const LONGEST_TYPED = 4096;

const leftOut = (most: number) => complain(`testpmd: a line of more than ${most} characters is left out`);

/** Runs the commands of a file (--cmdline-file). @throws VirtioPmdError EOPTION when it cannot be read. */
export async function runFile(testpmd: Testpmd, path: string, echo: boolean): Promise<void> {
  const { session, interrupted } = testpmd;
  for await (const line of linesOfFile('cmdline-file', path, interrupted, complain)) {
    if (line.trim() === '') continue;
    if (echo) session.print(`${PROMPT}${line}`);
    await execute(testpmd, line);
    if (session.quitting || interrupted.aborted) return;
  }
  if (!interrupted.aborted) session.print(`Read CLI commands from ${path}`);
}

/** Reads commands from stdin until `quit`, its end, or an interrupt. @throws VirtioPmdError ESYSTEM when it cannot be read. */
export async function prompt(testpmd: Testpmd): Promise<void> {
  try {
    if (process.stdin.isTTY && understandsEscapes()) await readTerminal(testpmd);
    else await readLines(testpmd);
  } catch (error) {
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    // EIO: the terminal is gone, and SIGHUP will follow
    if (code !== 'EIO') throw new VirtioPmdError('ESYSTEM', `cannot read commands from stdin: ${message}`);
  } finally {
    process.stdin.destroy();
  }
}

/** Reads from a pipe, a file, or a terminal without escape codes, without line editing. */
async function readLines(testpmd: Testpmd): Promise<void> {
  const { session, interrupted } = testpmd;
  const ask = () => void process.stdout.write(PROMPT);
  const tooLong = () => leftOut(LONGEST_LINE);
  // a terminal has echoed what was typed
  const echo = !(process.stdin.isTTY && process.stdout.isTTY);
  ask();
  for await (const line of linesOf(process.stdin, interrupted, tooLong)) {
    if (echo) process.stdout.write(`${line}\n`);
    await execute(testpmd, line);
    if (session.quitting) return;
    ask();
  }
}

/** The words that may come next, with the current port ids. */
function complete({ session }: Testpmd, line: string): [string[], string] {
  const ids = session.portIds.map(String);
  const words = grammar.complete(line, ({ name, type }) => {
    if (type === 'port') return [...ids, 'all'];
    return type === 'u16' && name === 'port' ? ids : [];
  });
  return [words.map((word) => `${word} `), /\S*$/.exec(line)![0]];
}

async function readTerminal(testpmd: Testpmd): Promise<void> {
  const { session, interrupted } = testpmd;
  const { stdin, stdout } = process;
  const lines = createInterface({
    input: stdin,
    output: stdout,
    terminal: true,
    prompt: PROMPT,
    completer: (line: string) => complete(testpmd, line),
  });
  // readline treats a TAB as text when it was read together with other characters: two TABs, or a slow terminal
  Object.defineProperty(lines, 'isCompletionEnabled', { get: () => true, set: () => {} });
  const waiting: string[] = [];
  let busy = false;
  // keeps text that was typed ahead
  const ask = () => lines.prompt(true);
  // prevRows: readline goes up by as many before it draws
  const forget = () => void Object.assign(lines, { line: '', cursor: 0, prevRows: 0 });
  const hide = () => {
    if (busy) return;
    moveCursor(stdout, 0, -lines.getCursorPos().rows);
    cursorTo(stdout, 0);
    clearScreenDown(stdout);
    Object.assign(lines, { prevRows: 0 });
  };
  const show = () => {
    if (!busy) ask();
  };
  keepTyped({ hide, show });
  const resumed = () => {
    // the shell may have changed the terminal's mode, and libuv does not set a mode that it believes to be set
    stdin.setRawMode(false);
    stdin.setRawMode(true);
    show();
  };
  process.on('SIGCONT', resumed);
  try {
    await new Promise<void>((resolve, reject) => {
      let ended = false;
      const drain = async () => {
        if (busy) return;
        busy = true;
        while (waiting.length > 0 && !session.quitting && !interrupted.aborted) {
          await execute(testpmd, waiting.shift()!);
          if (!session.quitting && !interrupted.aborted && !ended) ask();
        }
        busy = false;
        if (ended || session.quitting || interrupted.aborted) resolve();
        else lines.resume();
      };
      const step = () => drain().catch(reject);
      // in the middle of a line that is dropped
      let skipping = false;
      const skip = () => {
        hide();
        forget();
        if (skipping) show();
        else leftOut(LONGEST_TYPED);
        skipping = true;
      };
      stdin.on('data', () => {
        if (skipping || lines.line.length > LONGEST_TYPED) skip();
      });
      lines.on('line', (line) => {
        if (skipping || line.length > LONGEST_TYPED) {
          skip();
          skipping = false;
          return;
        }
        waiting.push(line);
        if (waiting.length >= MOST_WAITING) lines.pause();
        void step();
      });
      lines.on('close', () => {
        ended = true;
        void step();
      });
      lines.on('error', reject);
      // ^C in raw mode is no signal: it clears a partly typed line, and while a command runs it ends the program
      lines.on('SIGINT', () => {
        if (busy) return void process.kill(process.pid, 'SIGINT');
        stdout.write('\n');
        forget();
        skipping = false;
        ask();
      });
      // readline has paused its input: with nothing to wait for, Node would end with exit code 13
      lines.on('SIGCONT', () => lines.resume());
      interrupted.addEventListener('abort', () => void step(), { once: true });
      ask();
      if (interrupted.aborted) void step();
    });
  } finally {
    process.off('SIGCONT', resumed);
    keepTyped(undefined);
    lines.close();
  }
}
