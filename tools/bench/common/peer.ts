/** Programs with a prompt, such as testpmd, as child processes: sends commands, and waits for patterns in the output. */
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { VirtioPmdError, type ErrorCode } from '../../../native/errors.js';

/** Root of the repository: working directory of every child. */
export const root = fileURLToPath(new URL('../../..', import.meta.url));

/** The running children. They end with this process, however it ends: they poll, and would never stop by themselves. */
const running = new Set<ChildProcess>();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A child process whose stdin takes commands and whose output is kept. */
export class Peer {
  /** All output so far, stdout and stderr in the order of arrival. */
  output = '';
  /** Where `waitFor` begins to search: behind the last match. */
  private cursor = 0;
  private readonly child: ChildProcess;
  private readonly exited: Promise<string>;
  private status: string | undefined;
  private readonly waiting = new Set<() => void>();

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = process.env,
  ) {
    this.child = spawn(command, args, { cwd: root, env, stdio: ['pipe', 'pipe', 'pipe'] });
    running.add(this.child);
    this.child.stdin!.on('error', () => {}); // the process has ended: `waitFor` reports it
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
      this.wake();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.insertErrors(text);
      this.wake();
    });
    this.exited = new Promise((resolve) => {
      const end = (status: string) => {
        this.status ??= status;
        running.delete(this.child);
        this.wake();
        resolve(this.status);
      };
      this.child.on('error', (error) => end(error.message));
      this.child.on('close', (code, signal) => end(signal ?? `exit code ${code}`));
    });
  }

  /** Inserts stderr before a line that stdout has begun: it may arrive in the middle of "testpmd> ". */
  private insertErrors(text: string): void {
    const at = Math.max(this.cursor, this.output.lastIndexOf('\n') + 1);
    this.output = this.output.slice(0, at) + text + this.output.slice(at);
  }

  private wake(): void {
    for (const check of this.waiting) check();
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** How the process ended; undefined while it runs. */
  get ended(): string | undefined {
    return this.status;
  }

  /** Sends one line. */
  send(command: string): void {
    this.type(`${command}\n`);
  }

  /** Sends characters without a newline. */
  type(keys: string): void {
    this.child.stdin!.write(keys);
  }

  /** Closes its input, like Ctrl-D. */
  endInput(): void {
    this.child.stdin!.end();
  }

  /**
   * Waits for `pattern` in the output since the last match.
   * @throws VirtioPmdError with the end of its output: ETIMEOUT after `ms` milliseconds, EPEER when the process ends first.
   */
  waitFor(pattern: RegExp, ms = 20_000): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        this.waiting.delete(check);
        act();
      };
      const fail = (code: ErrorCode, why: string) =>
        settle(() =>
          reject(
            new VirtioPmdError(code, `${this.name}: ${why} while waiting for ${pattern}:\n${this.output.slice(-3000)}`),
          ),
        );
      const check = () => {
        const match = pattern.exec(this.output.slice(this.cursor));
        if (match) {
          this.cursor += match.index + match[0].length;
          settle(() => resolve(match));
        } else if (this.status !== undefined) {
          fail('EPEER', `ended (${this.status})`);
        }
      };
      const timer = setTimeout(() => fail('ETIMEOUT', `nothing in ${ms} ms`), ms);
      this.waiting.add(check);
      check();
    });
  }

  /** Sends a command and waits for its answer. */
  ask(command: string, pattern: RegExp, ms?: number): Promise<RegExpExecArray> {
    this.cursor = this.output.length;
    this.send(command);
    return this.waitFor(pattern, ms);
  }

  /** Resolves with how it ended. */
  end(): Promise<string> {
    return this.exited;
  }

  /** Sends SIGKILL: the process cannot close its connections properly. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  /** Sends `quit`; SIGTERM after 5 s, SIGKILL after 10. Resolves with how it ended. */
  async stop(): Promise<string> {
    if (this.status !== undefined) return this.status;
    this.send('quit');
    const timers = [
      setTimeout(() => this.child.kill('SIGTERM'), 5_000),
      setTimeout(() => this.child.kill('SIGKILL'), 10_000),
    ];
    const status = await this.exited;
    timers.forEach(clearTimeout);
    return status;
  }
}
