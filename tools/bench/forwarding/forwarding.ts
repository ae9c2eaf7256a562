/** `npm run bench`: measures pair after pair, prints progress, and saves everything in a file. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { svgChart } from './chart.js';
import { machineLine, type Machine } from '../common/machine.js';
import { distanceOf, HandOver } from '../common/hand-over.js';
import { measurePair, type PairOptions } from './pair.js';
import { mpps, pairOf } from '../common/figures.js';
import { saveJson, type Context } from '../common/measurement.js';
import { canCount } from '../common/perf.js';
import { textReport } from './report.js';
import {
  checkSameMachine,
  isDone,
  loadResult,
  peerName,
  stepsOf,
  wholePairs,
  type ForwardingOptions,
  type ForwardingResult,
  type Run,
  type Step,
} from './results.js';
import { best } from '../common/statistics.js';
import { ourCpu, peerCpu } from '../common/testpmd.js';

const PAGES = 'pages of 4 KiB on both sides (--no-huge)';

/** A result without measurements. */
export function newResult(options: ForwardingOptions, machine: Machine): ForwardingResult {
  const now = new Date().toISOString();
  return { kind: 'forwarding', started: now, updated: now, machine, pages: PAGES, options, runs: [], failures: [] };
}

/** Loads the result in `file`, to continue it. @throws VirtioPmdError EOPTION, ECONFIG */
export function resumeResult(file: string, machine: Machine): ForwardingResult {
  const result = loadResult(file);
  checkSameMachine(file, result.machine, machine);
  return wholePairs(result);
}

/** Measures what is missing in `result`. Failures are recorded and do not stop it. */
export async function runForwarding(
  result: ForwardingResult,
  context: Omit<Context, 'machine'>,
): Promise<ForwardingResult> {
  const { program, json, print, signal } = context;
  const { options, machine } = result;
  const missing = stepsOf(options).filter((step) => !isDone(result, step));
  const common = {
    ...{
      peer: options.peer ?? 'dpdk',
      program,
      signal,
      seconds: options.seconds,
      warmUpSeconds: options.warmUpSeconds,
    },
    avx512: machine.flags.includes('avx512f'),
    cycles: canCount(),
  };
  const distance = new HandOver([peerCpu, ourCpu]);
  const pairOptions = { ...common, handOver: () => distance.measure() };
  const keep = (change: Partial<ForwardingResult>) => {
    result = { ...result, ...change, updated: new Date().toISOString() };
    saveJson(json, result);
  };
  keep({});
  print(machineLine(machine));
  print(`At the other end: ${peerName(options)}.`);
  const begun = performance.now();
  for (const [i, step] of missing.entries()) {
    let outcome: string;
    try {
      const runs = await steadyPair(step, pairOptions);
      keep({ runs: [...result.runs, ...runs] });
      outcome = describeRuns(runs);
    } catch (error) {
      if (signal.aborted) break;
      const why = error instanceof Error ? error.message : String(error);
      keep({ failures: [...result.failures, { ...step, error: why }] });
      outcome = `failed: ${why.split('\n')[0]}`;
    }
    const left = ((performance.now() - begun) / (i + 1)) * (missing.length - i - 1);
    print(`${position(i + 1, missing.length)} ${describeStep(step, options)}  ${outcome}  ${describeLeft(left)}`);
  }
  await distance.close();
  return result;
}

/** Maximum number of attempts to measure a pair. */
const ATTEMPTS = 4;

/** Measures a pair until the distance of the CPUs stays the same; the last attempt counts in any case. */
async function steadyPair(step: Step, options: PairOptions): Promise<Run[]> {
  for (let attempt = 1; ; attempt++) {
    const runs: Run[] = [];
    await measurePair(step, options, (run) => runs.push(run));
    if (attempt === ATTEMPTS || distanceOf(runs) !== 'mixed') return runs;
  }
}

const position = (done: number, all: number) => `[${String(done).padStart(String(all).length)}/${all}]`;

function describeStep({ pair, recipe, size, mode }: Step, options: ForwardingOptions): string {
  return `${pairOf(pair, options)}  ${mode.padEnd(6)} ${String(size).padStart(4)}  ${recipe.padEnd(27)}`;
}

function describeRuns(runs: readonly Run[]): string {
  const [ours, dpdk] = runs.map((run) => best(run.windows)) as [number, number];
  const rate = (pps: number) => mpps(pps).padStart(6);
  return `ours ${rate(ours)}  DPDK ${rate(dpdk)}  ratio ${(ours / dpdk).toFixed(2)}  ${distanceOf(runs)}`;
}

function describeLeft(ms: number): string {
  if (ms < 1) return '';
  return ms < 90_000 ? `${Math.round(ms / 1000)} s left` : `${Math.round(ms / 60_000)} min left`;
}

/** Prints the table and writes the chart, if `svg` names a file. */
export function publish(result: ForwardingResult, svg: string | undefined, print: (text: string) => void): void {
  print(`\n${textReport(result)}`);
  if (svg === undefined) return;
  mkdirSync(dirname(svg), { recursive: true });
  writeFileSync(svg, svgChart(result));
  print(svg);
}
