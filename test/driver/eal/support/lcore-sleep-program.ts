/** A program that leaves its lcore asleep: does the process end? */
import { processCpus } from '../../../../driver/eal/lcore-list.js';
import { Lcores } from '../../../../driver/eal/lcore.js';
import { TURNS } from './lcore-sleep-job.js';

const lcores = new Lcores(new Map([[0, processCpus()], [1, processCpus()]]), 0); // prettier-ignore
const shared = new SharedArrayBuffer(16);
lcores.launch(1, new URL('./lcore-sleep-job.js', import.meta.url), 'dormouse', shared);
const words = new Int32Array(shared);
while (Atomics.load(words, TURNS) === 0) Atomics.wait(words, TURNS, 0, 1);
Atomics.wait(words, TURNS, 1, 20); // it has begun; most of this time it sleeps
console.log(`turns: ${words[TURNS]}`);
process.exit(3);
