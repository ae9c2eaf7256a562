/** l3fwd-power on net_vhost ports, as DTS's vhost_user_interrupt has it: DPDK's virtio_user sends on each queue. */
import { join } from 'node:path';
import { cpuShares } from '../support/interrupt-cpu.js';
import { ASLEEP, AWAKE, numbersOf, startProgram } from '../support/interrupt-program.js';
import { eventually, startFrontEnd, temporaryDirectory } from '../support/peers.js';
import { startForwarding, stopForwarding } from '../support/traffic.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

const LCORES = [1, 2];

for (const ring of ['packed_vq=0', 'packed_vq=1']) {
  test.serial(`two queues, one lcore each, ${ring}: both sleep, both wake up, and sleep again`, async (t) => {
    const socket = join(temporaryDirectory(t), 's');
    const vdevs = [`net_vhost0,iface=${socket},queues=2,client=0`];
    const program = await startProgram(t, vdevs, '(0,0,1),(0,1,2)', LCORES);
    const threads = LCORES.map((lcore) => `lcore-worker-${lcore}`);
    const { threads: shares } = await cpuShares(program.pid, threads, 500);
    t.log(`CPU of the lcores without a guest: ${shares.join(' ')}`);
    for (const share of shares) t.true(share < 0.05, `a sleeping lcore takes ${share} of a CPU`);

    const far = await startFrontEnd(t, {
      vdevs: [`net_virtio_user0,path=${socket},queues=2,${ring}`],
      args: ['--rxq=2', '--txq=2', '--forward-mode=txonly'],
    });
    await startForwarding(far);
    await stopForwarding(far);
    const all = (pattern: RegExp) => [...program.output.matchAll(new RegExp(pattern, 'g'))];
    const woken = () => new Set(all(AWAKE).map(([, lcore, port, queue]) => `${lcore}: ${port},${queue}`));
    await eventually('both awake', woken, ({ size }) => size === 2);
    t.deepEqual([...woken()].sort(), ['1: 0,0', '2: 0,1']);
    await eventually('both asleep again', () => all(ASLEEP).length - all(AWAKE).length, (n) => n === 2); // prettier-ignore
    const numbers = await eventually('packets of both', () => numbersOf(program), (all) => LCORES.every((lcore) => all.get(lcore)!.received > 0)); // prettier-ignore
    t.true(LCORES.every((lcore) => numbers.get(lcore)!.wakeups > 0));
    await far.kill();
    process.kill(program.pid, 'SIGINT');
    t.is(await program.end(), 'exit code 0');
  });
}
