/** The result of the forwarding benchmark as text for a terminal and as Markdown for docs/performance.md. */
import { formatMarkdown, formatTable } from '../../common/table.js';
import { mpps } from '../common/figures.js';
import { machineLine } from '../common/machine.js';
import { isDone, peerName, stepsOf, type ForwardingResult, type Mode } from './results.js';
import { fallbackMark, fallbackNotes, summarise, type Row } from './summary.js';

const what: Readonly<Record<Mode, string>> = {
  io: 'io: packets go round',
  rxonly: 'rxonly: the front-end receives, the vhost side sends',
  txonly: 'txonly: the front-end sends, the vhost side receives',
};

const nanoseconds = (pps: number) => (1e9 / pps).toFixed(1);

interface Column {
  readonly title: string;
  readonly cell: (row: Row) => string;
}

/** The columns. @param cycles, pairs whether to include these columns. */
function columns(cycles: boolean, pairs: boolean): Column[] {
  const column = (title: string, cell: (row: Row) => string): Column => ({ title, cell });
  return [
    column('Recipe', (row) => row.recipe + fallbackMark(row)),
    column('Ours best', (row) => mpps(row.ours.best)),
    column('DPDK best', (row) => mpps(row.dpdk.best)),
    column('Ratio', (row) => row.ratio.toFixed(2)),
    column('Best/best', (row) => row.ratioOfBest.toFixed(2)),
    column('Ours median', (row) => mpps(row.ours.median)),
    column('DPDK median', (row) => mpps(row.dpdk.median)),
    column('Median/median', (row) => row.ratioOfMedians.toFixed(2)),
    column('Ours ns', (row) => nanoseconds(row.ours.best)),
    column('DPDK ns', (row) => nanoseconds(row.dpdk.best)),
    ...(cycles
      ? [
          column('Ours cycles', (row) => row.ours.cycles?.toFixed(0) ?? '-'),
          column('DPDK cycles', (row) => row.dpdk.cycles?.toFixed(0) ?? '-'),
        ]
      : []),
    column('Ours lost ppm', (row) => row.ours.lostPpm.toFixed(1)),
    column('DPDK lost ppm', (row) => row.dpdk.lostPpm.toFixed(1)),
    column('GCs', (row) => String(row.collections)),
    column('CPUs', (row) => row.distances),
    ...(pairs ? [column('Pairs', (row) => String(row.pairs))] : []),
  ];
}

type Format = (head: readonly string[], rows: readonly (readonly string[])[]) => string;

/** Title and table of each group of rows. */
function tables(rows: readonly Row[], wanted: number, format: Format): [string, string][] {
  const cycles = rows.some((row) => row.ours.cycles !== undefined);
  const pairs = rows.some((row) => row.pairs !== wanted);
  const all = columns(cycles, pairs);
  const head = all.map(({ title }) => title);
  return [...groups(rows)].map(([title, group]) => [
    title,
    format(
      head,
      group.map((row) => all.map(({ cell }) => cell(row))),
    ),
  ]);
}

function groups(rows: readonly Row[]): Map<string, Row[]> {
  const found = new Map<string, Row[]>();
  for (const row of rows) {
    const title = `${what[row.mode]}; ${row.size} bytes`;
    found.set(title, [...(found.get(title) ?? []), row]);
  }
  return found;
}

/** Says which of our SIMD code ran. */
function simdLine({ runs }: ForwardingResult): string[] {
  const isas = new Set(runs.flatMap(({ isa }) => isa ?? []));
  return isas.size === 0 ? [] : [`Our vectorized paths ran the SIMD code for ${[...isas].join(', ')}.`];
}

/** Explains the numbers in a few lines. */
function legend(result: ForwardingResult): string[] {
  const { options, machine, pages, started } = result;
  const done = stepsOf(options).filter((step) => isDone(result, step)).length;
  const all = stepsOf(options).length;
  const failed = result.failures.map(({ recipe, size, mode, error }) => `${recipe}, ${size} bytes, ${mode}: ${error}`);
  return [
    `${machineLine(machine)}; ${pages}; ${started.slice(0, 10)}.`,
    `Million packets per second, one queue pair. Pairs of runs (ours, DPDK): ${options.pairs}; one-second windows of each run: ${options.seconds}.`,
    `At the other end of both: ${peerName(options)}.`,
    'Ratio: median over the pairs of our best window divided by DPDK’s. ns: of the forwarding CPU per packet, 1000 / Mpps, as it polls without pause.',
    'CPUs: pairs during which a cache line took less than 280 ns to the other CPU and back (near) or more (far), or both (mixed).',
    ...simdLine(result),
    ...(done < all ? [`Incomplete: ${done} of ${all} pairs have been measured.`] : []),
    ...failed.map((line) => `Failed: ${line.split('\n')[0]!}`),
  ];
}

export function textReport(result: ForwardingResult): string {
  const rows = summarise(result);
  const parts = tables(rows, result.options.pairs, formatTable).map(([title, table]) => `${title}\n\n${table}\n`);
  return [...parts, ...fallbackNotes(rows), ...legend(result)].join('\n');
}

export function markdownReport(result: ForwardingResult): string {
  const rows = summarise(result);
  const parts = tables(rows, result.options.pairs, formatMarkdown).map(
    ([title, table]) => `### ${title}\n\n${table}\n`,
  );
  const notes = fallbackNotes(rows).map((note) => `\\${note}`);
  return `${[...parts, [...notes, ...legend(result)].join('  \n')].join('\n')}\n`;
}

const BEGIN = '<!-- npm run bench: begin -->\n';
const END = '<!-- npm run bench: end -->';

/** `page` with the text between its two marks replaced by `report`; only the report when it has no marks. */
export function intoPage(page: string, report: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END, begin);
  if (begin < 0 || end < 0) return report;
  return `${page.slice(0, begin + BEGIN.length)}\n${report}\n${page.slice(end)}`;
}
