/** The kernels that run on this machine. Without a native helper one visible skip stands for their tests. */
import test, { type ExecutionContext } from 'ava';
import { helperStatus, type KernelIsa } from '../../native/helper.js';
import { requirePeer } from './peers.js';

/** Declares a test for every instruction set that has kernels here. */
export function testWithKernels(title: string, run: (t: ExecutionContext, isa: KernelIsa) => void): void {
  const { isas, reason } = helperStatus();
  for (const isa of isas) test(`${title}, ${isa}`, (t) => run(t, isa));
  if (isas.length === 0) test(title, (t) => void requirePeer(t, 'cc', reason || 'no kernels for this CPU'));
}

/** Vectorized paths for the lists of tests that take every path: none without kernels, which other tests report. */
export function ifKernels<P>(...paths: P[]): P[] {
  return helperStatus().isas.length > 0 ? paths : [];
}
