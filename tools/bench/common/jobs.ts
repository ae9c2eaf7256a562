/** Starts programs that take their job as JSON and print their result as a line of JSON. */
import type { Peer } from './peer.js';
import type { Scope } from './scope.js';

/** The generator's clock leaves some garbage: a larger young generation (MiB) is collected less often. */
const ROOM = '--min-semi-space-size=64';

/** Matches a result in the output of a program. */
export const RESULT_LINE = /^\{.*\}$/m;

/** The command line for one of our scripts that takes its job as JSON. */
export function jobCommand(script: string, job: object, nodeArgs: readonly string[] = []): [string, string[]] {
  return [process.execPath, [...nodeArgs, '--import', './tools/ts.mjs', `tools/bench/${script}`, JSON.stringify(job)]];
}

/** Starts a generator (see generator-process.ts), and waits until its socket exists. */
export async function startGenerator(scope: Scope, script: string, job: object): Promise<Peer> {
  const generator = scope.start('generator', jobCommand(script, job, [ROOM]));
  await generator.waitFor(/listening\n/, 60_000);
  return generator;
}
