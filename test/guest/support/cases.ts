/** What every case file begins with: a guest that boots before its cases and ends behind them. */
import test, { type ExecutionContext } from 'ava';
import { needs } from '../../support/needs.js';
import { isInstalled, type Scope } from '../../support/peers.js';
import { startGuest, type Guest, type GuestOptions } from './guest.js';
import { guestParts } from './packages.js';

const CASE_MS = 180_000;

type Body = (t: ExecutionContext, guest: Guest) => Promise<void>;
/** Defines a case. `missing`: what it needs beyond the guest and is not there, in a sentence, or ''. */
export type InGuest = (title: string, body: Body, missing?: string) => void;

/** Why no guest can run here, or ''. */
function whyNot(): string {
  const program = 'qemu-system-x86_64';
  if (process.arch !== 'x64') return `the guest is an x86-64 machine and runs this Node, which is for ${process.arch}`;
  if (!isInstalled(program)) return `${program} is not installed`;
  try {
    guestParts();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

/** @returns the function that defines a case. @param options of the guest; or a function that first starts what it needs */
export function casesInGuest(options: GuestOptions | ((scope: Scope) => Promise<GuestOptions>)): InGuest {
  const undos: (() => void | Promise<void>)[] = [];
  const scope = { teardown: (undo: () => void | Promise<void>) => void undos.push(undo) };
  const reason = whyNot();
  let guest: Guest;
  test.before(async (t) => {
    if (reason) return;
    t.timeout(2 * CASE_MS);
    guest = await startGuest(scope, typeof options === 'function' ? await options(scope) : options);
  });
  test.after.always(async () => {
    for (const undo of undos.reverse()) await undo();
  });
  return (title, body, missing = '') =>
    needs(reason || missing).serial(title, async (t) => {
      t.timeout(CASE_MS);
      await body(t, guest);
    });
}
