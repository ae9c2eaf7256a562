/** Programs that take their job as JSON and whose result is a line of JSON, as the measurement sees them. */
import type { Peer } from './peer.js';
import type { Scope } from './scope.js';

/** The generator's clock leaves some garbage: less often collected when there is more room for it (MiB). */
const ROOM = '--min-semi-space-size=64';

/** A result as a line of what a program has written. */
export const RESULT_LINE = /^\{.*\}$/m;

/** The command line of a source of ours that takes its job as JSON. */
export function jobCommand(script: string, job: object, nodeArgs: readonly string[] = []): [string, string[]] {
  return [process.execPath, [...nodeArgs, '--import', './tools/ts.mjs', `tools/bench/${script}`, JSON.stringify(job)]];
}

/** Starts a generator: see generator-process.ts. Its socket is there when this is done. */
export async function startGenerator(scope: Scope, script: string, job: object): Promise<Peer> {
  const generator = scope.start('generator', jobCommand(script, job, [ROOM]));
  await generator.waitFor(/listening\n/, 60_000);
  return generator;
}
