/** The environment of a result: CPU, kernel, Node, DPDK, and the commit. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { root } from './peer.js';

export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  readonly arch: string;
  /** The CPU flags that matter for vectorized paths, with the kernel's names. */
  readonly flags: readonly string[];
  readonly kernel: string;
  readonly node: string;
  /** The version of DPDK, or 'not installed'. */
  readonly dpdk: string;
  /** Abbreviated; ends in '+changes' when the working tree differs from it. 'unknown' outside a clone. */
  readonly commit: string;
}

const telling = ['sse4_2', 'avx2', 'avx512f', 'avx512bw', 'avx512vl', 'asimd', 'sve', 'hypervisor'];

/** `text` is /proc/cpuinfo: flags on x86, Features on arm64. */
export function cpuFlags(text: string): string[] {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1] ?? '';
  const present = new Set(line.trim().split(/\s+/));
  return telling.filter((flag) => present.has(flag));
}

function output(command: string, args: readonly string[]): string | undefined {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  return error !== undefined || status !== 0 ? undefined : stdout + stderr;
}

/** For example '22.11.11', or undefined when there is no dpdk-testpmd. */
function dpdkVersion(): string | undefined {
  const eal = ['-v', '-h', '--no-pci', '--no-huge', '-m', '16', '--no-telemetry', '--in-memory'];
  const { stdout, stderr, error } = spawnSync('dpdk-testpmd', eal, { encoding: 'utf8' });
  if (error !== undefined) return undefined;
  return /RTE Version: '(?:DPDK )?([^']+)'/.exec(stdout + stderr)?.[1] ?? 'of unknown version';
}

function commit(): string {
  const head = output('git', ['rev-parse', '--short=12', 'HEAD'])?.trim();
  if (head === undefined) return 'unknown';
  return output('git', ['status', '--porcelain']) === '' ? head : `${head}+changes`;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: cpus().length,
    arch: process.arch,
    flags: cpuFlags(readFileSync('/proc/cpuinfo', 'utf8')),
    kernel: release(),
    node: process.version,
    dpdk: dpdkVersion() ?? 'not installed',
    commit: commit(),
  };
}

/** One line for captions and table headings. */
export function machineLine(machine: Machine): string {
  const { cpu, cpus: count, flags, kernel, node, dpdk } = machine;
  const avx512 = flags.includes('avx512f') || machine.arch !== 'x64' ? '' : ', no AVX-512';
  return `${cpu}, ${count} CPUs (${flags.join(' ')}${avx512}), Linux ${kernel}, Node ${node.replace('v', '')}, DPDK ${dpdk}, commit ${machine.commit}`;
}
