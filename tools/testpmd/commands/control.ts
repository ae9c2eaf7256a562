import type { Row } from './grammar.js';
import type { Testpmd } from '../testpmd.js';

export const controlCommands: readonly Row<Testpmd>[] = [
  {
    syntax: 'start',
    help: 'Start packet forwarding with the current configuration.',
    run: ({ forwarding }) => forwarding.start(0),
  },
  {
    syntax: 'start tx_first [<bursts:u32>]',
    help: 'Start packet forwarding after sending so many bursts of packets (1).',
    run: ({ forwarding }, args) => forwarding.start(args.has('bursts') ? args.number('bursts') : 1),
  },
  {
    syntax: 'stop',
    help: 'Stop packet forwarding and show what was forwarded.',
    run: ({ forwarding }) => forwarding.stop(),
  },
  {
    syntax: 'quit',
    help: 'Stop everything and leave.',
    run: ({ session }) => {
      session.quitting = true;
    },
  },
];
