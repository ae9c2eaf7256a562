import fc from 'fast-check';
import test from 'ava';
import { planForwarding, topologies, type StreamShape, type Topology } from '../../../tools/testpmd/topology.js';

const plan = (ports: number[], queues: number, lcores: number[], topology: Topology, shape: StreamShape = 'forward') =>
  planForwarding({ ports, rxQueues: queues, txQueues: queues, lcores, topology, shape });

const arrows = (p: ReturnType<typeof plan>) =>
  p.lcores.map(
    ({ lcoreId, streams }) =>
      `${lcoreId}: ${streams.map((s) => `${s.rxPort}.${s.rxQueue}>${s.txPort}.${s.txQueue}`).join(' ')}`,
  );

const rows: readonly [title: string, ReturnType<typeof plan>, string[]][] = [
  ['one port forwards to itself', plan([0], 1, [1], 'paired'), ['1: 0.0>0.0']],
  ['two ports, two lcores', plan([0, 1], 1, [1, 2], 'paired'), ['1: 0.0>1.0', '2: 1.0>0.0']],
  ['port list in reverse order', plan([1, 0], 1, [1, 2], 'paired'), ['1: 1.0>0.0', '2: 0.0>1.0']],
  ['three ports paired: the last with itself', plan([0, 1, 2], 1, [1], 'paired'), ['1: 0.0>1.0 1.0>0.0 2.0>2.0']],
  ['three ports chained', plan([0, 1, 2], 1, [1], 'chained'), ['1: 0.0>1.0 1.0>2.0 2.0>0.0']],
  ['loop', plan([0, 1], 1, [1], 'loop'), ['1: 0.0>0.0 1.0>1.0']],
  ['two queues: queue by queue', plan([0, 1], 2, [1, 2], 'paired'), ['1: 0.0>1.0 1.0>0.0', '2: 0.1>1.1 1.1>0.1']],
  ['five streams on two lcores: the last one takes more', plan([0], 5, [1, 2], 'loop'), ['1: 0.0>0.0 0.1>0.1', '2: 0.2>0.2 0.3>0.3 0.4>0.4']],
  ['more lcores than streams', plan([0], 1, [2, 1], 'paired'), ['2: 0.0>0.0']],
  ['icmpecho answers on the port itself', plan([0, 1], 1, [1], 'paired', 'reply'), ['1: 0.0>0.0 1.0>1.0']],
  ['no ports', plan([], 1, [1], 'paired'), []],
]; // prettier-ignore
for (const [title, actual, expected] of rows) {
  test(title, (t) => {
    t.deepEqual(arrows(actual), expected);
  });
}

test('rxonly uses all Rx queues, txonly all Tx queues, others the pairs', (t) => {
  const of = (shape: StreamShape) =>
    planForwarding({ ports: [0], rxQueues: 4, txQueues: 2, lcores: [1], topology: 'paired', shape }).streams.length;
  t.deepEqual([of('receive'), of('transmit'), of('forward')], [4, 2, 2]);
});

test('an odd number of ports is worth a warning when paired only', (t) => {
  t.true(plan([0], 1, [1], 'paired').oddPorts);
  t.false(plan([0, 1], 1, [1], 'paired').oddPorts);
  t.false(plan([0], 1, [1], 'chained').oddPorts);
});

test('no queue is in two streams, and every stream is on exactly one lcore', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 9 }),
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 0, max: 9 }),
      fc.constantFrom(...topologies),
      fc.constantFrom<StreamShape>('forward', 'receive', 'transmit', 'reply'),
      (ports, queues, lcores, topology, shape) => {
        const ids = Array.from({ length: ports }, (_, i) => i);
        const p = plan(ids, queues, Array.from({ length: lcores }, (_, i) => i + 1), topology, shape); // prettier-ignore
        const dealt = p.lcores.flatMap(({ streams }) => streams);
        t.is(dealt.length, lcores === 0 ? 0 : p.streams.length);
        t.is(new Set(p.streams.map((s) => `${s.rxPort}.${s.rxQueue}`)).size, ports * queues);
        t.is(new Set(p.streams.map((s) => `${s.txPort}.${s.txQueue}`)).size, ports * queues);
        const sizes = p.lcores.map(({ streams }) => streams.length);
        if (sizes.length > 0) t.true(Math.max(...sizes) - Math.min(...sizes) <= 1);
      },
    ),
  );
});
