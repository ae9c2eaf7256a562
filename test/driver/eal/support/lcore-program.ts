/** Programs that leave their lcores to themselves: how does the process end? */
import { Lcores } from '../../../../driver/eal/lcore.js';
import { processCpus } from '../../../../driver/eal/lcore-list.js';

const jobs = new URL('../../../support/lcore-jobs.js', import.meta.url);
const lcores = new Lcores(new Map([[0, processCpus()], [1, processCpus()]]), 0); // prettier-ignore
lcores.onMessage = (_id, message) => console.log(message);
lcores.launch(1, jobs, 'echo', 'ready');
lcores.wait(1);
const mode = process.argv[2];
if (mode === 'running' || mode === 'again') lcores.launch(1, jobs, 'slowly', undefined);
if (mode === 'again') {
  while (lcores.state(1) === 'running'); // its end is not seen by the event loop before the next launch
  lcores.launch(1, jobs, 'slowly', undefined);
}
if (mode === 'exit') {
  lcores.launch(1, jobs, 'spin', undefined);
  lcores.quiesce();
  process.exit(0);
}
