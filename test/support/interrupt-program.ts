/** Our l3fwd-power at the near ends of the wires, and what it prints. */
import type { ExecutionContext } from 'ava';
import { spawnL3fwd } from './l3fwd-program.js';
import { ourCpu, type Peer } from './peers.js';

export const ASLEEP = /lcore (\d+) sleeps until interrupt triggers/;
export const AWAKE = /lcore (\d+) is waked up from rx interrupt on port (\d+) queue (\d+)/;

/** Starts it with `--config`, its lcores all on one CPU, and waits until each of them is asleep. */
export async function startProgram(
  t: ExecutionContext,
  vdevs: readonly string[],
  config: string,
  lcores: readonly number[],
): Promise<Peer> {
  const program = spawnL3fwd(
    t,
    [
      ...['--lcores', lcores.map((lcore) => `${lcore}@${ourCpu}`).join(','), '--no-pci', '--no-huge'],
      ...vdevs.flatMap((vdev) => ['--vdev', vdev]),
    ],
    ['-p', ((1 << vdevs.length) - 1).toString(16), '-P', '--parse-ptype', '--config', config],
  );
  for (let asleep = 0; asleep < lcores.length; asleep++) await program.waitFor(ASLEEP, 60_000);
  return program;
}

/** Numbers of the program's tables; packets are those of all ports. */
export interface LcoreNumbers {
  readonly sleeps: number;
  readonly wakeups: number;
  readonly spurious: number;
  readonly missed: number;
  readonly received: number;
  readonly sent: number;
}

/** The two tables by lcore: rows of numbers under a rule. */
export function parseTables(text: string): ReadonlyMap<number, LcoreNumbers> {
  const tables = text.split(/^(?=lcore )/m).slice(-2);
  const rows = tables.map((table) => {
    const lines = table.split('\n');
    const titles = lines[0]!.split(/ {2,}/);
    return lines
      .filter((line) => /^ *\d+ /.test(line))
      .map(
        (line) =>
          new Map(
            line
              .trim()
              .split(/ +/)
              .map((cell, i) => [titles[i], Number(cell)]),
          ),
      );
  });
  const [lcores, ports] = rows;
  return new Map(
    lcores!.map((row) => {
      const id = row.get('lcore')!;
      const total = (title: string) =>
        ports!.filter((port) => port.get('lcore') === id).reduce((sum, port) => sum + port.get(title)!, 0);
      const [sleeps, wakeups, spurious, missed] = ['sleeps', 'wake-ups', 'spurious', 'missed'].map((title) =>
        row.get(title)!,
      );
      const numbers = { sleeps, wakeups, spurious, missed, received: total('received'), sent: total('sent') };
      return [id, numbers as LcoreNumbers];
    }),
  );
}

/** Its numbers by lcore, by SIGUSR1. */
export async function numbersOf(program: Peer): Promise<ReadonlyMap<number, LcoreNumbers>> {
  process.kill(program.pid, 'SIGUSR1');
  const [text] = await program.waitFor(/^lcore +polls[^]*?^lcore +port[^]*?\n\n/m);
  return parseTables(text);
}
