/** l3fwd-power in the guest: asleep, woken by interrupts. */
import type { ExecutionContext } from 'ava';
import { eventually, sleep, type Scope } from '../../support/peers.js';
import type { Guest } from './guest.js';
import { quote, type GuestProcess } from './process.js';

export interface Assignment {
  readonly port: number;
  readonly queue: number;
  readonly lcore: number;
}

export interface L3fwdOptions {
  readonly lcores: string;
  /** Behind `-a`. */
  readonly devices?: readonly string[];
  /** With these there is no PCI. */
  readonly vdevs?: readonly string[];
  readonly config: readonly Assignment[];
  /** Prefixes of IPv4 and the ports they are behind. */
  readonly routes: readonly (readonly [prefix: string, port: number])[];
  readonly args?: readonly string[];
}

const RULES = '/tmp/routes';
/** Kernel ticks in a second (USER_HZ). */
const TICKS = 100;
const WINDOW_MS = 2000;
/** A thread that polls has all of a CPU; in emulation a timer now and then is a few percent. */
const IDLE_SHARE = 0.3;

/** A line of shell that becomes the program. */
function l3fwdCommand({ lcores, devices = [], vdevs = [], config, routes, args = [] }: L3fwdOptions): string {
  const ports = new Set(config.map(({ port }) => port));
  const mask = [...ports].reduce((bits, port) => bits | (1 << port), 0);
  const words = [
    ...['--lcores', lcores],
    ...devices.flatMap((device) => ['-a', device]),
    ...(vdevs.length > 0 ? ['--no-pci'] : []),
    ...vdevs.flatMap((vdev) => ['--vdev', vdev]),
    ...['--', '-p', mask.toString(16), '-P', '--parse-ptype', '--interrupt-only'],
    `--config=${config.map(({ port, queue, lcore }) => `(${port},${queue},${lcore})`).join(',')}`,
    ...['--rule_ipv4', RULES, ...args],
  ];
  const lines = routes.map(([prefix, port]) => `R${prefix} ${port}\\n`).join('');
  return `printf ${quote(lines)} >${RULES} && exec l3fwd-power ${words.map(quote).join(' ')}`;
}

/** Its lcores are asleep. */
export async function startL3fwd(scope: Scope, guest: Guest, options: L3fwdOptions): Promise<GuestProcess> {
  const command = `sh -c ${quote(l3fwdCommand(options))}`;
  const program = await guest.start(scope, 'l3fwd-power in the guest', command);
  const lcores = new Set(options.config.map(({ lcore }) => lcore));
  for (let i = 0; i < lcores.size; i++) await asleep(program, '\\d+', 90_000);
  return program;
}

export async function asleep(program: GuestProcess, lcore: number | string, ms?: number): Promise<void> {
  await program.waitFor(new RegExp(`lcore ${lcore} sleeps until interrupt triggers`), ms);
}

export async function woken(program: GuestProcess, { port, queue, lcore }: Assignment): Promise<void> {
  await program.waitFor(new RegExp(`lcore ${lcore} is waked up from rx interrupt on port ${port} queue ${queue}\\n`));
}

/** What an lcore's statistics say of its sleep. */
export interface Sleeps {
  readonly wakeups: number;
  readonly spurious: number;
  readonly missed: number;
}

/** By lcore. */
export async function statistics(program: GuestProcess): Promise<ReadonlyMap<number, Sleeps>> {
  await program.signal('USR1');
  const [table] = await program.waitFor(/lcore +polls [^]*?\n\n/);
  const rows = [...table.matchAll(/^[\d ]+\d\.\d$/gm)].map(([row]) => row.trim().split(/ +/).map(Number));
  return new Map(
    rows.map(([lcore, , , , , wakeups, spurious, missed]) => [
      lcore!,
      { wakeups: wakeups!, spurious: spurious!, missed: missed! },
    ]),
  );
}

/** Seconds that the guest has been up, and seconds of CPU that the threads of a process have used. */
async function times(guest: Guest, pid: number): Promise<readonly [up: number, used: number]> {
  const [uptime, stat] = (await guest.ok(`cat /proc/uptime /proc/${pid}/stat`)).split('\n');
  const fields = stat!.slice(stat!.lastIndexOf(') ') + 2).split(' ');
  return [Number(uptime!.split(' ')[0]), (Number(fields[11]) + Number(fields[12])) / TICKS];
}

/** Waits until a process has used little CPU for two seconds. */
export async function idle(guest: Guest, program: GuestProcess): Promise<void> {
  const pid = await program.pid();
  const share = async () => {
    const [up, used] = await times(guest, pid);
    await sleep(WINDOW_MS);
    const [upAfter, usedAfter] = await times(guest, pid);
    return (usedAfter - used) / (upAfter - up);
  };
  await eventually(`${program.name} idle: its share of a CPU`, share, (part) => part < IDLE_SHARE, 30_000);
}

/** SIGTERM, after which it has ended well. */
export async function ended(program: GuestProcess): Promise<number> {
  await program.terminate();
  return program.end();
}

/** l3fwd-power with the NIC: one sentence, exit code 1. */
export async function checkRefused(t: ExecutionContext, guest: Guest, nic: string, pattern: RegExp): Promise<void> {
  const command = l3fwdCommand({
    lcores: '0@0,1@1',
    devices: [guest.bdf(nic)],
    config: [{ port: 0, queue: 0, lcore: 1 }],
    routes: [['10.8.0.0/16', 0]],
  });
  const { code, output } = await guest.run(command);
  t.is(code, 1, output);
  t.regex(output, pattern);
  t.notRegex(output, /\n +at /, 'no stack trace');
}
