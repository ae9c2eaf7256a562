/** What is looked at on every way to a NIC. */
import type { ExecutionContext } from 'ava';
import type { Guest } from './guest.js';
import { driverOf, quit, start, startTestpmd, stop, testpmdCommand, xstat } from './testpmd.js';

/** What /proc/interrupts has counted in the lines that `pattern` matches, over all CPUs. */
async function interrupts(guest: Guest, pattern: RegExp): Promise<number> {
  const lines = (await guest.ok('cat /proc/interrupts')).split('\n').filter((line) => pattern.test(line));
  const counts = lines.flatMap((line) => (/:((?: +\d+)+)/.exec(line)?.[1] ?? '').trim().split(/ +/).map(Number));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Two NICs in one process: what comes in on one goes out on the other, and both ports count it. */
export async function checkPair(t: ExecutionContext, guest: Guest, first: string, second: string): Promise<void> {
  const testpmd = await startTestpmd(t, guest, { devices: [guest.bdf(first), guest.bdf(second)] });
  await start(testpmd);
  await guest.wire(first).pingPong([64, 1514], 64, guest.wire(second));
  await guest.wire(second).pingPong([64, 1514], 32, guest.wire(first));
  const counters = async (port: number) => [
    await xstat(testpmd, 'rx_good_packets', port),
    await xstat(testpmd, 'tx_good_packets', port),
  ];
  t.deepEqual(await counters(0), [128, 64]);
  t.deepEqual(await counters(1), [64, 128]);
  t.regex(await stop(testpmd), /RX-packets: 192 [^]*TX-packets: 192 /);
  await quit(t, testpmd);
}

/**
 * The cable pulled and put back: two events, and packets again.
 * @param lines those of /proc/interrupts to look at. @returns the interrupts that came with the two changes
 */
export async function checkLink(t: ExecutionContext, guest: Guest, nic: string, lines = /^/): Promise<number> {
  const testpmd = await startTestpmd(t, guest, { devices: [guest.bdf(nic)], args: ['--port-topology=loop'] });
  await start(testpmd);
  const before = await interrupts(guest, lines);
  for (const up of [false, true]) {
    await guest.qmp.execute('set_link', { name: nic, up });
    await testpmd.waitFor(/Port 0: link state change event/);
    const [text] = await testpmd.ask('show port info 0', /Link status: \w+/);
    t.is(text, `Link status: ${up ? 'up' : 'down'}`);
  }
  const after = await interrupts(guest, lines);
  await guest.wire(nic).pingPong([64, 1514], 32);
  await quit(t, testpmd);
  return after - before;
}

/** testpmd does not get the NIC: one sentence. @param before words in front of the command, such as setpriv's */
export async function checkNotOpened(
  t: ExecutionContext,
  guest: Guest,
  nic: string,
  words: RegExp,
  before = '',
): Promise<void> {
  const { code, output } = await guest.run(`${before} ${testpmdCommand({ devices: [guest.bdf(nic)] })}`);
  t.is(code, 1, output);
  t.regex(output, words);
  t.notRegex(output, /\n +at /, 'no stack trace');
}

/** devbind binds the NICs, and shows it. */
export async function checkBind(
  t: ExecutionContext,
  guest: Guest,
  driver: string,
  nics: readonly string[],
  option = '',
): Promise<string> {
  const { code, output } = await guest.run(`devbind ${option} -b ${driver} ${nics.map((n) => guest.bdf(n)).join(' ')}`);
  t.is(code, 0, output);
  const status = await guest.ok('devbind --status-dev net');
  for (const nic of nics) {
    t.regex(status, new RegExp(`DPDK-compatible driver\\n=+\\n(0000.*\\n)*${guest.bdf(nic)} .*drv=${driver} unused=`));
    t.is(await driverOf(guest, nic), driver);
  }
  return output;
}
