/** net_af_packet against DPDK's own, over a veth pair in a network namespace. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { inNamespace } from '../driver/vdevs/support/in-namespace.js';
import { scenarios } from '../driver/vdevs/support/dpdk-scenarios.js';
import { lacks } from '../support/needs.js';

/** Whether DPDK's driver is there, which is a package of its own. */
function driverMissing(): string {
  const libraries = readdirSync('/usr/lib').map((name) => join('/usr/lib', name, 'dpdk'));
  const found = libraries
    .filter((directory) => existsSync(directory))
    .some((directory) =>
      readdirSync(directory).some((pmds) => existsSync(join(directory, pmds, 'librte_net_af_packet.so'))),
    );
  return found ? '' : 'librte-net-af-packet23 is not installed';
}

inNamespace(
  new URL('../driver/vdevs/support/dpdk-scenarios.ts', import.meta.url),
  { scenarios },
  lacks('dpdk-testpmd') || driverMissing(),
);
