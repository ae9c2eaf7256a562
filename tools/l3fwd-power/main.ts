#!/usr/bin/env node
/** l3fwd-power: dpdk-l3fwd-power's command line and output, on this driver. See `usage`. */
import { readFileSync } from 'node:fs';
import { isVirtioPmdError, VirtioPmdError } from '../../native/errors.js';
import { monitorStatus } from '../../native/monitor.js';
import { processCpus, type Eal, type LcoreMap } from '../../driver/eal/eal.js';
import { chooseMainLcore } from '../../driver/eal/lcore-list.js';
import type { Port } from '../../driver/port/port.js';
import { complain, ealOf, logOf, print, runProgram } from '../common/eal-program.js';
import type { EalArguments } from '../common/eal-options.js';
import { logsInfo } from '../common/log-level.js';
import { byLcore, checkConfig, checkMonitor, checkPresent } from './lcore-config.js';
import { parseOptions, type L3fwdOptions, type Mode } from './options.js';
import { attachAll, setUpPorts, watchLinks, type Output } from './ports.js';
import { defaultRoutes, enabledRoutes, parseRoutes, routeLines, type Routes } from './routes.js';
import { Forwarding } from './forwarding.js';
import { usage } from './usage.js';

const TELEMETRY_MS = 1000;
const info = (text: string) => complain(`L3FWD_POWER: ${text}`);

/**
 * The sample's main lcore forwards like the others. Here the main thread handles ports and signals, so it gets an additional
 * lcore id, on the same CPUs.
 */
function withMainLcore(asked: LcoreMap | undefined, mainLcore: number | undefined): { map: LcoreMap; main: number } {
  const map = asked ?? new Map(processCpus().map((cpu) => [cpu, [cpu]]));
  const cpus = map.get(chooseMainLcore(map, mainLcore))!;
  let main = 0;
  while (map.has(main)) main++;
  return { map: new Map([...map, [main, cpus]]), main };
}

function makeEal(args: EalArguments): Eal {
  const { map, main } = withMainLcore(args.lcores, args.mainLcore);
  return ealOf(args, map, main);
}

function chooseMode({ mode }: L3fwdOptions): Mode {
  if (mode === undefined) {
    info('Operating mode not specified, probing frequency scaling support...');
    info('Frequency scaling not supported, selecting interrupt-only mode');
  }
  info(`Selected operation mode: ${mode ?? 'interrupt-only'}`);
  return mode ?? 'interrupt-only';
}

function readRules(option: string, path: string): Routes {
  try {
    return parseRoutes(readFileSync(path, 'utf8'), path);
  } catch (cause) {
    if (isVirtioPmdError(cause)) throw cause;
    throw new VirtioPmdError('EOPTION', `--${option}=${path}: ${(cause as Error).message}`, { cause });
  }
}

/** The routes: each of the two files has those of its family; without a file they are the sample's. */
function chooseRoutes({ ruleIpv4, ruleIpv6 }: L3fwdOptions): Routes {
  const ipv4 = ruleIpv4 === undefined ? defaultRoutes() : readRules('rule_ipv4', ruleIpv4);
  const ipv6 = ruleIpv6 === undefined ? defaultRoutes() : readRules('rule_ipv6', ruleIpv6);
  if (ruleIpv4 !== undefined && ipv4.ipv6.length > 0) {
    throw new VirtioPmdError('EOPTION', `--rule_ipv4=${ruleIpv4} has IPv6 routes: give those by --rule_ipv6`);
  }
  if (ruleIpv6 !== undefined && ipv6.ipv4.length > 0) {
    throw new VirtioPmdError('EOPTION', `--rule_ipv6=${ruleIpv6} has IPv4 routes: give those by --rule_ipv4`);
  }
  return { ipv4: ipv4.ipv4, ipv6: ipv6.ipv6 };
}

const idsOf = (ports: readonly Port[]) => ports.map((port) => port.id);

/** Forwards until a signal, or until an lcore fails. */
async function forward(forwarding: Forwarding, mode: Mode, signal: AbortSignal): Promise<void> {
  const show = () => print(forwarding.statistics());
  process.on('SIGUSR1', show);
  const telemetry = mode === 'telemetry' ? setInterval(() => print(forwarding.telemetry()), TELEMETRY_MS) : undefined;
  try {
    await forwarding.run(signal);
  } finally {
    clearInterval(telemetry);
    process.off('SIGUSR1', show);
    show();
  }
}

async function run(eal: Eal, args: EalArguments, options: L3fwdOptions, signal: AbortSignal): Promise<void> {
  process.on('SIGUSR1', () => {}); // without a listener, Node would start its debugger
  const output: Output = { print, complain, log: logOf(args) };
  const lcores = byLcore(options.config);
  checkConfig(options.config, options.ports, eal.lcores.workers);
  const mode = chooseMode(options);
  if (options.mode === 'pmd mgmt' && options.pmdMgmt === 'monitor') checkMonitor(lcores, monitorStatus());
  if (!options.parsePtype) {
    throw new VirtioPmdError(
      'EOPTION',
      'PMD can not provide needed ptypes: ports here report no packet types, add --parse-ptype to find them out by software',
    );
  }
  const routes = chooseRoutes(options);
  const attached: Port[] = [];
  let unwatch = () => {};
  try {
    await attachAll(eal, attached, args, signal, output);
    checkPresent(options.config, idsOf(attached));
    const { maxSimdBitwidth } = args;
    const ports = setUpPorts(attached, { eal, options, mode, lcores, maxSimdBitwidth, output });
    const enabled = enabledRoutes(routes, idsOf(ports));
    for (const line of routeLines(enabled)) print(line);
    unwatch = watchLinks(ports, output);
    const idle = eal.lcores.workers.filter((id) => !lcores.some(({ lcoreId }) => lcoreId === id));
    for (const id of idle) info(`lcore ${id} has nothing to do`);
    const tellSleeps = logsInfo(args.logSettings, 'user1');
    const plan = { eal, ports, options, mode, lcores, routes: enabled, tellSleeps, info };
    await forward(new Forwarding(plan), mode, signal);
  } finally {
    unwatch();
    for (const port of attached) port.close();
  }
}

await runProgram({ name: 'l3fwd-power', usage, parse: parseOptions, makeEal, run });
