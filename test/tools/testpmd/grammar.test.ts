import test from 'ava';
import { Grammar, type Args } from '../../../tools/testpmd/commands/grammar.js';
import { grammar, readableSyntax } from '../../../tools/testpmd/commands/index.js';

/** Commands of issue and user guide that must be known. */
const known = [
  'start',
  'start tx_first',
  'start tx_first 32',
  'stop',
  'quit',
  'help',
  'help all',
  'show port info 0',
  'show port stats all',
  'show port xstats 0',
  'show port summary all',
  'show port 0 path',
  'show config fwd',
  'show config rxtx',
  'show rxq info 0 0',
  'show txq info 0 1',
  'show fwd stats all',
  'clear port stats 0',
  'clear port xstats all',
  'clear fwd stats all',
  'set fwd io',
  'set fwd mac retry',
  'set fwd mac_retry',
  'set fwd rxonly',
  'set fwd 5tswap',
  'set fwd icmpecho',
  'set txpkts 64,128',
  'set burst 64',
  'set burst tx delay 10 retry 64',
  'set verbose 1',
  'set promisc all off',
  'set allmulti 0 on',
  'set eth-peer 0 00:11:22:33:44:55',
  'set nbcore 2',
  'set corelist 1,2',
  'set portlist 0,1',
  'port start 0',
  'port stop all',
  'port close 0',
  'port reset 0',
  'port attach net_virtio_user1,path=/tmp/s,queues=2',
  'port detach 0',
  'port config all rxq 2',
  'port config all burst 64',
  'port config mtu 0 1400',
  '  show   port  info   1 ',
];
for (const line of known) {
  test(`known: ${line}`, (t) => {
    t.is(grammar.parse(line).kind, 'command');
  });
}

for (const line of ['foo', 'sta', 'Start']) {
  test(`not found: ${line}`, (t) => {
    t.is(grammar.parse(line).kind, 'unknown');
  });
}

const bad = [
  'set fwd foo',
  'set fwd rxonly retry',
  'show port stats',
  'show port foo 0',
  'show port info x',
  'set burst',
  'port config mtu 0 99999',
  'port config all rxd -1',
  'start tx_first -1',
  'stop now',
  'port start 65536',
];
for (const line of bad) {
  test(`bad arguments: ${line}`, (t) => {
    const parsed = grammar.parse(line);
    t.is(parsed.kind, 'bad');
  });
}

test('bad arguments name the syntax that came furthest', (t) => {
  const parsed = grammar.parse('show port 0 pth');
  t.true(parsed.kind === 'bad' && parsed.usage.map(readableSyntax).includes('show port (port_id) path'));
});

test('arguments arrive by name, optional ones only when given', (t) => {
  const parsed = grammar.parse('start tx_first');
  t.true(parsed.kind === 'command' && !parsed.args.has('bursts'));
  const given = grammar.parse('start tx_first 0x10');
  t.true(given.kind === 'command' && given.args.number('bursts') === 16);
  const all = grammar.parse('port stop all');
  t.true(all.kind === 'command' && all.args.port() === 'all');
});

test('completion offers the words that fit here', (t) => {
  t.deepEqual(grammar.complete('sho'), ['show']);
  t.deepEqual(grammar.complete('show port x'), ['xstats']);
  t.deepEqual(grammar.complete('show port 0 p'), ['path']);
  t.deepEqual(grammar.complete('clear '), ['fwd', 'port']);
  t.deepEqual(grammar.complete('port start '), []);
  t.deepEqual(grammar.complete('nonsense '), []);
});

test('completion asks for the values of a place that takes more than words, beside the words', (t) => {
  const values = ({ name, type }: { name: string; type: string }) => (name === 'port' ? ['0', '12', type] : []);
  t.deepEqual(grammar.complete('port start ', values), ['0', '12', 'port']);
  t.deepEqual(grammar.complete('port detach 1', values), ['12']);
  t.deepEqual(grammar.complete('show port xstats 1', values), ['12']);
  t.deepEqual(grammar.complete('show port 1', values), ['12']);
  t.deepEqual(grammar.complete('set flush_rx ', values), ['off', 'on']);
  t.deepEqual(grammar.complete('set nbcore ', values), []);
});

test('two names for one word: the first row that fits wins', (t) => {
  const seen: string[] = [];
  const small = new Grammar<string[]>([
    { syntax: 'do <what>', help: '', run: (to, args: Args) => void to.push(args.text('what')) },
    { syntax: 'do nothing', help: '', run: (to) => void to.push('second') },
  ]);
  const parsed = small.parse('do nothing');
  if (parsed.kind === 'command') void parsed.row.run(seen, parsed.args);
  t.deepEqual(seen, ['nothing']);
});
