/** Parses and runs a line of input. */
import { isVirtioPmdError } from '../../../native/errors.js';
import { grammar } from './index.js';
import { explain } from './explain.js';
import type { Testpmd } from '../testpmd.js';

/** Runs one line of input. Never throws because of input. */
export async function execute(testpmd: Testpmd, line: string): Promise<void> {
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return;
  const parsed = grammar.parse(text);
  if (parsed.kind !== 'command') {
    testpmd.session.print(explain(text, parsed));
    return;
  }
  try {
    await parsed.row.run(testpmd, parsed.args);
  } catch (error) {
    if (!isVirtioPmdError(error)) throw error;
    testpmd.session.complain(error.message);
  }
}
