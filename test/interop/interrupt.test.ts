/**
 * l3fwd-power with DPDK's vhost, on split and on packed rings: it sleeps when there is nothing to do, nothing is lost when it
 * wakes up, and its back-end may die meanwhile.
 */
import type { ExecutionContext } from 'ava';
import { cpuShares } from '../support/interrupt-cpu.js';
import { ASLEEP, AWAKE, numbersOf, startProgram, type LcoreNumbers } from '../support/interrupt-program.js';
import { startWires, type Ends } from './support/interrupt-wire.js';
import { eventually, type Peer } from '../support/peers.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

const CYCLES = 100;
const WATCH_MS = 700;
/** Twice as long as the program needs to fall asleep, or more. */
const LONG_GAP_US = 1000;

// lcore 1 waits for queues of two ports at once; the other combinations of ring and EVENT_IDX are in the storm
const RINGS = ['packed_vq=0,event_idx=0', 'packed_vq=1,event_idx=1'];
const CONFIG = '(0,0,1),(1,0,1),(1,1,2)';
const LCORES = [1, 2];
interface Way {
  readonly port: number;
  readonly queue: number;
  readonly lcore: number;
}
const SPLIT: Way = { port: 0, queue: 0, lcore: 1 };
const PACKED: Way = { port: 1, queue: 1, lcore: 2 };
const PACKED_SHARED: Way = { port: 1, queue: 0, lcore: 1 };

class Run {
  /** Packets that each lcore has forwarded so far. */
  private readonly packets = new Map(LCORES.map((lcore) => [lcore, 0]));

  constructor(
    private readonly t: ExecutionContext,
    private readonly program: Peer,
    private readonly ends: Ends,
  ) {}

  /** The target is 1 %, which is for the benchmark to show; a poll loop would take all of a CPU. */
  async checkIdle(): Promise<void> {
    const { t, program } = this;
    const threads = LCORES.map((lcore) => `lcore-worker-${lcore}`);
    const shares = await cpuShares(program.pid, threads, WATCH_MS);
    t.log(`CPU: lcores ${shares.threads.join(' ')}, process ${shares.process}`);
    for (const share of shares.threads) t.true(share < 0.05, `a sleeping lcore takes ${share} of a CPU`);
    t.true(shares.process < 0.5, `the process takes ${shares.process} of a CPU`);
  }

  private async send({ port, queue, lcore }: Way, gapsUs: readonly number[], burst: number): Promise<void> {
    const report = await this.ends.send({ wire: port, queue, gapsUs, burst, oneByOne: true, ttl: 63 });
    const count = gapsUs.length * burst;
    this.t.like(report, { sent: count, back: count, strange: 0 });
    this.packets.set(lcore, this.packets.get(lcore)! + count);
  }

  /** Sends packets in one burst, and sees the lcore wake up, forward them and fall asleep again. */
  async wake(way: Way, burst: number): Promise<void> {
    const { t, program } = this;
    await this.send(way, [0], burst);
    const [, ...told] = await program.waitFor(AWAKE);
    t.deepEqual(told.map(Number), [way.lcore, way.port, way.queue]);
    const [, asleep] = await program.waitFor(ASLEEP);
    t.is(Number(asleep), way.lcore);
  }

  /** Single packets, around the moment when the lcore falls asleep. In the end it sleeps, and its last line has come. */
  async storm(way: Way, count: number): Promise<void> {
    const gapsUs = Array.from({ length: count }, (_, i) => ((i * 0.618034) % 1) * LONG_GAP_US);
    await this.send(way, gapsUs, 1);
    const lines = (what: string) => this.program.output.split(`lcore ${way.lcore} ${what}`).length - 1;
    await eventually(
      'the lines of the storm',
      async () => {
        const { sleeps } = (await numbersOf(this.program)).get(way.lcore)!;
        return { sleeps, asleep: lines('sleeps until'), awake: lines('is waked up') };
      },
      ({ sleeps, asleep, awake }) => asleep === sleeps && awake === sleeps - 1,
    );
  }

  /** Every packet went through the lcore of its queue, and no interrupt was lost. */
  async checkNumbers(): Promise<ReadonlyMap<number, LcoreNumbers>> {
    const { t, program, packets } = this;
    const numbers = await numbersOf(program);
    for (const [lcore, { missed, received, sent }] of numbers) {
      const expected = packets.get(lcore)!;
      t.deepEqual({ missed, received, sent }, { missed: 0, received: expected, sent: expected }, `lcore ${lcore}`);
    }
    return numbers;
  }
}

test(`idle, waked up ${CYCLES} times, a storm, a back-end that dies and comes back`, async (t) => {
  const { wires, ends } = await startWires(t, RINGS.length, LCORES.length);
  const vdevs = RINGS.map((ring, i) => `net_virtio_user${i},path=${wires.near[i]},queues=${LCORES.length},${ring}`);
  const program = await startProgram(t, vdevs, CONFIG, LCORES);
  await wires.connected();
  const run = new Run(t, program, ends);
  await run.checkIdle();

  for (const way of [SPLIT, PACKED]) {
    const before = await run.checkNumbers();
    for (let i = 0; i < CYCLES; i++) await run.wake(way, 1 + (i % 32));
    await run.storm(way, 500);
    for (const [lcore, { wakeups, spurious }] of await run.checkNumbers()) {
      const old = before.get(lcore)!;
      if (lcore === way.lcore) t.true(wakeups > old.wakeups + CYCLES);
      else t.is(wakeups + spurious, old.wakeups + old.spurious, 'the lcore without traffic sleeps on');
    }
  }

  await wires.kill();
  await program.waitFor(/Port \d Link down[^]*Port \d Link down/);
  await run.checkIdle();
  await run.checkNumbers(); // the program answers

  await wires.start();
  await program.waitFor(/Port \d Link up[^]*Port \d Link up/);
  await wires.connected();
  for (const way of [SPLIT, PACKED, PACKED_SHARED]) for (let i = 0; i < 3; i++) await run.wake(way, 32);
  await run.checkNumbers();
  process.kill(program.pid, 'SIGTERM');
  t.is(await program.end(), 'exit code 0');
});
