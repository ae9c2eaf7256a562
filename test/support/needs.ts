/**
 * Tests that need what not every machine has. Whether it is there is decided when the file is loaded, so that ava itself skips
 * them and counts them as skipped; the reason is in their titles.
 */
import test, { type AfterFn, type ExecutionContext, type Implementation } from 'ava';
import { isInstalled } from './peers.js';

interface Define {
  (title: string, implementation: Implementation<[]>): void;
}

/** As much of ava's `test` as such tests use. */
export interface NeedyTest extends Define {
  serial: Define;
  after: AfterFn;
}

function unless(missing: string, instead: (title: string) => void): NeedyTest {
  if (missing === '') return test;
  const define: Define = (title) => instead(title);
  return Object.assign(define, { serial: define, after: test.after });
}

const skip = (missing: string) => (title: string) => test.skip(`${title} (skipped: ${missing})`, (t) => t.pass());

/** The first of some programs that is not installed, in a sentence, or ''. */
export function lacks(...programs: string[]): string {
  const program = programs.find((one) => !isInstalled(one));
  return program === undefined ? '' : `${program} is not installed`;
}

/**
 * ava's `test` where nothing is missing. Else the tests are skipped, and fail with VPMD_REQUIRE_PEERS=1, as CI has it.
 * @param missing what is missing, in a sentence, or ''
 */
export function needs(missing: string): NeedyTest {
  if (!process.env['VPMD_REQUIRE_PEERS']) return unless(missing, skip(missing));
  return unless(missing, (title) => test(title, (t) => t.fail(missing)));
}

/** The same for what CI's machine may lack too: then they are skipped there as well. */
export function wants(missing: string): NeedyTest {
  return unless(missing, skip(missing));
}

/**
 * Whether a test can go on that finds out only while it runs what is missing. ava cannot skip it any more: it passes and its log
 * says why, and fails with VPMD_REQUIRE_PEERS=1. Callers say why they cannot know it earlier.
 */
export function canGoOn(t: ExecutionContext, missing: string): boolean {
  if (missing === '') return true;
  if (process.env['VPMD_REQUIRE_PEERS']) t.fail(missing);
  else {
    t.log(`not tested: ${missing}`);
    t.pass();
  }
  return false;
}
