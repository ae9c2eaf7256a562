/** Runs the scenarios and writes how each of them ended, as JSON. */
import { packetScenarios } from './tap-packets.js';
import { scenarios } from './tap-scenarios.js';

const results: Record<string, string> = {};
for (const [title, run] of Object.entries({ ...packetScenarios, ...scenarios })) {
  try {
    await run();
    results[title] = 'ok';
  } catch (error) {
    results[title] = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}
process.stdout.write(JSON.stringify(results));
