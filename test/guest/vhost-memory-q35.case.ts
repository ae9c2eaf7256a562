/** A q35 guest of 4 GiB behind our switch: 2 GiB of it lie below the PCI hole, in one region, the rest from 4 GiB on. */
import { join } from 'node:path';
import { temporaryDirectory, type Peer } from '../support/peers.js';
import { REFUSAL, startSwitch } from '../support/switch.js';
import { casesInGuest } from './support/cases.js';
import { kernelComplaints, NicPair, served } from './support/vhost-nics.js';

let ours: Peer;

const inGuest = casesInGuest(async (scope) => {
  const directory = temporaryDirectory(scope);
  const [a, b] = [join(directory, 'a'), join(directory, 'b')];
  ours = await startSwitch(scope, [a, b]);
  return {
    iommu: false,
    memory: '4G',
    cpus: 1,
    hugepages: 0,
    nics: [served('split', a), served('packed', b, { properties: 'packed=on' })],
    more: { bare: true },
  };
});

inGuest('4 GiB on q35: pings and TCP between a split and a packed ring', async (t, guest) => {
  const pair = await NicPair.make(t, guest, ['split', 'packed']);
  await pair.ping(56, 1400);
  await pair.transfer(4 << 20);
  t.is(await kernelComplaints(guest), '');
  t.notRegex(ours.output, REFUSAL);
  t.is(ours.output.match(/virtio is now ready for processing/g)?.length, 2, ours.output);
});
