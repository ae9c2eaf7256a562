/** A program whose job fails and that has no `onFailure`; the argument says what else it does. */
import { availableCpus } from '../../../../native/cpu.js';
import { createEal } from '../../../../driver/eal/eal.js';

const [mode = ''] = process.argv.slice(2);
const cpu = availableCpus()[0]!;
const eal = createEal({ lcores: new Map([0, 1].map((id) => [id, [cpu]])), pinMain: false });
const jobs = new URL('../../../support/lcore-jobs.js', import.meta.url);
const module = mode === 'no module' ? new URL('./there-is-no-such-file.js', import.meta.url) : jobs;
const job = { 'no export': 'nothingOfTheKind', dies: 'rejectElsewhere', leaves: 'exitThread' }[mode] ?? 'throwPlain';

if (mode === 'told') eal.lcores.onFailure = (lcoreId, error) => console.log(`told: ${lcoreId}, ${String(error.cause)}`);
eal.lcores.launch(1, module, job, undefined);
if (mode === 'waits') {
  try {
    eal.lcores.wait(1);
  } catch (error) {
    console.log(`caught: ${(error as Error).message}`);
  }
}
if (mode === 'closes') {
  while (eal.lcores.state(1) === 'running');
  try {
    eal.close();
  } catch (error) {
    console.log(`caught: ${(error as Error).message}`);
  }
}
if (mode === 'told') setTimeout(() => eal.close(), 3000);
