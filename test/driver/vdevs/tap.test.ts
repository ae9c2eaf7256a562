/** net_tap on the kernel of this machine, in a network namespace that goes with the process that runs the scenarios. */
import { inNamespace } from './support/in-namespace.js';
import { scenarios } from './support/tap-scenarios.js';

inNamespace(new URL('./support/tap-scenarios.ts', import.meta.url), { scenarios });
