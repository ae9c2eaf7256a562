/** Our programs from source, as processes whose output the test stops reading, and which it sends signals to. */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { root } from '../../../tools/bench/common/peer.js';
import { ourCpu, peerCpu, temporaryDirectory } from '../../support/peers.js';

export class Program {
  stdout = '';
  stderr = '';
  /** How it ended: `exit code 0`, or the name of a signal. */
  readonly ended: Promise<string>;
  private readonly child: ChildProcess;
  private look = () => {};

  /**
   * @param output where stdout goes instead of to the test: a file descriptor
   * @param redirection of a shell's, such as `</dev/null`
   */
  constructor(
    t: ExecutionContext,
    folder: string,
    args: readonly string[],
    env = {},
    output?: number,
    redirection?: string,
  ) {
    const own = [process.execPath, '--import', './tools/ts.mjs', `tools/${folder}/main.ts`, ...args];
    const shell = redirection === undefined ? [] : ['sh', '-c', `exec "$@" ${redirection}`, 'sh'];
    const [command, ...words] = [...shell, ...own];
    this.child = spawn(command!, words, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['pipe', output ?? 'pipe', 'pipe'],
    });
    t.teardown(() => void this.child.kill('SIGKILL'));
    this.child.stdin!.on('error', () => {}); // it has ended: the test sees that
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.look();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.look();
    });
    this.ended = new Promise((resolve) =>
      this.child.on('close', (code, signal) => {
        resolve(signal ?? `exit code ${code}`);
        this.look();
      }),
    );
  }

  /** Waits for a text on stdout or stderr. @throws Error when it ends first, or after a minute */
  async waitFor(pattern: RegExp): Promise<void> {
    let ended: string | undefined;
    void this.ended.then((how) => (ended = how));
    const deadline = setTimeout(() => ((ended ??= 'a minute'), this.look()), 60_000);
    const said = () => this.stdout + this.stderr;
    try {
      while (!pattern.test(said())) {
        if (ended !== undefined) throw new Error(`${ended} without ${pattern}:\n${said().slice(-3000)}`);
        await new Promise<void>((resolve) => (this.look = () => setImmediate(resolve)));
      }
    } finally {
      clearTimeout(deadline);
    }
  }

  type(line: string): void {
    this.child.stdin!.write(`${line}\n`);
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.child.pid!, name);
  }

  /** `| head -1` has seen enough. */
  closeOutput(): void {
    this.child.stdout!.destroy();
  }
}

const lcores = ['--lcores', `0@${peerCpu},1@${ourCpu}`, '--no-huge', '--no-pci'];

/** A program that runs until it is told not to. */
export interface Lasting {
  readonly name: string;
  /** Starts it and waits until it is at work. @returns the folder with what it makes, which has to be empty at the end */
  start(t: ExecutionContext): Promise<{ readonly program: Program; readonly made: string }>;
  /** Makes it print, so that it finds out that nobody reads; undefined when it does not print. */
  readonly print: ((program: Program) => void) | undefined;
  /** Exit code after a signal. */
  readonly after: (number: number) => number;
}

/** A port that listens, with vhost-switch at the other end. */
async function withSwitch(t: ExecutionContext, folder: string, argsFor: (vdev: string) => string[], ready: RegExp) {
  const made = temporaryDirectory(t);
  const path = join(made, 's');
  const program = new Program(t, folder, argsFor(`net_virtio_user0,path=${path},server=1`));
  new Program(t, 'vhost-switch', ['--client', '--socket-file', path]);
  await program.waitFor(ready);
  return { program, made };
}

export const lasting: readonly Lasting[] = [
  {
    name: 'testpmd at its prompt, forwarding',
    start: async (t) => {
      const args = (vdev: string) => [...lcores, '--vdev', vdev, '--', '-i', '-a'];
      return withSwitch(t, 'testpmd', args, /Start automatic[^]*testpmd> /);
    },
    print: (program) => program.type('show port stats all'),
    after: () => 0,
  },
  {
    name: 'testpmd --stats-period',
    start: async (t) => {
      const args = (vdev: string) => [...lcores, '--vdev', vdev, '--', '--stats-period=1'];
      return withSwitch(t, 'testpmd', args, /Port statistics =/);
    },
    print: () => {},
    after: () => 0,
  },
  {
    name: 'testpmd that waits for the other end of its first port',
    start: async (t) => {
      const made = temporaryDirectory(t);
      const vdev = ['--vdev', `net_virtio_user0,path=${join(made, 's')},server=1`];
      const program = new Program(t, 'testpmd', [...lcores, ...vdev, '--', '-i']);
      await program.waitFor(/waiting|Interactive|listen/i);
      return { program, made };
    },
    print: undefined,
    after: () => 0,
  },
  {
    name: 'l3fwd-power',
    start: async (t) => {
      const own = ['-p', '0x1', '--config=(0,0,1)', '--parse-ptype', '--telemetry'];
      const args = (vdev: string) => [...lcores, '--vdev', vdev, '--', ...own];
      return withSwitch(t, 'l3fwd-power', args, /\{.*\}/);
    },
    print: () => {},
    after: () => 0,
  },
  {
    name: 'vhost-switch',
    start: async (t) => {
      const made = temporaryDirectory(t);
      const program = new Program(t, 'vhost-switch', ['--socket-file', join(made, 's'), '--stats', '1']);
      await program.waitFor(/Device statistics/);
      return { program, made };
    },
    print: () => {},
    after: () => 0,
  },
  {
    name: 'npm start',
    start: async (t) => {
      const made = temporaryDirectory(t);
      const program = new Program(t, 'start', [], { TMPDIR: made });
      await program.waitFor(/Mpps/);
      return { program, made };
    },
    print: () => {},
    after: (number) => 128 + number,
  },
];
