/** EAL options of dpdk-testpmd, from 22.11 to the newest, that have no effect here, and their valid values. */
import { flag, optional, silent, value, type IgnoredOptions } from './ignored-options.js';
import { matching, number, parsed, words } from './value-checks.js';
import { parseMask, parseNumberList, parseRangeList, U32_MAX } from './values.js';

const hugepages = 'memory is one sealed memfd';
const build = 'drivers are built in';
const trace = 'there is no tracing';
const stderr = 'notices go to stderr as they are';

const path = matching(/./, 'a path');
const name = matching(/^[\w.-]{1,64}$/, 'a name');
const lcore = number(0, 1023);
const perSocket = parsed((text) => parseNumberList(text), 'MiB per socket, as in 1024 or 1024,1024');
const facility = words(
  'auth', 'cron', 'daemon', 'ftp', 'kern', 'lpr', 'mail', 'news', 'syslog', 'user', 'uucp',
  'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7',
); // prettier-ignore

/** Options that are in most DPDK command lines are silent. */
export const ignoredEalOptions: IgnoredOptions = {
  'in-memory': silent(flag(hugepages)),
  'single-file-segments': silent(flag('there is one memory file in any case')),
  'legacy-mem': flag(hugepages),
  'match-allocations': flag(hugepages),
  'no-hpet': flag('the clock is CLOCK_MONOTONIC'),
  'no-shconf': silent(flag('no files are shared')),
  'create-uio-dev': flag('udev, or devtmpfs, makes /dev/uioN'),
  'vmware-tsc-map': flag('the clock is CLOCK_MONOTONIC'),
  telemetry: silent(flag('there is no telemetry socket')),
  'no-telemetry': silent(flag('there is no telemetry socket')),
  s: value('there are no service cores', parsed(parseMask, 'a hexadecimal mask of lcores')),
  S: value(
    'there are no service cores',
    parsed((text) => parseRangeList(text, 1023), 'lcores, as in 1,3-5'),
  ),
  n: silent(value('the number of memory channels does not matter', number(1, U32_MAX))),
  r: value('the number of memory ranks does not matter', number(1, 16)),
  d: value(build, path),
  'huge-dir': value(hugepages, path),
  'socket-limit': value(hugepages, perSocket),
  'base-virtaddr': value(
    "addresses are the kernel's choice",
    matching(/^(0[xX])?[0-9a-fA-F]{1,16}$/, 'a hexadecimal address'),
  ),
  'iova-mode': value('it follows from what the devices need', words('pa', 'va')),
  'mbuf-pool-ops-name': value('there is one kind of mempool', name),
  syslog: value('notices go to stderr', facility),
  trace: value(trace, matching(/./, 'a pattern of trace names')),
  'trace-dir': value(trace, path),
  'trace-bufsz': value(trace, matching(/^[1-9]\d{0,8}[BKMG]?$/, 'a size such as 64K or 2M')),
  'trace-mode': value(trace, words('overwrite', 'discard')),
  'vfio-intr': value('MSI-X is used where the device has it', words('legacy', 'msi', 'msix')),
  'vfio-vf-token': value(
    'virtual functions need no token here',
    matching(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/, 'a UUID'),
  ),
  'huge-unlink': optional(hugepages, words('existing', 'always', 'never')),
  'huge-worker-stack': optional('worker stacks are Node.js ones', number(1, 1 << 20)),
  'log-color': optional(stderr, words('auto', 'always', 'never')),
  'log-timestamp': optional(stderr, matching(/^[a-z][a-z:-]{0,31}$/, 'the name of a format, such as iso')),
  R: optional('lcores have the ids that -l gives them', lcore),
};
