/** Whether DPDK has its pcap PMD here. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** '', or a sentence. Looks where Debian has DPDK's drivers. */
export function pcapMissing(): string {
  const found = ['x86_64', 'aarch64'].some((arch) => {
    const directory = `/usr/lib/${arch}-linux-gnu/dpdk`;
    if (!existsSync(directory)) return false;
    return readdirSync(directory).some((pmds) => existsSync(join(directory, pmds, 'librte_net_pcap.so')));
  });
  return found ? '' : "DPDK's pcap PMD is not installed";
}
