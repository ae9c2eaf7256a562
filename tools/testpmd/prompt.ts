/** Where commands come from: a terminal, a pipe, or a file. Commands run strictly one after the other. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { VirtioPmdError } from '../../native/errors.js';
import { grammar } from './commands.js';
import type { Testpmd } from './testpmd.js';

const PROMPT = 'testpmd> ';

/** Runs the commands of a file (--cmdline-file). @throws VirtioPmdError EOPTION when it cannot be read. */
export async function runFile(testpmd: Testpmd, path: string, echo: boolean): Promise<void> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new VirtioPmdError('EOPTION', `testpmd: --cmdline-file=${path}: ${(cause as Error).message}`, { cause });
  }
  for (const line of text.split('\n')) {
    if (testpmd.session.quitting) return;
    if (line.trim() === '') continue;
    if (echo) testpmd.session.print(`${PROMPT}${line}`);
    await testpmd.execute(line);
  }
  testpmd.session.print(`Read CLI commands from ${path}`);
}

/** Reads commands from stdin until `quit`, its end, or an interrupt. */
export async function prompt(testpmd: Testpmd): Promise<void> {
  const terminal = process.stdin.isTTY && process.stdout.isTTY;
  const lines = createInterface({
    input: process.stdin,
    ...(terminal ? { output: process.stdout } : {}),
    terminal,
    prompt: PROMPT,
    completer: (line: string) => [
      grammar.complete(line).map((word) => `${word} `),
      line.slice(line.lastIndexOf(' ') + 1),
    ],
  });
  const { session, interrupted } = testpmd;
  const waiting: string[] = [];
  await new Promise<void>((resolve, reject) => {
    let busy = false;
    let ended = false;
    const ask = () => (terminal ? lines.prompt() : void process.stdout.write(PROMPT));
    const drain = async () => {
      if (busy) return;
      busy = true;
      while (waiting.length > 0 && !session.quitting && !interrupted.aborted) {
        const line = waiting.shift()!;
        // a terminal has echoed what was typed
        if (!terminal) process.stdout.write(`${line}\n`);
        await testpmd.execute(line);
        if (!session.quitting) ask();
      }
      busy = false;
      if (ended || session.quitting || interrupted.aborted) resolve();
    };
    const step = () => drain().catch(reject);
    lines.on('line', (line) => {
      waiting.push(line);
      void step();
    });
    lines.on('close', () => {
      ended = true;
      void step();
    });
    // ^C in raw mode, of which nobody else hears: it takes back a half-typed line, and while a command runs it ends the program
    lines.on('SIGINT', () => {
      if (busy) return void process.kill(process.pid, 'SIGINT');
      process.stdout.write('\n');
      Object.assign(lines, { line: '', cursor: 0 });
      ask();
    });
    // readline has paused its input: with nothing to wait for, Node would end with exit code 13
    lines.on('SIGCONT', () => {
      if (!busy) lines.prompt(true);
    });
    interrupted.addEventListener('abort', () => void step(), { once: true });
    ask();
    if (interrupted.aborted) void step();
  });
  lines.close();
  process.stdin.destroy();
}
