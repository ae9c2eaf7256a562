#!/usr/bin/env node
/** testpmd: dpdk-testpmd's command line, commands and output, on this driver. */
import { isVirtioPmdError, VirtioPmdError } from '../../native/errors.js';
import { processCpus, type Eal, type LcoreMap } from '../../driver/eal/eal.js';
import { attach } from '../../driver/port/attach.js';
import type { Port } from '../../driver/port/port.js';
import type { PortEvents } from '../../driver/port/types.js';
import { devicesOf } from '../common/devices.js';
import { complain, ealOf, logOf, print, runProgram } from '../common/eal-program.js';
import { understandsEscapes } from '../common/terminal.js';
import { HEADROOM, parseAppOptions, type AppArguments } from './options/app-options.js';
import { linesOfFile } from './commands/lines.js';
import { portStatsText } from './commands/display.js';
import { warnOddPorts } from './commands/config.js';
import type { EalArguments } from '../common/eal-options.js';
import { loadMode } from './engines/load-mode.js';
import { mbufsNeeded } from './mbufs.js';
import { isUserMode } from './engines/modes.js';
import { prompt, runFile } from './prompt.js';
import { Session } from './session.js';
import { settingsFrom } from './settings.js';
import { Testpmd } from './testpmd.js';
import { usage } from './options/usage.js';
import { parseMac } from '../../driver/wire/mac.js';

/** Adds an lcore on the same CPUs when there is only one, so that one can forward. */
function withForwardingLcore(asked: LcoreMap | undefined): LcoreMap {
  const map = asked ?? new Map(processCpus().map((cpu) => [cpu, [cpu]]));
  if (map.size > 1) return map;
  const [main, cpus] = [...map][0]!;
  complain(
    `EAL: lcore ${main} is alone: lcore ${main + 1} is added to forward, on the same CPU; give two lcores (-l 0,1) for speed`,
  );
  return new Map([...map, [main + 1, cpus]]);
}

function makeEal(args: EalArguments): Eal {
  return ealOf(args, withForwardingLcore(args.lcores), args.mainLcore);
}

async function probe(eal: Eal, args: EalArguments, signal: AbortSignal, log: PortEvents['log']): Promise<Port[]> {
  const ports: Port[] = [];
  try {
    for (const device of devicesOf(args, log)) ports.push(await attach(eal, device, { signal, log }));
  } catch (error) {
    for (const port of ports) port.close();
    throw error;
  }
  if (ports.length === 0) complain('testpmd: No probed ethernet devices');
  return ports;
}

/** Checks the number of queues before any memory is made, with dpdk-testpmd's error text. */
function checkQueues(ports: readonly Port[], app: AppArguments): void {
  const check = (direction: 'rx' | 'tx', count: number, most: (port: Port) => number) => {
    const port = ports.find((candidate) => most(candidate) < count);
    if (port === undefined) return;
    const max = most(port);
    throw new VirtioPmdError(
      'EOPTION',
      `Fail: input ${direction}q (${count}) can't be greater than max_${direction}_queues (${max}) of port ${port.id}: give --${direction}q=${max} or less, or attach the port with queues=${count} if its driver has that argument and the other side as many`,
    );
  };
  check('rx', app.rxQueues, (port) => port.info().maxRxQueues);
  check('tx', app.txQueues, (port) => port.info().maxTxQueues);
}

function makeSession(eal: Eal, ports: readonly Port[], args: EalArguments, app: AppArguments, log: PortEvents['log']) {
  checkQueues(ports, app);
  const settings = settingsFrom(app);
  const count =
    app.totalMbufs ??
    mbufsNeeded({
      queueSizes: ports.map((port) => port.info().queueSize),
      queues: Math.max(app.rxQueues, app.txQueues),
      burst: app.burst,
      lcores: eal.lcores.workers.length + 1,
      cacheSize: app.mbufCache,
      headroom: HEADROOM,
      dataRoom: app.mbufSize - HEADROOM,
    });
  complain(`testpmd: create a new mbuf pool <mb_pool_0>: n=${count}, size=${app.mbufSize}, socket=0`);
  const mempool = eal.createMempool({
    name: 'mb_pool_0',
    count,
    headroom: HEADROOM,
    dataRoom: app.mbufSize - HEADROOM,
    cacheSize: app.mbufCache,
  });
  return new Session(eal, app, settings, mempool, args.maxSimdBitwidth, { print, complain }, log);
}

/** Checks that need ports and lcores. */
function checkForwarding(session: Session): void {
  const { app, eal, settings } = session;
  const fail = (sentence: string) => new VirtioPmdError('EOPTION', sentence);
  const { workers, main } = eal.lcores;
  if (app.coreList?.includes(main)) {
    throw fail(`lcore ${main} cannot be masked on for running packet forwarding, which is the main lcore`);
  }
  const absent = app.coreList?.find((core) => !workers.includes(core));
  if (absent !== undefined) throw fail(`lcore ${absent} not enabled: forwarding cores can be ${workers.join(', ')}`);
  const cores = session.coreCandidates.length;
  if (settings.coreCount > cores) throw fail(`nb-cores should be > 0 and <= ${cores}`);
  if (app.ports !== undefined && app.ports > session.ports.size) {
    throw fail(`Invalid port ${app.ports}: nb-ports should be > 0 and <= ${session.ports.size}`);
  }
}

/** --eth-peers-configfile: one MAC address per line, for ports 0, 1, ... */
async function readPeers({ settings }: Session, path: string, signal: AbortSignal): Promise<void> {
  let port = 0;
  for await (const line of linesOfFile('eth-peers-configfile', path, signal, complain)) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const mac = parseMac(line.trim());
    if (!mac)
      throw new VirtioPmdError(
        'EOPTION',
        `--eth-peers-configfile=${path}: '${line}' is no MAC address: one a line is expected, as in 02:00:00:00:00:01`,
      );
    settings.ethPeers.set(port++, mac);
  }
}

/** As in dpdk-testpmd, every port starts promiscuous; it is no error when a device cannot, or knows no other mode. */
function enablePromiscuous(session: Session): void {
  for (const { port } of session.select('all')) {
    if (!port.started || port.lacks('filters') !== undefined) continue;
    try {
      port.setPromiscuous(true);
    } catch (error) {
      if (!isVirtioPmdError(error)) throw error;
      const why = error.code === 'ECONFIG' ? 'Operation not supported' : error.message;
      complain(`Error during enabling promiscuous mode for port ${port.id}: ${why} - ignore`);
    }
  }
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/**
 * Without -i: forwards until enter is pressed, or (with --stats-period) until a signal.
 * @throws VirtioPmdError ELCORE when nothing is forwarded, or all lcores have failed.
 */
async function runUnattended(testpmd: Testpmd, signal: AbortSignal): Promise<void> {
  const { app } = testpmd.session;
  print('No commandline core given, start packet forwarding');
  testpmd.forwarding.start(app.txFirst ? 1 : 0);
  if (!testpmd.forwarding.running) throw new VirtioPmdError('ELCORE', 'Start packet forwarding failed');
  let failed = false;
  const end = Promise.race([aborted(signal), testpmd.forwarding.ended.then(() => void (failed = true))]);
  await untilDone(testpmd, end);
  if (failed) throw new VirtioPmdError('ELCORE', 'Packet forwarding failed on every lcore');
}

/** Shows statistics (--stats-period), or waits for enter, until `end`. */
async function untilDone({ session }: Testpmd, end: Promise<void>): Promise<void> {
  const { app } = session;
  if (app.statsPeriod > 0) {
    const timer = setInterval(() => {
      // clears the screen on a terminal
      const clear = understandsEscapes() ? '\x1b[2J\x1b[1;1H' : '';
      const texts = session.forwardingPorts.map((id) => portStatsText(session.ports.get(id)!));
      print(`${clear}\nPort statistics ====================================${texts.join('\n')}`);
    }, app.statsPeriod * 1000);
    await end;
    clearInterval(timer);
    return;
  }
  print('Press enter to exit');
  const enter = new Promise<void>((resolve) => {
    process.stdin.once('data', () => resolve());
    process.stdin.once('end', () => resolve());
    process.stdin.on('error', () => resolve());
  });
  process.stdin.resume();
  await Promise.race([enter, end]);
  process.stdin.destroy();
}

async function runInteractive(testpmd: Testpmd): Promise<void> {
  if (testpmd.session.app.autoStart) {
    print('Start automatic packet forwarding');
    testpmd.forwarding.start(0);
  }
  await prompt(testpmd);
}

async function run(eal: Eal, args: EalArguments, app: AppArguments, signal: AbortSignal): Promise<void> {
  if (isUserMode(app.mode)) await loadMode(app.mode); // reports errors before `start`
  const log = logOf(args);
  const ports = await probe(eal, args, signal, log);
  const interactive = app.interactive || app.autoStart;
  if (app.interactive) print('Interactive-mode selected');
  if (app.autoStart) print('Auto-start selected');
  if (app.cmdlineFile) print(`CLI commands to be read from ${app.cmdlineFile.path}`);
  const session = makeSession(eal, ports, args, app, log);
  const testpmd = new Testpmd(session, signal);
  for (const port of ports) testpmd.ports.adopt(port);
  try {
    checkForwarding(session);
    if (app.ethPeersFile !== undefined) await readPeers(session, app.ethPeersFile, signal);
    warnOddPorts(session);
    if (app.startDevices && !testpmd.ports.start('all')) {
      complain('Start ports failed');
      if (!interactive) throw new VirtioPmdError('ECONFIG', 'Start ports failed');
    }
    enablePromiscuous(session);
    if (app.cmdlineFile) await runFile(testpmd, app.cmdlineFile.path, app.cmdlineFile.echo);
    if (session.quitting || signal.aborted) return;
    if (interactive) await runInteractive(testpmd);
    else await runUnattended(testpmd, signal);
  } finally {
    testpmd.ports.shutdown();
  }
}

await runProgram({ name: 'testpmd', usage, parse: parseAppOptions, makeEal, run });
