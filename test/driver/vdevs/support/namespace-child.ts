/** Runs the scenarios of a module and writes how each of them ended, as JSON. */
import { existsSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

// the kernel sends nothing of its own accord
const IPV6 = '/proc/sys/net/ipv6/conf/default/disable_ipv6';
if (existsSync(IPV6)) writeFileSync(IPV6, '1');

const { scenarios } = (await import(pathToFileURL(process.argv[2]!).href)) as {
  scenarios: Readonly<Record<string, () => Promise<void> | void>>;
};
const results: Record<string, string> = {};
for (const [title, run] of Object.entries(scenarios)) {
  try {
    await run();
    results[title] = 'ok';
  } catch (error) {
    results[title] = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}
process.stdout.write(JSON.stringify(results));
