/** testpmd on a terminal: keys, signals, and what the screen shows in the end. */
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Program } from '../support/ending-programs.js';
import { eventually, ourCpu, peerCpu, temporaryDirectory, type Peer } from '../../support/peers.js';
import { screenOf, shellLine, startTerminal } from './support/terminal.js';
import { startBackend, waitForSocket } from '../../support/testpmd-process.js';
import { lacks, needs } from '../../support/needs.js';

const scriptTest = needs(lacks('script'));

const CTRL_C = '\x03';
const CTRL_D = '\x04';
const CTRL_Z = '\x1a';
const TAB = '\t';

const main = [process.execPath, '--import', './tools/ts.mjs', 'tools/testpmd/main.ts'];
const ealArgs = ['--lcores', `0@${peerCpu},1@${ourCpu}`, '--no-huge', '--no-pci'];
const commandLine = (vdevs: readonly string[], args: readonly string[]) =>
  shellLine([...main, ...ealArgs, ...vdevs.flatMap((vdev) => ['--vdev', vdev]), '--', ...args]);

/** The same, which says its process id first. */
const tellingPid = (line: string) => `${shellLine(['sh', '-c', `echo pid $$; exec ${line}`])}`;

const escapes = (text: string) => text.includes('\x1b');
const lastRow = ({ output }: Peer) => screenOf(output).at(-1);

async function backend(t: ExecutionContext): Promise<string> {
  return `net_virtio_user0,path=${await waitForSocket(startBackend(t))}`;
}

/** `row` is at the bottom of the screen. */
const shows = (terminal: Peer, row: string) =>
  eventually(row, () => lastRow(terminal), (last) => last === row, 20_000); // prettier-ignore

test('the screen of these tests: rows, wrapping, cursor movements, deletions', (t) => {
  t.deepEqual(screenOf('a\r\nbc\x1b[1G\x1b[0Jd'), ['a', 'd']);
  t.deepEqual(screenOf(`${'x'.repeat(81)}`), ['x'.repeat(80), 'x']);
  t.deepEqual(screenOf('ab\r\ncd\x1b[1A\x1b[1GX\x1b[K'), ['X', 'cd']);
  t.deepEqual(screenOf('ab\r\ncd\x1b[1A\x1b[1GX\x1b[0J'), ['X']);
});

scriptTest.serial('Ctrl-C takes back a half-typed line and is nothing on an empty one; Ctrl-D leaves', async (t) => {
  const terminal = startTerminal(t, commandLine([], ['-i']));
  await terminal.waitFor(/testpmd> /, 60_000);
  terminal.type('set burst 9');
  await shows(terminal, 'testpmd> set burst 9');
  terminal.type(CTRL_C);
  await shows(terminal, 'testpmd>');
  terminal.type(`${CTRL_C}set burst 16\r`);
  await terminal.waitFor(/Number of packets per burst set to 16\r\n/);
  await shows(terminal, 'testpmd>');
  t.deepEqual(
    screenOf(terminal.output).filter((row) => row.startsWith('testpmd>')),
    ['testpmd> set burst 9', 'testpmd>', 'testpmd> set burst 16', 'testpmd>'],
  );
  terminal.type(CTRL_D);
  t.is(await terminal.end(), 'exit code 0');
  t.regex(terminal.output, /Bye\.\.\./);
});

scriptTest.serial('TAB completes, two TABs in one write list; port ids, on and off are known', async (t) => {
  const terminal = startTerminal(t, commandLine([await backend(t)], ['-i']));
  await terminal.waitFor(/testpmd> /, 60_000);
  terminal.type(`port sto${TAB}`);
  await shows(terminal, 'testpmd> port stop');
  terminal.type(TAB + TAB);
  await terminal.waitFor(/0 +all \r+\n/);
  await shows(terminal, 'testpmd> port stop');
  // in one write with what follows
  terminal.type(`a${TAB}\r`);
  await terminal.waitFor(/Stopping ports\.\.\.[^]*Done\r\n/);
  terminal.type(`set flush_rx ${TAB}${TAB}`);
  await terminal.waitFor(/off +on \r+\n/);
  await shows(terminal, 'testpmd> set flush_rx o');
  t.notRegex(terminal.output, /\t/);
  terminal.type(`${CTRL_C}quit\r`);
  t.is(await terminal.end(), 'exit code 0');
});

scriptTest.serial(
  'Ctrl-Z and a SIGTSTP from elsewhere, then fg: the line is there again, and forwarding goes on',
  async (t) => {
    const line = tellingPid(commandLine([await backend(t)], ['-i', '-a']));
    // what a shell with a line editor does to the terminal; bash leaves a loop in which a job is stopped
    const halted = 'stty sane; echo halted; read x; fg';
    const terminal = startTerminal(t, `${line}; ${halted}; ${halted}; echo "ended $?"`);
    const [, pid] = await terminal.waitFor(/pid (\d+)/);
    await terminal.waitFor(/testpmd> /, 60_000);
    for (const halt of [() => terminal.type(CTRL_Z), () => process.kill(Number(pid), 'SIGTSTP')]) {
      terminal.type('set verb');
      await shows(terminal, 'testpmd> set verb');
      halt();
      await terminal.waitFor(/halted\r\n/);
      terminal.type('\n');
      await shows(terminal, 'testpmd> set verb');
      // in raw mode, in which ^C is a key
      terminal.type(`${CTRL_C}show port summary 0\r`);
      await terminal.waitFor(/Number of available ports: 1[^]*testpmd> /);
    }
    terminal.type('stop\r');
    await terminal.waitFor(/Forward statistics for port 0[^]*Done\.\r\n/);
    terminal.type('quit\r');
    await terminal.waitFor(/ended 0\r\n/);
    t.is(await terminal.end(), 'exit code 0');
  },
);

scriptTest.serial('a log line that comes while somebody types, in one row or two, lands above the line', async (t) => {
  const path = join(temporaryDirectory(t), 's');
  const terminal = startTerminal(t, commandLine([`net_virtio_user0,path=${path},server=1`], ['-i']));
  const connect = () => new Program(t, 'vhost-switch', ['--client', '--socket-file', path]);
  let vhostSwitch = connect();
  let losses = 0;
  await terminal.waitFor(/testpmd> /, 60_000);
  const long = `# ${'a comment of more than one row, '.repeat(4)}`.trim();
  const rowsOf = (typed: string) => screenOf(`testpmd> ${typed}`);
  for (const typed of ['show port st', long]) {
    terminal.type(typed);
    await shows(terminal, rowsOf(typed).at(-1)!);
    const before = screenOf(terminal.output).length;
    vhostSwitch.signal('SIGKILL');
    await eventually('a log line', () => screenOf(terminal.output).length, (rows) => rows > before, 20_000); // prettier-ignore
    vhostSwitch = connect();
    await terminal.waitFor(/reconnection succeeds![^]*testpmd> [^]*state change[^]*testpmd> /, 60_000);
    await shows(terminal, rowsOf(typed).at(-1)!);
    const screen = screenOf(terminal.output);
    t.is(screen.filter((row) => row === 'virtio-user port 0 is down').length, ++losses, screen.join('\n'));
    t.deepEqual(screen.slice(-rowsOf(typed).length), rowsOf(typed));
    t.is(screen.filter((row) => row.startsWith(rowsOf(typed)[0]!)).length, 1, screen.join('\n'));
    terminal.type(CTRL_C);
    await shows(terminal, 'testpmd>');
  }
  terminal.type('quit\r');
  t.is(await terminal.end(), 'exit code 0');
});

scriptTest.serial('a paste: hundreds of commands run in order, a line without end is left out', async (t) => {
  const terminal = startTerminal(t, commandLine([], ['-i']));
  await terminal.waitFor(/testpmd> /, 60_000);
  const bursts = Array.from({ length: 300 }, (_, i) => i + 1);
  terminal.type(bursts.map((burst) => `set burst ${burst}\r`).join(''));
  await terminal.waitFor(/burst set to 300\r\n/);
  const answers = [...terminal.output.matchAll(/burst set to (\d+)/g)].map(([, burst]) => Number(burst));
  t.deepEqual(answers, bursts);
  terminal.type(`${'x'.repeat(20_000)}\rset verbose 1\rquit\r`);
  t.is(await terminal.end(), 'exit code 0');
  t.regex(terminal.output, /a line of more than 4096 characters is left out[^]*verbose level from 0 to 1/);
  t.notRegex(terminal.output, /Command not found/);
});

const plain: readonly [title: string, line: string, env: NodeJS.ProcessEnv][] = [
  ['TERM=dumb', commandLine([], ['-i']), { TERM: 'dumb' }],
  ['TERM is not set', commandLine([], ['-i']), { TERM: undefined }],
  ['stdout is a pipe', `set -o pipefail; ${commandLine([], ['-i'])} | cat`, {}],
];
for (const [title, line, env] of plain) {
  scriptTest.serial(`${title}: no escape codes, and commands run`, async (t) => {
    const terminal = startTerminal(t, line, env);
    await terminal.waitFor(/testpmd> /, 60_000);
    terminal.type('set burst 16\r');
    await terminal.waitFor(/Number of packets per burst set to 16\r\ntestpmd> /);
    terminal.type('quit\r');
    t.is(await terminal.end(), 'exit code 0');
    t.false(escapes(terminal.output));
  });
}

for (const TERM of ['dumb', 'xterm']) {
  scriptTest.serial(`--stats-period, TERM=${TERM}: a new screen only where there is one`, async (t) => {
    const terminal = startTerminal(t, commandLine([await backend(t)], ['--stats-period=1']), { TERM });
    await terminal.waitFor(/Port statistics ===/, 60_000);
    t.is(escapes(terminal.output), TERM === 'xterm');
    terminal.type(CTRL_C);
    t.is(await terminal.end(), 'exit code 0');
  });
}

scriptTest.serial('the terminal goes away: the program ends', async (t) => {
  const terminal = startTerminal(t, `trap '' HUP; ${tellingPid(commandLine([], ['-i']))}`);
  const [, pid] = await terminal.waitFor(/pid (\d+)/);
  await terminal.waitFor(/testpmd> /, 60_000);
  terminal.type('set verb');
  await terminal.kill();
  const isThere = () => {
    try {
      return process.kill(Number(pid), 0);
    } catch {
      return false;
    }
  };
  await eventually('its end', isThere, (there) => !there, 20_000);
  t.pass();
});
