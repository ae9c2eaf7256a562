/** A guest behind our switch that gets more and more memory, a region for each DIMM, while packets flow. */
import { join } from 'node:path';
import { eventually, temporaryDirectory, type Peer } from '../support/peers.js';
import { REFUSAL, startSwitch } from '../support/switch.js';
import { casesInGuest } from './support/cases.js';
import type { Guest } from './support/guest.js';
import { kernelComplaints, NicPair, served } from './support/vhost-nics.js';

/** Regions that a back-end should take, less what the machine has without DIMMs (with some to spare for its ROMs). */
const DIMMS = 56;
const DIMM_BYTES = 128 << 20;

let ours: Peer;

const inGuest = casesInGuest(async (scope) => {
  const directory = temporaryDirectory(scope);
  const [a, b] = [join(directory, 'a'), join(directory, 'b')];
  ours = await startSwitch(scope, [a, b]);
  return {
    iommu: false,
    memory: '512M',
    memorySlots: `slots=${DIMMS},maxmem=16G`,
    cpus: 1,
    hugepages: 0,
    nics: [served('split', a), served('packed', b, { properties: 'packed=on' })],
    more: { bare: true },
    kernelArguments: ['memhp_default_state=online_kernel'],
  };
});

async function plug(guest: Guest, dimm: number): Promise<void> {
  const backend = { 'qom-type': 'memory-backend-memfd', id: `m${dimm}`, size: DIMM_BYTES, share: true };
  await guest.qmp.execute('object-add', backend);
  await guest.qmp.execute('device_add', { driver: 'pc-dimm', id: `dimm${dimm}`, memdev: `m${dimm}` });
}

const megabytes = async (guest: Guest) =>
  Number(/MemTotal: +(\d+)/.exec(await guest.ok('cat /proc/meminfo'))![1]) >> 10;

inGuest(`${DIMMS} DIMMs are plugged in while packets flow, which then lie in them`, async (t, guest) => {
  const pair = await NicPair.make(t, guest, ['split', 'packed']);
  await pair.startTraffic(t);
  await pair.flows();
  const before = await megabytes(guest);
  for (let dimm = 0; dimm < DIMMS; dimm++) await plug(guest, dimm);
  const all = before + (DIMMS * DIMM_BYTES) / (1 << 20);
  await eventually(
    'the guest uses all DIMMs',
    () => megabytes(guest),
    (now) => now >= all * 0.97,
    90_000,
  );
  await pair.flows(1000);
  await pair.ping(56, 1400);
  await pair.transfer(4 << 20);
  t.is(await kernelComplaints(guest), '');
  t.notRegex(ours.output, REFUSAL);
});
