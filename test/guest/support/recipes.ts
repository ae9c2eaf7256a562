/** One NIC through one path: what the log names, frames there and back, port stop and start. */
import type { ExecutionContext } from 'ava';
import type { RxPathName, TxPathName } from '../../../paths/guest/queue.js';
import { usingLines } from '../../../paths/select.js';
import type { Guest } from './guest.js';
import { quit, start, startTestpmd, stop } from './testpmd.js';

export interface Recipe {
  readonly name: string;
  /** What the NIC needs for it: properties of virtio-net-pci. */
  readonly properties: string;
  readonly devargs: string;
  readonly rx: RxPathName;
  readonly tx: TxPathName;
}

const SIZES = [60, 64, 65, 127, 128, 512, 1024, 1513, 1514, 1518];
const JUMBO = 9000;
/** VIRTIO_MAX_RX_PKTLEN: the MTU becomes the largest that the device takes. */
const MAX_PKT_LEN = 9728;

/** The five that a QEMU NIC can do: it does not offer IN_ORDER. */
export const RECIPES: readonly Recipe[] = [
  {
    name: 'split mergeable',
    properties: 'mrg_rxbuf=on',
    devargs: '',
    rx: 'virtio_recv_mergeable_pkts',
    tx: 'virtio_xmit_pkts',
  },
  {
    name: 'split non-mergeable',
    properties: 'mrg_rxbuf=off',
    devargs: '',
    rx: 'virtio_recv_pkts',
    tx: 'virtio_xmit_pkts',
  },
  {
    name: 'split vector Rx',
    properties: 'mrg_rxbuf=off',
    devargs: ',vectorized=1',
    rx: 'virtio_recv_pkts_vec',
    tx: 'virtio_xmit_pkts',
  },
  {
    name: 'packed mergeable',
    properties: 'packed=on,mrg_rxbuf=on',
    devargs: '',
    rx: 'virtio_recv_mergeable_pkts_packed',
    tx: 'virtio_xmit_pkts_packed',
  },
  {
    name: 'packed non-mergeable',
    properties: 'packed=on,mrg_rxbuf=off',
    devargs: '',
    rx: 'virtio_recv_pkts_packed',
    tx: 'virtio_xmit_pkts_packed',
  },
];

export function recipe(name: string): Recipe {
  return RECIPES.find((candidate) => candidate.name === name)!;
}

/** Frames of every size go to the NIC and come back whole, before and after its port was stopped and started. */
export async function checkRecipe(t: ExecutionContext, guest: Guest, nic: string, name: string): Promise<void> {
  const { devargs, rx, tx } = recipe(name);
  const jumbo = name.endsWith(' mergeable');
  const args = ['--port-topology=loop', ...(jumbo ? [`--max-pkt-len=${MAX_PKT_LEN}`, '--enable-scatter'] : [])];
  const testpmd = await startTestpmd(t, guest, { devices: [guest.bdf(nic) + devargs], args });
  for (const line of usingLines({ rx, tx }, 0)) {
    t.true(testpmd.output.includes(line), `the log has "${line}":\n${testpmd.output.slice(-3000)}`);
  }
  t.true(testpmd.output.includes(`Port 0: ${guest.mac(nic).toUpperCase()}`), testpmd.output.slice(-1000));

  const wire = guest.wire(nic);
  await start(testpmd);
  await wire.pingPong(jumbo ? [...SIZES, JUMBO] : SIZES, 40);
  await stop(testpmd);
  for (let i = 0; i < 3; i++) {
    await testpmd.ask('port stop 0', /Done/);
    await testpmd.ask('port start 0', /Done/);
  }
  await start(testpmd);
  await wire.pingPong([64, 1514], 300);
  await quit(t, testpmd);
}
