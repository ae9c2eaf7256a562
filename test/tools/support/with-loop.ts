/** A program with one driver more, that of a loop: `with-loop.ts PROGRAM ARGUMENTS`, such as tools/testpmd/main.ts. */
import { pathToFileURL } from 'node:url';
import { drivers } from '../../../driver/drivers.js';
import type { PortDriver } from '../../../driver/port/device.js';
import { loopDriver } from '../../driver/port/support/loop-device.js';

(drivers as PortDriver[]).push(loopDriver);
const [program] = process.argv.splice(2, 1);
await import(pathToFileURL(program!).href);
