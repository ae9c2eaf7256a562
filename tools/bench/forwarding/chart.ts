/** The result of the forwarding benchmark as an SVG bar chart: one panel per mode and size, two bars per recipe. */
import { machineLine } from '../common/machine.js';
import { peerName, type ForwardingOptions, type ForwardingResult } from './results.js';
import { fallbackMark, fallbackNotes, summarise, type Row } from './summary.js';

const WIDTH = 1040;
const MARGIN = 20;
const COLUMN_GAP = 30;
const NAMES = 200;
/** Pixels for the number after the longest bar. */
const NUMBERS = 120;
const BAR = 8;
const ROW = 24;
const TITLE = 34;
const PANEL_GAP = 14;
const LINE = 16;
const HEAD = 64;

/** Colours that are distinct on white and on black, also for the colour-blind; text follows the reader's colour scheme. */
const style = `
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 13px; }
  .head { font-weight: 600; font-size: 16px; }
  .small { font-size: 11px; fill: #59636e; }
  .ours { fill: #1a7fd4; }
  .dpdk { fill: #e08a1e; }
  .axis { stroke: #8c959f; stroke-width: 1; }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .small { fill: #9198a1; } }
`;

export function escapeXml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}

const round = (value: number) => Math.round(value * 10) / 10;

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${round(x)}" y="${round(y)}"${attributes && ` ${attributes}`}>${escapeXml(content)}</text>`;
}

function bar(x: number, y: number, width: number, side: 'ours' | 'dpdk'): string {
  return `<rect class="${side}" x="${round(x)}" y="${round(y)}" width="${round(Math.max(width, 0.5))}" height="${BAR}"/>`;
}

/** One panel; `scale` is pixels per packet per second. */
function panel(x: number, y: number, title: string, rows: readonly Row[], scale: number): string[] {
  const axis = x + NAMES;
  const height = rows.length * ROW;
  const parts = [
    text(x, y + 18, title, 'class="title"'),
    `<line class="axis" x1="${axis}" y1="${y + TITLE - 4}" x2="${axis}" y2="${y + TITLE + height}"/>`,
  ];
  rows.forEach((row, i) => {
    const top = y + TITLE + i * ROW;
    const longest = Math.max(row.ours.best, row.dpdk.best) * scale;
    const numbers = `${(row.ours.best / 1e6).toFixed(1)} / ${(row.dpdk.best / 1e6).toFixed(1)}`;
    parts.push(
      text(axis - 8, top + 14, row.recipe + fallbackMark(row), 'text-anchor="end"'),
      bar(axis, top + 2, row.ours.best * scale, 'ours'),
      bar(axis, top + 2 + BAR, row.dpdk.best * scale, 'dpdk'),
      text(axis + longest + 6, top + 14, `${row.ratio.toFixed(2)}×`),
      text(axis + longest + 46, top + 14, numbers, 'class="small"'),
    );
  });
  return parts;
}

/** Breaks words into lines of at most `length` characters. */
export function wrap(words: string, length: number): string[] {
  const lines: string[] = [];
  for (const word of words.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= length) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function legend(options: ForwardingOptions): string[] {
  const y = 44;
  return [
    text(
      MARGIN,
      26,
      `virtio-pmd and DPDK’s virtio_user, at the other end of both ${peerName(options)}`,
      'class="head"',
    ),
    bar(MARGIN, y, 24, 'ours'),
    text(MARGIN + 30, y + 8, 'virtio-pmd'),
    bar(MARGIN + 120, y, 24, 'dpdk'),
    text(MARGIN + 150, y + 8, 'DPDK'),
    text(
      MARGIN + 210,
      y + 8,
      'Bars: best one-second window, million packets per second. Ratio: median over the pairs of runs.',
      'class="small"',
    ),
  ];
}

/** A whole SVG document. */
export function svgChart(result: ForwardingResult): string {
  const rows = summarise(result);
  const { sizes, modes, recipes } = result.options;
  const columns = Math.max(1, Math.min(2, sizes.length));
  const panelWidth = (WIDTH - 2 * MARGIN - (columns - 1) * COLUMN_GAP) / columns;
  const panelHeight = TITLE + recipes.length * ROW + PANEL_GAP;
  const parts = legend(result.options);
  let count = 0;
  for (const mode of modes) {
    for (const size of sizes) {
      const of = rows.filter((row) => row.mode === mode && row.size === size);
      const x = MARGIN + (count % columns) * (panelWidth + COLUMN_GAP);
      const y = HEAD + Math.floor(count / columns) * panelHeight;
      const longest = Math.max(1, ...of.flatMap((row) => [row.ours.best, row.dpdk.best]));
      parts.push(...panel(x, y, `${mode}, ${size} bytes`, of, (panelWidth - NAMES - NUMBERS) / longest));
      count++;
    }
  }
  let y = HEAD + Math.ceil(count / columns) * panelHeight + LINE;
  const caption = `${machineLine(result.machine)}; ${result.pages}; ${result.started.slice(0, 10)}`;
  for (const line of [...fallbackNotes(rows), ...wrap(caption, 160)]) {
    parts.push(text(MARGIN, y, line, 'class="small"'));
    y += LINE;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img">`,
    `<title>Packets per second of virtio-pmd and DPDK</title>`,
    `<style>${style}</style>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}
