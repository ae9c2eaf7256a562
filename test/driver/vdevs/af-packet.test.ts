/** net_af_packet on the kernel of this machine: veth pairs in a network namespace that goes with the process that runs them. */
import { scenarios } from './support/af-packet-scenarios.js';
import { inNamespace } from './support/in-namespace.js';

inNamespace(new URL('./support/af-packet-scenarios.ts', import.meta.url), { scenarios });
