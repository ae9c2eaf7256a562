/** All commands, by the sections of `help`. */
import { controlCommands } from './control.js';
import { configCommands } from './config.js';
import { displayCommands } from './display.js';
import { filterConfigCommands, filterDisplayCommands } from './filters.js';
import { offloadConfigCommands, offloadPortCommands } from './offloads.js';
import { portCommands } from './ports.js';
import { rssDisplayCommands, rssPortCommands } from './rss.js';
import { vlanCommands } from './vlan.js';
import { Grammar, type Args, type Row } from './grammar.js';
import type { Testpmd } from '../testpmd.js';

interface Section {
  readonly name: string;
  readonly title: string;
  readonly summary: string;
  readonly rows: readonly Row<Testpmd>[];
}

const allDisplay = [...filterDisplayCommands, ...displayCommands, ...rssDisplayCommands];
const allConfig = [...configCommands, ...filterConfigCommands, ...vlanCommands, ...offloadConfigCommands];
const allPorts = [...portCommands, ...offloadPortCommands, ...rssPortCommands];

const sections: readonly Section[] = [
  { name: 'control', title: 'Control forwarding', summary: 'Start and stop forwarding.', rows: controlCommands },
  { name: 'display', title: 'Display', summary: 'Ports, statistics and configuration.', rows: allDisplay },
  { name: 'config', title: 'Configuration', summary: 'Forwarding configuration.', rows: allConfig },
  { name: 'ports', title: 'Port Operations', summary: 'Starting, stopping, configuring ports.', rows: allPorts },
];

const helpRow: Row<Testpmd> = {
  syntax: `help [section:(${sections.map(({ name }) => name).join('|')}|all)]`,
  help: 'Say what commands there are.',
  run: ({ session }, args) => session.print(helpText(args)),
};

export const grammar = new Grammar<Testpmd>([...sections.flatMap(({ rows }) => rows), helpRow]);

function helpText(args: Args): string {
  const name = args.has('section') ? args.text('section') : undefined;
  if (name === undefined) {
    const rows = [...sections, { name: 'all', summary: 'All of the above sections.' }];
    const lines = rows.map((section) => `    ${`help ${section.name}`.padEnd(32)}: ${section.summary}`);
    return ['', 'Help is available for the following sections:', '', ...lines, ''].join('\n');
  }
  return sections
    .filter((section) => name === 'all' || section.name === name)
    .map(sectionText)
    .join('\n');
}

/** The syntax for users, without the names and types for the parser: `(port_id|all)`. */
export function readableSyntax(syntax: string): string {
  return syntax
    .replace(/\w+:\(/g, '(')
    .replace(/<port:port>/g, '(port_id|all)')
    .replace(/<port:u16>/g, '(port_id)')
    .replace(/<(\w+)(?::\w+)?>/g, '($1)');
}

function sectionText({ title, rows }: Section): string {
  const commands = rows.map(({ syntax, help }) => `${readableSyntax(syntax)}\n    ${help}\n`);
  return ['', `${title}:`, '-'.repeat(title.length + 1), '', ...commands].join('\n');
}
