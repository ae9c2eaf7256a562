/** A program with a prompt inside the guest: commands in through a fifo, its output in a file that is read again and again. */
import { sleep } from '../../support/peers.js';
import type { Guest } from './guest.js';

const POLL_MS = 200;

/** One word of shell. */
export const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

export class GuestProcess {
  /** All that it wrote, stdout and stderr as they came. */
  output = '';
  /** Where `waitFor` looks from: behind the last match. */
  private cursor = 0;
  private exitCode: number | undefined;

  private constructor(
    private readonly guest: Guest,
    readonly name: string,
    private readonly directory: string,
  ) {}

  /** @param directory a new one, for what goes in and out */
  static async start(guest: Guest, name: string, directory: string, command: string): Promise<GuestProcess> {
    const d = directory;
    const inner = quote(`echo $$ >${d}/pid; exec ${command}`);
    // `<>`: the fifo has a reader and a writer at once, so that neither end waits for the other
    const outer = `sh -c ${inner} <>${d}/in >${d}/out 2>&1; echo $? >${d}/code.new; mv ${d}/code.new ${d}/code`;
    await guest.ok(`mkdir ${d}; mkfifo ${d}/in; (${outer}) >/dev/null 2>&1 &`);
    return new GuestProcess(guest, name, d);
  }

  /** Types one line. */
  async send(line: string): Promise<void> {
    await this.guest.ok(`echo ${quote(line)} 1<>${this.directory}/in`);
  }

  /** Reads what it wrote since, and whether it still runs. */
  private async poll(): Promise<void> {
    const d = this.directory;
    // the code first: once it is there, so is all output
    const answer = await this.guest.ok(
      `cat ${d}/code 2>/dev/null || echo; tail -c +${this.output.length + 1} ${d}/out`,
    );
    const end = answer.indexOf('\n');
    this.output += answer.slice(end + 1);
    if (end > 0) this.exitCode = Number(answer.slice(0, end));
  }

  /** Waits for `pattern` in what came since the last match. @throws Error with the end of its output */
  async waitFor(pattern: RegExp, ms = 60_000): Promise<RegExpExecArray> {
    const deadline = Date.now() + ms;
    for (;;) {
      await this.poll();
      const match = pattern.exec(this.output.slice(this.cursor));
      if (match) {
        this.cursor += match.index + match[0].length;
        return match;
      }
      const ended = this.exitCode !== undefined;
      if (ended || Date.now() > deadline) {
        const why = ended ? `ended (exit code ${this.exitCode})` : `nothing in ${ms} ms`;
        throw new Error(`${this.name}: ${why} while waiting for ${pattern}:\n${this.output.slice(-3000)}`);
      }
      await sleep(POLL_MS);
    }
  }

  /** Types a command and waits for its answer. */
  async ask(command: string, pattern: RegExp, ms?: number): Promise<RegExpExecArray> {
    await this.poll();
    this.cursor = this.output.length;
    await this.send(command);
    return this.waitFor(pattern, ms);
  }

  /** Waits until it has ended. @returns its exit code */
  async end(ms = 30_000): Promise<number> {
    const deadline = Date.now() + ms;
    while (this.exitCode === undefined) {
      await this.poll();
      if (Date.now() > deadline)
        throw new Error(`${this.name}: has not ended in ${ms} ms:\n${this.output.slice(-3000)}`);
      if (this.exitCode === undefined) await sleep(POLL_MS);
    }
    return this.exitCode;
  }

  async pid(): Promise<number> {
    return Number(await this.guest.ok(`cat ${this.directory}/pid`));
  }

  async terminate(): Promise<void> {
    await this.signal('TERM');
  }

  /** @param name without SIG */
  async signal(name: string): Promise<void> {
    await this.guest.ok(`kill -${name} $(cat ${this.directory}/pid)`);
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    const { directory: d, guest } = this;
    await guest.run(`[ -e ${d}/code ] || kill -9 $(cat ${d}/pid)`).catch(() => {}); // the guest has ended before it
  }
}
