/**
 * What values the options may have whose value is of no use here: DPDK refuses others, and a command line with a slip in it
 * should not run here to fail there.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { all, dashed, type Values } from './parse.js';
import { parseHex, parseMask, parseNumberList, parseRangeList, parseUnsigned, U16_MAX, U32_MAX } from './values.js';

interface Check {
  accepts(text: string): boolean;
  /** Behind "must be". */
  readonly expected: string;
}

const words = (...accepted: readonly string[]): Check => ({
  accepts: (text) => accepted.includes(text),
  expected: accepted.length > 1 ? `${accepted.slice(0, -1).join(', ')} or ${accepted.at(-1)}` : accepted[0]!,
});
const number = (min: number, max: number): Check => ({
  accepts: (text) => parseUnsigned(text, min, max) !== undefined,
  expected: `a number from ${min} to ${max}`,
});
const matching = (pattern: RegExp, expected: string): Check => ({ accepts: (text) => pattern.test(text), expected });
const parsed = (parse: (text: string) => unknown, expected: string): Check => ({
  accepts: (text) => parse(text) !== undefined,
  expected,
});
/** An option whose value was left out. */
const orNothing = (check: Check): Check => ({
  accepts: (text) => text === '' || check.accepts(text),
  expected: check.expected,
});

const path = matching(/./, 'a path');
const name = matching(/^[\w.-]{1,64}$/, 'a name');
const lcore = number(0, 1023);
const port = number(0, U16_MAX);
const count = number(0, 0x7fffffff);
const threshold = number(0, 255);
const numbers = parsed((text) => parseNumberList(text), 'numbers, as in 64 or 64,128');
const perSocket = parsed((text) => parseNumberList(text), 'MiB per socket, as in 1024 or 1024,1024');
const event = words(
  'unknown', 'intr_lsc', 'queue_state', 'intr_reset', 'vf_mbox', 'ipsec', 'macsec', 'intr_rmv', 'dev_probed',
  'dev_released', 'flow_aged', 'err_recovering', 'recovery_success', 'recovery_failed', 'all',
); // prettier-ignore
const facility = words(
  'auth', 'cron', 'daemon', 'ftp', 'kern', 'lpr', 'mail', 'news', 'syslog', 'user', 'uucp',
  'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7',
); // prettier-ignore

export type Checks = Readonly<Record<string, Check>>;

export const ealChecks: Checks = {
  s: parsed(parseMask, 'a hexadecimal mask of lcores'),
  S: parsed((text) => parseRangeList(text, 1023), 'lcores, as in 1,3-5'),
  n: number(1, U32_MAX),
  r: number(1, 16),
  d: path,
  'huge-dir': path,
  'socket-limit': perSocket,
  'base-virtaddr': matching(/^(0[xX])?[0-9a-fA-F]{1,16}$/, 'a hexadecimal address'),
  'iova-mode': words('pa', 'va'),
  'mbuf-pool-ops-name': name,
  syslog: facility,
  trace: matching(/./, 'a pattern of trace names'),
  'trace-dir': path,
  'trace-bufsz': matching(/^[1-9]\d{0,8}[BKMG]?$/, 'a size such as 64K or 2M'),
  'trace-mode': words('overwrite', 'discard'),
  'vfio-intr': words('legacy', 'msi', 'msix'),
  'vfio-vf-token': matching(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/, 'a UUID'),
  'huge-unlink': orNothing(words('existing', 'always', 'never')),
  'huge-worker-stack': orNothing(number(1, 1 << 20)),
  'log-color': orNothing(words('auto', 'always', 'never')),
  'log-timestamp': orNothing(matching(/^[a-z][a-z:-]{0,31}$/, 'the name of a format, such as iso')),
  R: orNothing(lcore),
};

export const appChecks: Checks = {
  'port-numa-config': matching(/^\(\d{1,5},\d{1,3}\)(,\(\d{1,5},\d{1,3}\))*$/, '(port,socket)[,(port,socket)...]'),
  'ring-numa-config': matching(
    /^\(\d{1,5},[123],\d{1,3}\)(,\(\d{1,5},[123],\d{1,3}\))*$/,
    '(port,flag,socket)[,(port,flag,socket)...] with a flag of 1 to 3',
  ),
  'socket-num': number(0, 255),
  'num-procs': number(1, U16_MAX),
  'proc-id': number(0, U16_MAX),
  'display-xstats': matching(/^[\w,]+$/, 'names of statistics, as in rx_good_packets,tx_good_packets'),
  'max-lro-pkt-size': number(0, U32_MAX),
  'flowgen-clones': number(0, U16_MAX),
  hairpinq: number(0, U16_MAX),
  'hairpin-mode': number(0, U32_MAX),
  'hairpin-map': matching(/^\d{1,5}(:\d{1,5})*$/, 'numbers with colons between them, as in 0:1:1:1:2'),
  rxpt: threshold,
  rxht: threshold,
  rxwt: threshold,
  txpt: threshold,
  txht: threshold,
  txwt: threshold,
  txrst: number(0, 0x7fff),
  rxoffs: numbers,
  rxpkts: numbers,
  rxhdrs: matching(/^[a-z][\w-]*(,[a-z][\w-]*)*$/, 'names of headers, as in eth,ipv4'),
  'rxq-share': orNothing(number(0, U32_MAX)),
  'eth-link-speed': number(0, 0x7fffffff),
  'bitrate-stats': lcore,
  latencystats: lcore,
  'print-event': event,
  'mask-event': event,
  'vxlan-gpe-port': port,
  'geneve-parsed-port': port,
  'mp-alloc': words('native', 'anon', 'xmem', 'xmemhuge', 'xbuf'),
  'rx-mq-mode': parsed((text) => parseHex(text, 7), 'hexadecimal bits, from 0 to 0x7'),
  'noisy-forward-mode': words('io', 'mac', 'macswap', '5tswap'),
  'noisy-tx-sw-buffer-size': count,
  'noisy-tx-sw-buffer-flushtime': count,
  'noisy-lkup-memory': count,
  'noisy-lkup-num-writes': count,
  'noisy-lkup-num-reads': count,
  'noisy-lkup-num-reads-writes': count,
};

/** @throws VirtioPmdError EOPTION: the first value that DPDK would not take */
export function checkValues(program: string, values: Values, checks: Checks): void {
  for (const [option, check] of Object.entries(checks)) {
    const bad = all(values, option).find((text) => !check.accepts(text));
    if (bad === undefined) continue;
    const typed = `${dashed(option)}${option.length === 1 ? ' ' : '='}${bad}`;
    throw new VirtioPmdError('EOPTION', `${program}: ${typed}: must be ${check.expected}`);
  }
}
