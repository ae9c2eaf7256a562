/** Programs of the host that do one thing and end. */
import { spawnSync } from 'node:child_process';

/** @returns what it printed. @throws Error with what it complained about */
export function run(program: string, args: readonly string[], cwd?: string): Buffer {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, maxBuffer: 1 << 28 });
  if (status === 0) return stdout;
  const why = error?.message ?? (stderr.toString() || stdout.toString()).trim();
  throw new Error(`${program} ${args.join(' ')}: ${why}`);
}
