/** The SIMD code that runs on this machine. Without a native helper one visible skip stands for its tests. */
import test, { type ExecutionContext } from 'ava';
import { helperStatus, type SimdIsa } from '../../native/helper.js';
import { needs } from './needs.js';

/** Declares a test for every instruction set that has code here. */
export function testWithSimd(title: string, run: (t: ExecutionContext, isa: SimdIsa) => void): void {
  const { isas, reason } = helperStatus();
  for (const isa of isas) test(`${title}, ${isa}`, (t) => run(t, isa));
  if (isas.length === 0) needs(reason || 'no SIMD code for this CPU')(title, (t) => t.pass());
}

/** Vectorized paths for the lists of tests that take every path: none without SIMD code, which other tests report. */
export function ifSimd<P>(...paths: P[]): P[] {
  return helperStatus().isas.length > 0 ? paths : [];
}
