/** Tables in plain text and in Markdown: numbers are aligned right, words left. */

/** Which columns are numeric: every cell begins with a digit. */
function numericColumns(head: readonly string[], rows: readonly (readonly string[])[]): boolean[] {
  return head.map((_, i) => rows.length > 0 && rows.every((row) => /^\d(?!x)/.test(row[i]!)));
}

/** Lines of a table, without a trailing newline. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const numeric = numericColumns(head, rows);
  const pad = (cell: string, i: number) => (numeric[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!));
  const line = (row: readonly string[]) => row.map(pad).join('  ').trimEnd();
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n');
}

/** The same in Markdown. */
export function formatMarkdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (row: readonly string[]) => `| ${row.map((cell) => cell.replace(/[|*]/g, '\\$&')).join(' | ')} |`;
  const rule = `|${numericColumns(head, rows)
    .map((numeric) => (numeric ? '---:' : '---'))
    .join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** 1234567 -> "1,234,567" */
export function thousands(n: number): string {
  return n.toLocaleString('en-US');
}
