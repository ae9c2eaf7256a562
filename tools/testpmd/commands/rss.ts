/** Receive-side scaling: how packets are spread over a port's Rx queues. */
import type { RssInfo } from '../../../driver/port/parts.js';
import { failureOf } from './filters.js';
import type { Args, Row } from './grammar.js';
import { formatRssTypes, formatTypeNames, namesOfRssTypes, parseRssTypes, rssTypeNames } from '../names/rss-types.js';
import type { PortEntry, Session } from '../session.js';
import type { Testpmd } from '../testpmd.js';
import { parseUnsigned, U16_MAX } from '../../common/values.js';

/** Entries of one mask. */
const RETA_GROUP_SIZE = 64;
const NO_KEY_SIZE = 'dev_info did not provide a valid hash key size';

function entriesOf(session: Session, args: Args): readonly PortEntry[] {
  return session.select(args.number('port'));
}

/** Zeros for a port that has no such thing. */
const rssInfoOf = ({ port }: PortEntry): RssInfo =>
  port.lacks('rss') === undefined ? port.rss.rssInfo : { keySize: 0, retaSize: 0, flowTypes: 0n };

/** dpdk-testpmd's text, and the port's reason where it has one. */
function because(text: string, { port }: PortEntry): string {
  const why = port.lacks('rss');
  return why === undefined ? text : `${text}: ${why}`;
}

// ---- port config -----------------------------------------------------------------------------------------------------

function configureTypes(session: Session, word: string): void {
  const byDefault = word === 'default';
  const asked = byDefault ? 0n : parseRssTypes(word);
  if (asked === undefined) {
    const isNumber = /^\d/.test(word);
    session.complain(isNumber ? 'flowtype_id should be greater than 0 and less than 64.' : 'Unknown parameter');
    return;
  }
  let updated = true;
  for (const entry of session.select('all')) {
    const { id } = entry.port;
    const { flowTypes } = rssInfoOf(entry);
    const requested = byDefault ? flowTypes : asked;
    const hf = requested & flowTypes;
    if (hf !== requested) {
      session.print(
        `Port ${id} modified RSS hash function based on hardware support,requested:${formatRssTypes(requested)} configured:${formatRssTypes(hf)}`,
      );
    }
    const why = failureOf(() => entry.port.rss.rssUpdate({ hf }));
    if (why === undefined) continue;
    updated = false;
    session.complain(`Configuration of RSS hash at ethernet port ${id} failed with error: ${why}`);
  }
  if (updated && !byDefault) session.print(`rss_hf ${formatRssTypes(asked)}`);
}

/** "6D5A56DA...", or why it is not a key of `size` bytes. */
export function parseHashKey(text: string, size: number): Uint8Array | string {
  if (text.length !== 2 * size) {
    return `key length: ${text.length} invalid - key must be a string of ${2 * size} hexa-decimal numbers`;
  }
  const wrong = text.search(/[^0-9a-f]/i);
  if (wrong >= 0) return `invalid key: character ${text[wrong]} at position ${wrong} is not a valid hexa digit`;
  return Uint8Array.from(text.match(/../g)!, (digits) => parseInt(digits, 16));
}

function configureKey(session: Session, args: Args): void {
  for (const entry of entriesOf(session, args)) {
    const { keySize } = rssInfoOf(entry);
    const key = keySize === 0 ? because(NO_KEY_SIZE, entry) : parseHashKey(args.text('key'), keySize);
    const why = typeof key === 'string' ? key : failureOf(() => entry.port.rss.rssUpdate({ key }));
    if (why !== undefined) session.complain(why);
  }
}

/** Parses "(0,1)(5,2)" or "(0,1),(5,2)"; undefined for anything else, and for an entry beyond `size`, with a message. */
export function parseReta(
  text: string,
  size: number,
  complain: (line: string) => void,
): (readonly [index: number, queue: number])[] | undefined {
  const entries: (readonly [number, number])[] = [];
  for (let open = text.indexOf('('); open >= 0;) {
    const close = text.indexOf(')', open);
    if (close < 0) return undefined;
    const fields = text.slice(open + 1, close).split(',');
    const [index, queue] = fields.map((field) => parseUnsigned(field.trim(), 0, U16_MAX));
    if (fields.length !== 2 || index === undefined || queue === undefined) return undefined;
    if (index >= size) {
      complain(`Invalid RETA hash index=${index}`);
      return undefined;
    }
    entries.push([index, queue]);
    open = text.indexOf('(', close);
  }
  return entries;
}

function configureReta(session: Session, args: Args): void {
  for (const entry of entriesOf(session, args)) {
    const { retaSize } = rssInfoOf(entry);
    if (retaSize === 0) {
      session.complain(because('Redirection table size is 0 which is invalid for RSS', entry));
      continue;
    }
    session.print(`The reta size of port ${entry.port.id} is ${retaSize}`);
    const reta = parseReta(args.text('entries'), retaSize, (line) => session.complain(line));
    if (reta === undefined) {
      session.complain('Invalid RSS Redirection Table config entered');
      continue;
    }
    const why =
      reta.length === 0 ? 'expected entries such as (0,1),(1,0)' : failureOf(() => entry.port.rss.retaUpdate(reta));
    if (why !== undefined) session.complain(`Bad redirection table parameter: ${why}`);
  }
}

// ---- show port -------------------------------------------------------------------------------------------------------

/** "(0xff,0x1)" -> one mask for each group of 64 entries, or why not. */
export function parseMasks(text: string, size: number): bigint[] | string {
  const invalid = `Invalid string: ${text} for reta masks`;
  const groups = Math.ceil(size / RETA_GROUP_SIZE);
  const list = /\(([^)]*)\)/.exec(text);
  if (list === null) return invalid;
  const words = list[1]!.split(',').map((word) => word.trim());
  if (words.length !== groups) {
    return `The bits of masks do not match the number of reta entries: ${groups}\n${invalid}`;
  }
  if (!words.every((word) => /^(0x[0-9a-f]{1,16}|\d{1,19})$/i.test(word))) return invalid;
  return words.map((word) => BigInt.asUintN(64, BigInt(word)));
}

function showReta(session: Session, args: Args): void {
  const size = args.number('size');
  for (const entry of entriesOf(session, args)) {
    const { retaSize } = rssInfoOf(entry);
    if (size === 0 || size > retaSize) {
      session.complain(because(`Invalid redirection table size: ${size} (1-${retaSize})`, entry));
      continue;
    }
    const masks = parseMasks(args.text('masks'), size);
    if (typeof masks === 'string') {
      session.complain(masks);
      continue;
    }
    const why = failureOf(() => {
      const reta = entry.port.rss.retaQuery().slice(0, size);
      const lines = reta.map((queue, i) => `RSS RETA configuration: hash index=${i}, queue=${queue}`);
      const shown = lines.filter(
        (_, i) => masks[Math.floor(i / RETA_GROUP_SIZE)]! & (1n << BigInt(i % RETA_GROUP_SIZE)),
      );
      if (shown.length > 0) session.print(shown.join('\n'));
    });
    if (why !== undefined) session.complain(`Failed to get RSS RETA info: ${why}`);
  }
}

function showHash(session: Session, args: Args): void {
  for (const entry of entriesOf(session, args)) {
    if (rssInfoOf(entry).keySize === 0) {
      session.complain(because(NO_KEY_SIZE, entry));
      continue;
    }
    session.attempt(() => {
      const { key, hf } = entry.port.rss.rssConf();
      if (hf === 0n) {
        session.print('RSS disabled');
        return;
      }
      const lines = ['RSS functions:', formatTypeNames(namesOfRssTypes(hf))];
      if (args.has('key')) lines.push('RSS key:', Buffer.from(key).toString('hex').toUpperCase());
      session.print(lines.join('\n'));
    });
  }
}

export const rssPortCommands: readonly Row<Testpmd>[] = [
  {
    syntax: 'port config all rss <types>',
    help: 'Set by which packet types RSS spreads: all, default, ip, tcp, udp, none, ipv4-tcp ... or a type number.',
    run: ({ session }, args) => configureTypes(session, args.text('types')),
  },
  {
    syntax: `port config <port:u16> rss-hash-key type:(${rssTypeNames.join('|')}) <key>`,
    help: 'Set the RSS hash key, as hexadecimal digits; the type has no meaning.',
    run: ({ session }, args) => configureKey(session, args),
  },
  {
    syntax: 'port config <port:u16> rss reta <entries>',
    help: 'Set entries of the RSS redirection table: (hash index,queue)[,(hash index,queue)...].',
    run: ({ session }, args) => configureReta(session, args),
  },
];

export const rssDisplayCommands: readonly Row<Testpmd>[] = [
  {
    syntax: 'show port <port:u16> rss reta <size:u16> <masks>',
    help: 'Show the RSS redirection table: its size, and a mask for each 64 entries, as in 128 (0xff,0x0).',
    run: ({ session }, args) => showReta(session, args),
  },
  {
    syntax: 'show port <port:u16> rss-hash [key]',
    help: 'Show by which packet types RSS spreads, and the key.',
    run: ({ session }, args) => showHash(session, args),
  },
];
