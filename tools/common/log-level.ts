/** --log-level, with syslog's levels: `debug`, `8`, `pmd.net.virtio.*:debug` or `user1,notice`. */
import { parseUnsigned } from './values.js';

export const LOG_LEVELS = ['emergency', 'alert', 'critical', 'error', 'warning', 'notice', 'info', 'debug'] as const;
export type LogLevelName = (typeof LOG_LEVELS)[number];

/** syslog's number of a level: 1 is emergency, 8 debug. */
export const logLevelNumber = (name: LogLevelName): number => LOG_LEVELS.indexOf(name) + 1;

const INFO = logLevelNumber('info');

/** One --log-level. */
export interface LogSetting {
  /** Pattern for names of log types, with `*`; undefined: all of them. */
  readonly pattern: string | undefined;
  /** Lines of this level (1 emergency to 8 debug) and below are shown. */
  readonly level: number;
}

/** Parses a setting; undefined when its level is invalid. A level may be abbreviated: `err`. */
export function parseLogLevel(text: string): LogSetting | undefined {
  const [, pattern, word] = /^(?:(.*)[:,])?([^:,]*)$/s.exec(text)!;
  const found = LOG_LEVELS.findIndex((name) => word !== '' && name.startsWith(word!)) + 1;
  const level = parseUnsigned(word!, 1, LOG_LEVELS.length) ?? found;
  return level === 0 ? undefined : { pattern, level };
}

/** Whether lines of `type` at level INFO are shown; false after `--log-level=user1:notice` or `--log-level=warning`. */
export function logsInfo(settings: readonly LogSetting[], type: string): boolean {
  let ofAll = INFO;
  let ofType = INFO;
  for (const { pattern, level } of settings) {
    if (pattern === undefined) ofAll = level;
    else if (matches(pattern, type)) ofType = level;
  }
  return Math.min(ofAll, ofType) >= INFO;
}

/** Matches a shell pattern with `*`. */
function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[^\w]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(name);
}
