/**
 * Which lcores there are, and on which CPUs each may run: -l, -c, --lcores and --main-lcore. No I/O, except for one question
 * which CPUs this process may use.
 */
import { aString, checkArguments, numbers, oneOf } from '../../native/arguments.js';
import { availableCpus } from '../../native/cpu.js';
import { VirtioPmdError } from '../../native/errors.js';
import { MAX_LCORES } from '../../paths/mempool.js';

/** lcore id -> CPUs that it may run on, ascending by id. */
export type LcoreMap = ReadonlyMap<number, readonly number[]>;
/** Options of the EAL that name lcores. */
export type LcoreOption = '-l' | '-c' | '--lcores';

/** CPUs of this process when this module was loaded: later the main thread is pinned, and the kernel would name fewer. */
let cpusAtStart: readonly number[] | undefined;
try {
  cpusAtStart = availableCpus();
} catch {
  // no system calls on this machine (native/koffi.ts): the first call of processCpus gets the error
}

/** CPUs that this process may use, ascending. @throws VirtioPmdError ESYSTEM where no system calls can be made */
export function processCpus(): readonly number[] {
  return (cpusAtStart ??= availableCpus());
}

/**
 * Reads the lcore options of the EAL.
 * @param option `-l` is a list of CPUs (`0-3,5`) and `-c` a hexadecimal mask of them: the lcore has its CPU's number.
 *   `--lcores` is `<lcores>[@<cpus>][,...]`, each side a number, a range or a group in brackets, as in
 *   `0@0,1@(0-1),(2-3)@1`; without `@`, the lcores of a bare number or range run on the CPU of their number, those of a
 *   group in brackets on all the group's CPUs.
 * @param cpus CPUs that may be used.
 * @returns the lcores, ascending by id.
 * @throws VirtioPmdError EOPTION when the text is malformed; ELCORE for an lcore id or a CPU that is not available.
 */
export function parseLcores(option: LcoreOption, text: string, cpus: readonly number[] = processCpus()): LcoreMap {
  checkArguments('parseLcores', {
    option: [option, oneOf('-l', '-c', '--lcores')],
    text: [text, aString],
    cpus: [cpus, numbers],
  });
  const map = new Map<number, readonly number[]>();
  const add = (lcore: number, on: readonly number[]) => {
    if (map.has(lcore))
      throw new VirtioPmdError('ELCORE', `${option} ${text}: lcore ${lcore} is there twice; name it once`);
    map.set(lcore, on);
  };
  if (option === '-c') for (const cpu of parseMask(text)) add(cpu, [cpu]);
  else if (option === '-l') for (const cpu of parseList(option, text, text)) add(cpu, [cpu]);
  else {
    for (const item of splitItems(text)) {
      const [left, right, ...more] = item.split('@');
      if (more.length > 0) throw malformed(option, text, `"${item}" has more than one @`);
      const lcores = parseSet(option, text, left!);
      const on = right === undefined ? undefined : parseSet(option, text, right);
      for (const lcore of lcores) add(lcore, on ?? (left!.startsWith('(') ? lcores : [lcore]));
    }
  }
  const sorted = new Map([...map].sort(([a], [b]) => a - b));
  checkLcores(sorted, `${option} ${text}`, cpus);
  return sorted;
}

/**
 * @param what names the option in a message.
 * @throws VirtioPmdError ELCORE when there is no lcore, an id is out of range or a CPU is not one of `cpus`.
 */
export function checkLcores(map: LcoreMap, what: string, cpus: readonly number[] = processCpus()): void {
  if (map.size === 0) throw new VirtioPmdError('ELCORE', `${what}: at least one lcore is needed`);
  for (const [lcore, on] of map) {
    if (!Number.isInteger(lcore) || lcore < 0 || lcore >= MAX_LCORES) {
      throw new VirtioPmdError('ELCORE', `${what}: there is no lcore ${lcore}: ids go from 0 to ${MAX_LCORES - 1}`);
    }
    if (on.length === 0) throw new VirtioPmdError('ELCORE', `${what}: lcore ${lcore} has no CPU to run on`);
    for (const cpu of on) {
      if (cpus.includes(cpu)) continue;
      throw new VirtioPmdError(
        'ELCORE',
        `${what}: lcore ${lcore} needs CPU ${cpu}, which this process cannot use: it has CPU ${formatList(cpus)}; several lcores may share one, as in --lcores '0@${cpus[0]},1@${cpus[0]}'`,
      );
    }
  }
}

/** The main lcore: the one asked for, else the lowest. @throws VirtioPmdError ELCORE when it is not one of the lcores. */
export function chooseMainLcore(map: LcoreMap, asked?: number): number {
  const main = asked ?? Math.min(...map.keys());
  if (map.has(main)) return main;
  throw new VirtioPmdError(
    'ELCORE',
    `main lcore ${main} is not one of the lcores: choose one of ${formatList([...map.keys()])}`,
  );
}

/** 0,1,2,5 -> "0-2,5" */
export function formatList(numbers: readonly number[]): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const runs: [number, number][] = [];
  for (const n of sorted) {
    const last = runs.at(-1);
    if (last && n === last[1] + 1) last[1] = n;
    else runs.push([n, n]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}

function malformed(option: LcoreOption, text: string, why: string): VirtioPmdError {
  const example = { '-l': '-l 0-3,5', '-c': '-c 0x3', '--lcores': "--lcores '0@0,1@(0-1),(2-3)@1'" }[option];
  return new VirtioPmdError('EOPTION', `${option} ${text}: ${why}; expected something like ${example}`);
}

function parseMask(text: string): number[] {
  const digits = text.trim().replace(/^0x/i, '');
  if (!/^[0-9a-f]+$/i.test(digits)) throw malformed('-c', text, 'not a hexadecimal mask');
  if (digits.length > 256) throw malformed('-c', `of ${digits.length} digits`, 'there are 1024 CPUs in a CPU set');
  const cpus: number[] = [];
  let mask = BigInt(`0x${digits}`);
  for (let cpu = 0; mask !== 0n; cpu++, mask >>= 1n) if (mask & 1n) cpus.push(cpu);
  return cpus;
}

/** `(1,3-5)`, `3-5` or `4` */
function parseSet(option: LcoreOption, text: string, set: string): number[] {
  const bracketed = /^\((.*)\)$/.exec(set);
  const list = parseList(option, text, bracketed ? bracketed[1]! : set);
  return [...new Set(list)];
}

function parseList(option: LcoreOption, text: string, list: string): number[] {
  return list.split(',').flatMap((item) => {
    const range = /^(\d+)(?:-(\d+))?$/.exec(item.trim());
    if (!range)
      throw malformed(option, text, item.trim() === '' ? 'a number is missing' : `"${item}" is no number or range`);
    const from = Number(range[1]);
    const to = Number(range[2] ?? from);
    if (to < from) throw malformed(option, text, `"${item}" runs backwards`);
    // the bound keeps a typing slip like 0-99999999999 from filling memory
    if (to >= 1024) throw malformed(option, text, `${to} is beyond the 1024 CPUs of a CPU set`);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/** Splits at the commas outside brackets. */
function splitItems(text: string): string[] {
  const items: string[] = [];
  let item = '';
  let depth = 0;
  for (const char of text.replace(/\s/g, '')) {
    if (char === '(') depth++;
    if (char === ')') depth--;
    if (depth < 0 || depth > 1) throw malformed('--lcores', text, 'the brackets do not match');
    if (char === ',' && depth === 0) {
      items.push(item);
      item = '';
    } else item += char;
  }
  if (depth !== 0) throw malformed('--lcores', text, 'the brackets do not match');
  return [...items, item];
}
