/** CPU cycles of a process, where `perf` is installed and may count them: virtual machines often have no counters. */
import { spawn, spawnSync } from 'node:child_process';

const EVENT = 'cycles';

/** The count of `event` in what `perf stat -x,` wrote, or undefined when it could not count. */
export function parsePerf(text: string, event = EVENT): number | undefined {
  for (const line of text.split('\n')) {
    const [count = '', , name = ''] = line.split(',');
    if (name.split(':')[0] === event && /^\d+(\.\d+)?$/.test(count)) return Number(count);
  }
  return undefined;
}

/** Whether `countEvent` would bring a number. */
export function canCount(event = EVENT): boolean {
  const { stderr, error } = spawnSync('perf', ['stat', '-x,', '-e', event, 'true'], { encoding: 'utf8' });
  return error === undefined && parsePerf(stderr, event) !== undefined;
}

/** Counts from now on; the function that is returned stops it and has the count. */
export function countEvent(pid: number, event = EVENT): () => Promise<number | undefined> {
  const child = spawn('perf', ['stat', '-x,', '-e', event, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  const ended = new Promise<void>((resolve) => child.on('error', () => resolve()).on('close', () => resolve()));
  return async () => {
    child.kill('SIGINT');
    await ended;
    return parsePerf(text, event);
  };
}
