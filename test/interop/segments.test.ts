/**
 * Packets of several segments from DPDK's virtio_user, in chains of descriptors and in indirect tables: they come back whole from
 * the loopback of our switch, and arrive whole at another front-end.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { dpdkCommand } from '../../tools/bench/common/testpmd.js';
import { eventually, portStats, startFrontEnd, startPeer, temporaryDirectory, type Peer } from '../support/peers.js';
import { readPcap, writePcap } from './support/pcap.js';
import { REFUSAL, startSwitch } from '../support/switch.js';
import { setForwarding, startForwarding, stopForwarding } from '../support/traffic.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

const devargs = [0, 1].flatMap((packed) =>
  [0, 1].flatMap((inOrder) => [0, 1].map((mrg) => `packed_vq=${packed},in_order=${inOrder},mrg_rxbuf=${mrg}`)),
);
/** Sizes of the segments. In the first, the IP header lies across two of them. */
const SEGMENTS = [
  [32, 32],
  [64, 64, 64, 64, 64],
  [14, 1000],
];
const BURST = 32;
const BURSTS = 2;
/** Room for all of it, in chains too: nothing may be lost. */
const QUEUE = 512;

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

/** Sends BURSTS bursts of what txonly makes, then receives. */
async function sendSome(far: Peer, segments: readonly number[]): Promise<void> {
  await stopForwarding(far);
  await far.ask(`set txpkts ${segments.join()}`, /testpmd> /);
  await far.ask('clear port stats all', /cleared/);
  await setForwarding('rxonly', far);
  await startForwarding(far, `tx_first ${BURSTS}`);
}

for (const ring of devargs) {
  test.serial(`${ring}: two, five and uneven segments come back from our loopback, all of them`, async (t) => {
    const socket = join(temporaryDirectory(t), 's');
    const ours = await startSwitch(t, socket);
    const far = await startFrontEnd(t, {
      vdevs: [`net_virtio_user0,path=${socket},queues=1,queue_size=${QUEUE},${ring}`],
    });
    for (const segments of SEGMENTS) {
      await sendSome(far, segments);
      const count = BURST * BURSTS;
      await eventually(
        `${count} packets of ${segments.join()} back; the switch said ${ours.output}`,
        () => portStats(far),
        ({ rxPackets, txPackets }) => rxPackets >= count && txPackets >= count,
      );
      await stopForwarding(far);
      const { rxPackets, rxBytes, rxErrors, txPackets } = await portStats(far);
      t.deepEqual(
        { txPackets, rxPackets, rxBytes, rxErrors },
        { txPackets: count, rxPackets: count, rxBytes: count * sum(segments), rxErrors: 0 },
        segments.join(),
      );
    }
    t.is(await far.stop(), 'exit code 0');
    t.notRegex(ours.output, REFUSAL);
  });
}

/** UDP of sizes from one segment to a jumbo frame's, each byte random: in a mempool of 128-byte buffers they have 1 to 12 segments. */
function packets(): Buffer[] {
  return Array.from({ length: 96 }, (_, i) => {
    const bytes = randomBytes(60 + ((i * 149) % 1440));
    bytes.set([2, 0, 0, 0, 0, 0xee, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    bytes.writeUInt32BE(i, 14);
    return bytes;
  });
}

for (const ring of [
  'packed_vq=0,in_order=0',
  'packed_vq=0,in_order=1',
  'packed_vq=1,in_order=0',
  'packed_vq=1,in_order=1',
]) {
  test.serial(`${ring}: packets of up to twelve segments arrive unchanged at a second front-end`, async (t) => {
    const directory = temporaryDirectory(t);
    const [from, to, input, output] = ['from', 'to', 'in.pcap', 'out.pcap'].map((name) => join(directory, name));
    const sent = packets();
    writePcap(input!, sent);
    const ours = await startSwitch(t, [from!, to!]);
    const common = { args: ['--forward-mode=io', '--no-flush-rx'] };
    const receiver = await startFrontEnd(t, {
      ...common,
      vdevs: [`net_virtio_user0,path=${to},queues=1,queue_size=${QUEUE},${ring}`, `net_pcap0,tx_pcap=${output}`],
    });
    await startForwarding(receiver);
    const sender = startPeer(
      t,
      'dpdk-testpmd',
      ...dpdkCommand({
        args: [...common.args, '--mbuf-size=256', '--disable-device-start'],
        vdevs: [`net_pcap0,rx_pcap=${input}`, `net_virtio_user0,path=${from},queues=1,queue_size=${QUEUE},${ring}`],
      }),
    );
    await sender.waitFor(/testpmd> /);
    await sender.ask('port config 1 rx_offload scatter on', /testpmd> /); // its own buffers are too small for a frame
    await sender.ask('port start all', /Done/);
    await startForwarding(sender);
    const got = await eventually(
      `${sent.length} packets at the other front-end; the switch said ${ours.output}`,
      () => readPcap(output!),
      (now) => now.length >= sent.length,
    );
    t.deepEqual(
      got.map((bytes) => Buffer.from(bytes)),
      sent,
    );
    t.is(await sender.stop(), 'exit code 0');
    t.is(await receiver.stop(), 'exit code 0');
    t.notRegex(ours.output, REFUSAL);
  });
}
