/**
 * The native helper: the one C library of the project, with the SIGBUS guard (guard.c), the SIMD code of the
 * vectorized paths (simd.c, once per instruction set), sleeping until a word changes (monitor.c) and closing in threads
 * (closer.c). tools/build-native.mjs builds it. It is optional: without it the vectorized paths and the guard are off,
 * closing may wait for a peer, and `helperStatus` says why.
 *
 * VPMD_HELPER names another library to load, or `none`.
 */
import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LibraryHandle } from 'koffi';
import { VirtioPmdError } from './errors.js';
import { getKoffi } from './koffi.js';

/** Instruction sets for which there is SIMD code. */
export type SimdIsa = 'SSE' | 'NEON' | 'AVX2' | 'AVX512';

/** One call per burst. `block` is the address of a `struct vpmd_queue`. Returns a number of packets and flags (simd.h). */
type SimdBurst = (block: bigint) => number;

export interface SimdFunctions {
  readonly rxSplit: SimdBurst;
  readonly rxPacked: SimdBurst;
  readonly txPacked: SimdBurst;
}

export interface GuardFunctions {
  readonly add: (address: bigint, byteLength: number) => number;
  readonly remove: (address: bigint) => void;
  readonly hit: (address: bigint) => number;
  readonly hits: () => number;
}

export interface MonitorFunctions {
  /** 0 when the CPU cannot. */
  readonly kind: () => number;
  readonly wait: (kind: number, address: number, seen: number) => void;
}

export interface CloserFunctions {
  readonly closeApart: (fds: Int32Array, count: number) => number;
  readonly unclosed: () => number;
}

export interface LackingIsa {
  readonly isa: SimdIsa;
  /** The reason, in words that follow "AVX512: ". */
  readonly why: string;
}

export interface HelperStatus {
  /** Path of the library, loaded or not; '' when VPMD_HELPER=none. */
  readonly path: string;
  /** '' when it is loaded; else why it is not and what to do. */
  readonly reason: string;
  /** Instruction sets whose code can run here, narrowest first. */
  readonly isas: readonly SimdIsa[];
  /** The other instruction sets of this architecture, and why their code cannot run. */
  readonly lacking: readonly LackingIsa[];
}

interface Helper {
  readonly status: HelperStatus;
  readonly guard: GuardFunctions | undefined;
  readonly monitor: MonitorFunctions | undefined;
  readonly closer: CloserFunctions | undefined;
  readonly library: LibraryHandle | undefined;
}

/** VPMD_ABI of simd.h. */
const ABI = 4;

/** In the order of the bits of vpmd_isas_built and vpmd_isas_of_cpu (cpu.c). */
const bits: readonly SimdIsa[] = ['SSE', 'AVX2', 'AVX512', 'NEON'];

const isasOfArch: Readonly<Record<string, readonly SimdIsa[]>> = { x64: ['SSE', 'AVX2', 'AVX512'], arm64: ['NEON'] };

/** The library beside this file, both from source (native/) and after the build (dist/native/). */
const beside = fileURLToPath(new URL(`./helper.linux-${process.arch}.so`, import.meta.url));

const howToBuild =
  'run `npm run build:native` in the folder of virtio-pmd, which needs a C compiler (Debian: apt-get install gcc)';

const words = (error: unknown) => (error instanceof Error ? error.message : String(error));

function absent(path: string, reason: string): Helper {
  const lacking = (isasOfArch[process.arch] ?? []).map((isa) => ({ isa, why: reason }));
  const nothing = { guard: undefined, monitor: undefined, closer: undefined, library: undefined };
  return { status: { path, reason, isas: [], lacking }, ...nothing };
}

function open(): Helper {
  const override = process.env['VPMD_HELPER'];
  if (override === 'none') return absent('', 'VPMD_HELPER=none switches the native helper off: unset it');
  const path = override ? resolve(override) : beside;
  const remedy = override ? 'let VPMD_HELPER name a library made by tools/build-native.mjs, or unset it' : howToBuild;
  if (!existsSync(path))
    return absent(path, `there is no native helper ${override ? path : basename(path)}: ${remedy}`);
  try {
    const library = getKoffi().load(path);
    const abi = (library.func('uint32_t vpmd_abi()') as () => number)();
    if (abi !== ABI) {
      return absent(path, `the native helper ${basename(path)} has ABI ${abi}, ${ABI} is expected: ${remedy}`);
    }
    const guard = {
      add: library.func('int vpmd_guard_add(uintptr_t address, size_t length)') as GuardFunctions['add'],
      remove: library.func('void vpmd_guard_remove(uintptr_t address)') as GuardFunctions['remove'],
      hit: library.func('int vpmd_guard_hit(uintptr_t address)') as GuardFunctions['hit'],
      hits: library.func('uint32_t vpmd_guard_hits()') as GuardFunctions['hits'],
    };
    const monitor = {
      kind: library.func('uint32_t vpmd_monitor_kind()') as MonitorFunctions['kind'],
      wait: library.func(
        'void vpmd_monitor_wait(uint32_t kind, uintptr_t word, uint16_t seen)',
      ) as MonitorFunctions['wait'],
    };
    const closer = {
      closeApart: library.func(
        'uint32_t vpmd_close_apart(const int *fds, uint32_t count)',
      ) as CloserFunctions['closeApart'],
      unclosed: library.func('uint32_t vpmd_unclosed()') as CloserFunctions['unclosed'],
    };
    const built = (library.func('uint32_t vpmd_isas_built()') as () => number)();
    const ofCpu = (library.func('uint32_t vpmd_isas_of_cpu()') as () => number)();
    return { status: { path, reason: '', ...sortIsas(built, ofCpu) }, guard, monitor, closer, library };
  } catch (error) {
    return absent(path, `the native helper ${basename(path)} cannot be loaded (${words(error)}): ${remedy}`);
  }
}

function sortIsas(built: number, ofCpu: number): Pick<HelperStatus, 'isas' | 'lacking'> {
  const bitOf = (isa: SimdIsa) => 1 << bits.indexOf(isa);
  const whyNot = (isa: SimdIsa) =>
    (ofCpu & bitOf(isa)) === 0
      ? 'the CPU does not have it'
      : 'the native helper was built without it: its compiler is too old';
  const usable = built & ofCpu;
  return {
    isas: bits.filter((isa) => (usable & bitOf(isa)) !== 0),
    lacking: (isasOfArch[process.arch] ?? [])
      .filter((isa) => (usable & bitOf(isa)) === 0)
      .map((isa) => ({ isa, why: whyNot(isa) })),
  };
}

let helper: Helper | undefined;

/** Loads the library at the first use, once per thread. The library, and so the guard's table, exists once per process. */
function load(): Helper {
  helper ??= open();
  return helper;
}

/** Whether the helper works here, and which SIMD code runs. */
export function helperStatus(): HelperStatus {
  return load().status;
}

/** Undefined without the helper. */
export function guardFunctions(): GuardFunctions | undefined {
  return load().guard;
}

/** Undefined without the helper. */
export function monitorFunctions(): MonitorFunctions | undefined {
  return load().monitor;
}

/** Undefined without the helper. */
export function closerFunctions(): CloserFunctions | undefined {
  return load().closer;
}

/** The SIMD code of one instruction set. @throws VirtioPmdError ECONFIG when it cannot run here */
export function simdFunctions(isa: SimdIsa): SimdFunctions {
  const { status, library } = load();
  if (library === undefined || !status.isas.includes(isa)) {
    const why = status.reason || status.lacking.find((entry) => entry.isa === isa)?.why || 'not for this architecture';
    throw new VirtioPmdError('ECONFIG', `no ${isa} code: ${why}`);
  }
  const bind = (name: string) => library.func(`uint32_t vpmd_${name}_${isa.toLowerCase()}(void *block)`) as SimdBurst;
  return { rxSplit: bind('rx_split'), rxPacked: bind('rx_packed'), txPacked: bind('tx_packed') };
}

export { addressOf } from './libc.js';
