/** What --log-level says of the sample's own lines, RTE_LOGTYPE_USER1 at level INFO. Pure. */
const levels = ['emergency', 'alert', 'critical', 'error', 'warning', 'notice', 'info', 'debug'];
const INFO = 7;

/** False when an option keeps them quiet, such as `--log-level=user1:notice` or `--log-level=warning`. @param argv EAL options, checked */
export function logsInfo(argv: readonly string[]): boolean {
  const given = argv.flatMap((word, i) => {
    if (word === '--log-level') return argv[i + 1] ?? [];
    return word.startsWith('--log-level=') ? word.slice('--log-level='.length) : [];
  });
  let ofAll = INFO;
  let ofUser1 = INFO;
  for (const text of given) {
    const [, pattern, level] = /^(?:(.*)[:,])?([^:,]*)$/.exec(text)!;
    const number = Number(level) || levels.findIndex((name) => name.startsWith(level!)) + 1;
    if (pattern === undefined) ofAll = number;
    else if (matches(pattern, 'user1')) ofUser1 = number;
  }
  return Math.min(ofAll, ofUser1) >= INFO;
}

/** A shell pattern with `*`. */
function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[^\w]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(name);
}
