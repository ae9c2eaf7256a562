/** Runs the C compiler and the compiled program. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VirtioPmdError } from '../../native/errors.js';

export interface Compiler {
  readonly command: string;
  /** Include directories that are searched before those of the system. */
  readonly includes: readonly string[];
}

/** Time limit of the compiler, long enough for a busy machine. */
const TIMEOUT_MS = 300_000;

interface Outcome {
  readonly good: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command. @throws VirtioPmdError ESYSTEM. @param absent makes the message when the command does not exist */
function run(command: string, args: readonly string[], input = '', absent = (why: string) => why): Outcome {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    input,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
    env: { ...process.env, LC_ALL: 'C' }, // error messages in English, with plain quotes
  });
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (signal !== null) {
    const why = code === 'ETIMEDOUT' ? `: it did not end within ${TIMEOUT_MS / 1000} s` : '';
    throw new VirtioPmdError('ESYSTEM', `${command} was ended by ${signal}${why}`);
  }
  // EPIPE: it ended before it had read all input, and has printed why
  if (error !== undefined && code !== 'EPIPE') {
    throw new VirtioPmdError('ESYSTEM', absent(`${command} cannot be run [${code ?? error.message}]`));
  }
  return { good: status === 0, stdout, stderr };
}

function compile({ command, includes }: Compiler, args: readonly string[], source: string): Outcome {
  const folders = includes.map((path) => `-I${path}`);
  return run(command, ['-x', 'c', '-std=gnu11', '-w', ...folders, ...args, '-'], source, (why) => {
    const what = 'install one (Debian: apt-get install gcc libc6-dev) or name it with --cc';
    return `a C compiler is needed: ${why}; ${what}`;
  });
}

/** Runs the preprocessor. @returns its output for the header, including macros, or its error message. */
export function preprocess(compiler: Compiler, header: string): Outcome {
  return compile(compiler, ['-E', '-dD'], `#include <${header}>\n`);
}

/** Compiles a program and runs it. @returns its output, or the compiler's error message. */
export function ask(compiler: Compiler, source: string): Outcome {
  const scratch = mkdtempSync(join(tmpdir(), 'vpmd-bindings-'));
  try {
    const program = join(scratch, 'probe');
    const compiled = compile(compiler, ['-o', program], source);
    return compiled.good ? run(program, []) : compiled;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
