/** --config="(port,queue,lcore)[,(port,queue,lcore)]": which lcore polls which queue. Pure, with the sample's error texts. */
import { VirtioPmdError } from '../../native/errors.js';
import { formatList } from '../../driver/eal/lcore-list.js';
import { parseUnsigned } from '../common/values.js';

/** An Rx queue and the lcore that polls it. */
export interface RxAssignment {
  readonly port: number;
  readonly queue: number;
  readonly lcore: number;
}

/** The queues of one lcore, in the order of --config. */
export interface LcoreQueues {
  readonly lcoreId: number;
  readonly queues: readonly RxAssignment[];
}

/** MAX_RX_QUEUE_PER_LCORE */
const MAX_QUEUES_PER_LCORE = 16;
/** MAX_RX_QUEUE_PER_PORT */
const MAX_QUEUES_PER_PORT = 128;
/** Each field is a byte in the sample. */
const MAX_FIELD = 255;

const fail = (sentence: string) => new VirtioPmdError('EOPTION', `l3fwd-power: ${sentence}`);

/** Parses --config. @throws VirtioPmdError EOPTION when it is invalid for any set of ports and lcores */
export function parseConfig(text: string): readonly RxAssignment[] {
  const item = String.raw`\(\s*\w+\s*,\s*\w+\s*,\s*\w+\s*\)`;
  const malformed = fail(
    `--config=${text}: must be like "(0,0,1),(1,0,2)", each (port,queue,lcore), numbers up to ${MAX_FIELD}`,
  );
  if (!new RegExp(`^\\s*${item}(\\s*,\\s*${item})*\\s*$`).test(text)) throw malformed;
  const config = [...text.matchAll(/\(([^)]*)\)/g)].map(([, fields]) => {
    const [port, queue, lcore] = fields!.split(',').map((field) => parseUnsigned(field.trim(), 0, MAX_FIELD));
    if (port === undefined || queue === undefined || lcore === undefined) throw malformed;
    return { port, queue, lcore };
  });
  for (const { queue } of config) {
    if (queue >= MAX_QUEUES_PER_PORT) throw fail(`invalid queue number: ${queue}, in --config=${text}`);
  }
  config.forEach(({ port, queue }, i) => {
    const twice = config.findIndex((other) => other.port === port && other.queue === queue) < i;
    if (twice) throw fail(`--config=${text}: port ${port} queue ${queue} is there twice; one lcore polls a queue`);
  });
  for (const { lcoreId, queues } of byLcore(config)) {
    if (queues.length <= MAX_QUEUES_PER_LCORE) continue;
    throw fail(
      `error: too many queues (${queues.length}) for lcore: ${lcoreId}; at most ${MAX_QUEUES_PER_LCORE} are possible`,
    );
  }
  for (const port of new Set(config.map((entry) => entry.port))) {
    const ids = config.filter((entry) => entry.port === port).map((entry) => entry.queue);
    if (Math.max(...ids) === ids.length - 1) continue;
    throw fail(
      `queue ids of the port ${port} must be in sequence and must start with 0: --config has ${formatList(ids)}`,
    );
  }
  return config;
}

/** The queues by lcore, with ascending lcore ids. */
export function byLcore(config: readonly RxAssignment[]): readonly LcoreQueues[] {
  const ids = [...new Set(config.map(({ lcore }) => lcore))].sort((a, b) => a - b);
  return ids.map((lcoreId) => ({ lcoreId, queues: config.filter(({ lcore }) => lcore === lcoreId) }));
}

export function rxQueuesOf(config: readonly RxAssignment[], port: number): number {
  return config.filter((entry) => entry.port === port).length;
}

/**
 * Checks --config with the other options.
 * @param enabled ports of the mask
 * @param lcores the lcores of -l, -c or --lcores
 * @throws VirtioPmdError EOPTION
 */
export function checkConfig(
  config: readonly RxAssignment[],
  enabled: readonly number[],
  lcores: readonly number[],
): void {
  for (const { port, lcore } of config) {
    if (!lcores.includes(lcore)) {
      throw fail(
        `error: lcore ${lcore} is not enabled in lcore mask: lcores are ${formatList(lcores)} (-l, -c, --lcores)`,
      );
    }
    if (!enabled.includes(port)) {
      throw fail(`port ${port} is not enabled in port mask: the mask (-p) enables ${formatList(enabled)}`);
    }
  }
}

/** Checks that all ports exist. @throws VirtioPmdError EOPTION */
export function checkPresent(config: readonly RxAssignment[], ports: readonly number[]): void {
  const absent = config.find(({ port }) => !ports.includes(port));
  if (absent === undefined) return;
  const there = ports.length === 0 ? 'there is none' : `there are ${formatList(ports)}`;
  throw fail(`port ${absent.port} is not present on the board: ${there} (--vdev, -a)`);
}

/** Checks --pmd-mgmt=monitor. @param why this CPU cannot do it, or ''. @throws VirtioPmdError EOPTION */
export function checkMonitor(lcores: readonly LcoreQueues[], why: string): void {
  if (why !== '') throw fail(`--pmd-mgmt=monitor: ${why}; use --pmd-mgmt=pause`);
  const several = lcores.find(({ queues }) => queues.length > 1);
  if (several === undefined) return;
  throw fail(
    `--pmd-mgmt=monitor: lcore ${several.lcoreId} polls ${several.queues.length} queues, and a CPU monitors one: give each lcore one queue, or use --pmd-mgmt=pause`,
  );
}
