/** The command blocks of our pages, and a terminal for each program that they start. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Peer } from '../../../tools/bench/common/peer.js';
import { temporaryDirectory, type Scope } from '../../support/peers.js';

export const root = fileURLToPath(new URL('../../..', import.meta.url));

export interface Command {
  /** For a shell; empty when the block begins at the prompt of a program that runs already. */
  readonly line: string;
  /** At its prompt. */
  readonly typed: readonly string[];
}

export interface CommandBlock {
  readonly page: string;
  /** `page: first line`, shortened: what the list of docs-commands.test.ts calls it. */
  readonly title: string;
  readonly commands: readonly Command[];
}

/** Pages with commands in them: the README, those of docs/, and those beside programs. */
export function pages(): readonly string[] {
  const below = (folder: string) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`);
  return [
    'README.md',
    ...[...below('docs'), ...below('tools'), ...below('test')].filter((name) => name.endsWith('.md')),
  ].sort();
}

const PROMPT = 'testpmd> ';
/** What a line begins with that is a command, in a block that is only indented. */
const COMMAND = /^(?:[$#] |testpmd> |(?:npx|npm|node|sudo|testpmd|devbind|qemu-\S+|apt-get|modprobe|ip|ovs-vsctl)\s)/;

/** Fences of sh and console, and indented blocks with a command in them. */
export function blocksOf(page: string, text: string): readonly CommandBlock[] {
  const blocks: CommandBlock[] = [];
  let lines: string[] | undefined;
  let fence: string | undefined;
  const end = () => {
    const found = lines ?? [];
    lines = undefined;
    if (fence === undefined && !found.some((line) => COMMAND.test(line))) return;
    blocks.push({ page, title: `${page}: ${found[0]!.slice(0, 60)}`, commands: commandsOf(found) });
  };
  for (const line of text.split('\n')) {
    const language = /^```(\w*)/.exec(line)?.[1];
    if (fence !== undefined) {
      if (language === undefined) lines?.push(line);
      else {
        if (lines !== undefined) end();
        fence = undefined;
      }
    } else if (language !== undefined) {
      if (lines !== undefined) end();
      fence = language;
      lines = /^(sh|bash|shell|console)$/.test(language) ? [] : undefined;
    } else if (line.startsWith('    ')) (lines ??= []).push(line.slice(4));
    else if (lines !== undefined && line !== '') end();
  }
  if (lines !== undefined) end();
  return blocks;
}

/** What is typed: behind `$ `, `# ` and the prompt where there are such, else every line. */
function commandsOf(lines: readonly string[]): readonly Command[] {
  const prompted = lines.some((line) => /^[$#] /.test(line));
  const commands: { line: string; typed: string[] }[] = [];
  const whole = lines
    .join('\n')
    .replaceAll(/ *\\\n */g, ' ')
    .split('\n');
  for (const text of whole) {
    if (text.startsWith(PROMPT)) {
      if (commands.length === 0) commands.push({ line: '', typed: [] });
      commands.at(-1)!.typed.push(text.slice(PROMPT.length));
    } else if (prompted ? /^[$#] /.test(text) : text !== '' && !/^\s/.test(text)) {
      commands.push({ line: prompted ? text.slice(2) : text, typed: [] });
    }
  }
  return commands;
}

/** A folder and a PATH in which the commands of a page work as they are, from source, apart from the machine's own files. */
export class Desk {
  readonly directory: string;
  private readonly env: NodeJS.ProcessEnv;

  constructor(
    private readonly scope: Scope,
    more: Readonly<Record<string, string>> = {},
  ) {
    this.directory = temporaryDirectory(scope);
    const bin = join(this.directory, 'bin');
    for (const folder of [bin, join(this.directory, 'shm')]) mkdirSync(folder);
    const programs: Readonly<Record<string, string>> = {
      npx: `name=$1; shift; exec '${process.execPath}' --import '${root}tools/ts.mjs' "${root}tools/$name/main.ts" "$@"`,
      // with a pipe for a terminal it holds back its output; others on this machine may run one too
      'dpdk-testpmd': `exec stdbuf -oL "$(PATH=\${PATH#*:} command -v dpdk-testpmd)" --no-telemetry --file-prefix=docs$$ "$@"`,
      ...more,
    };
    for (const [name, text] of Object.entries(programs)) {
      writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`);
      chmodSync(join(bin, name), 0o755);
    }
    this.env = { ...process.env, PATH: `${bin}:${process.env['PATH']}` };
  }

  /** The paths of the pages, in this folder. */
  private here(line: string): string {
    return line.replaceAll('/tmp/', `${this.directory}/`).replaceAll('/dev/shm/', `${this.directory}/shm/`);
  }

  /** Starts a command as it is written; `cd` is where. It ends with the scope. */
  start({ line }: Command, cd = this.directory): Peer {
    const peer = new Peer(line, 'bash', ['-c', `cd '${cd}' && exec ${this.here(line)}`], this.env);
    this.scope.teardown(() => peer.kill());
    return peer;
  }

  /** One that ends by itself, any shell command. @throws Error with what it printed, when it fails */
  async run({ line }: Command): Promise<void> {
    const peer = new Peer(line, 'bash', ['-c', `cd '${this.directory}' && ${this.here(line)}`], this.env);
    this.scope.teardown(() => peer.kill());
    const end = await peer.end();
    if (end !== 'exit code 0') throw new Error(`${line}: ${end}\n${peer.output}`);
  }
}

export const readPage = (page: string): string => readFileSync(join(root, page), 'utf8');
