/**
 * `node generator.ts '{...}'`: a vhost-user back-end for one front-end, with WakeUps behind it. Prints `listening`,
 * `measuring` when the warm-up is over, then its result as one line of JSON.
 */
import { runGenerator } from '../common/generator-process.js';
import { WakeUps, type WakeUpOptions } from './wakeups.js';

export interface WakeUpJob extends Pick<WakeUpOptions, 'count' | 'minGapMs' | 'maxGapMs'> {
  readonly socket: string;
  readonly warmUpSeconds: number;
}

runGenerator<WakeUpJob>(1024, (job, { guest, pool, clock, lookAfter }) => {
  const wakeUps = new WakeUps(guest, pool, { ...job, clock, random: Math.random, rest: () => lookAfter(clock()) });
  wakeUps.warmUp(job.warmUpSeconds * 1000);
  process.stdout.write('measuring\n');
  return wakeUps.measure();
});
