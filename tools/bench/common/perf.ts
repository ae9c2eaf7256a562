/** CPU cycles of a process, where `perf` is installed and can count them: virtual machines often have no counters. */
import { spawn, spawnSync } from 'node:child_process';

const EVENT = 'cycles';

/** The count of `event` in the output of `perf stat -x,`; undefined when it could not count. */
export function parsePerf(text: string, event = EVENT): number | undefined {
  for (const line of text.split('\n')) {
    const [count = '', , name = ''] = line.split(',');
    if (name.split(':')[0] === event && /^\d+(\.\d+)?$/.test(count)) return Number(count);
  }
  return undefined;
}

/** Whether `countEvent` works here. */
export function canCount(event = EVENT): boolean {
  const { stderr, error } = spawnSync('perf', ['stat', '-x,', '-e', event, 'true'], { encoding: 'utf8' });
  return error === undefined && parsePerf(stderr, event) !== undefined;
}

/** Starts counting. @returns a function that stops it and returns the count. */
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
