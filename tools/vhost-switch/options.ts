/** The command line of vhost-switch. */
import { VirtioPmdError } from '../../native/errors.js';
import { versionText } from '../common/version.js';
import { all, has, last, parseArgs, table } from '../common/parse.js';

export interface SwitchOptions {
  readonly socketFiles: readonly string[];
  readonly client: boolean;
  /** Seconds between two screens of statistics; 0: none. */
  readonly stats: number;
  readonly mergeable: boolean;
  readonly queues: number;
  /** CPU to run on, or undefined for any. */
  readonly cpu: number | undefined;
  readonly mbufs: number;
  /** Accept guest memory in files of any file system. */
  readonly anyMemoryFile: boolean;
  readonly verbose: boolean;
}

const usage = `vhost-switch: an Ethernet switch between virtual machines or virtio_user ports, over vhost-user

  vhost-switch --socket-file PATH [--socket-file PATH ...] [options]

  --socket-file PATH    a vhost-user socket, one for each guest (repeatable); with a single one its guest gets its own
                        packets back
  --client              connect to the sockets (and try again each second) instead of listening on them
  --queues N            queue pairs for each guest, 1 to 128 (default 1)
  --mergeable 0|1       offer MRG_RXBUF, without which a packet has to fit one buffer (default 1)
  --stats SEC           print statistics every SEC seconds (default 0: never)
  --total-num-mbufs N   packet buffers (default 8192)
  --any-memory-file     take guests whose memory is in a file on a disk, and not only memfd, tmpfs and hugetlbfs; whoever
                        brings such a file can make the switch wait
  -l, --lcores CPU      run on this CPU
  --verbose             print what the front-ends send
  -h, --help; -v, --version
`;

export const switchTable = table(
  ['client', 'any-memory-file', 'verbose', 'help', 'version'],
  ['queues', 'mergeable', 'stats', 'total-num-mbufs', 'lcores'],
  ['socket-file'],
  { l: 'lcores', h: 'help', v: 'version' },
);

const fail = (sentence: string) => new VirtioPmdError('EOPTION', sentence);

/** @returns options, or a text that is all there is to print. @throws VirtioPmdError EOPTION with one sentence. */
export function parseOptions(argv: readonly string[]): SwitchOptions | string {
  const given = parseArgs('', switchTable, argv);
  if (has(given, 'help')) return usage;
  if (has(given, 'version')) return versionText('vhost-switch');
  const socketFiles = all(given, 'socket-file');
  if (socketFiles.length === 0)
    throw fail('--socket-file is missing: give a path, as in --socket-file /tmp/vhost.sock');
  const twice = socketFiles.find((path, i) => socketFiles.indexOf(path) !== i);
  if (twice !== undefined) throw fail(`--socket-file ${twice} is given twice: give each guest a socket of its own`);
  if (socketFiles.includes('')) throw fail('--socket-file: a path is expected');
  const cpu = last(given, 'lcores');
  const number = (name: string, fallback: number, least: number, most: number) =>
    integer(`--${name}`, last(given, name) ?? `${fallback}`, least, most);
  return {
    socketFiles,
    client: has(given, 'client'),
    queues: number('queues', 1, 1, 128),
    mergeable: number('mergeable', 1, 0, 1) === 1,
    stats: number('stats', 0, 0, 86400),
    mbufs: number('total-num-mbufs', 8192, 256, 500_000),
    cpu: cpu === undefined ? undefined : integer('--lcores', cpu, 0, 1023),
    anyMemoryFile: has(given, 'any-memory-file'),
    verbose: has(given, 'verbose'),
  };
}

function integer(option: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  throw fail(`${option} ${text}: a number from ${least} to ${most} is expected`);
}
