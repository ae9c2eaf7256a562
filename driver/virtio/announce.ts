/**
 * Announces the port to the network when the device asks for it, after a migration for example (virtio 1.2 section
 * 5.1.6.5.4): a gratuitous RARP packet on Tx queue 0, as in DPDK.
 */
import { openTx } from '../../paths/guest/open.js';
import { queueState, STARTED, type QueueSpec } from '../../paths/guest/queue.js';
import { NIL } from '../../paths/mempool.js';
import type { Eal } from '../eal/eal.js';

const RARP_LENGTH = 64;
const RARP_REQUEST = 3;

/** A RARP request in which `mac` asks for its own protocol address. */
export function rarpPacket(mac: Uint8Array): Uint8Array {
  const packet = new Uint8Array(RARP_LENGTH);
  const view = new DataView(packet.buffer);
  packet.fill(0xff, 0, 6);
  packet.set(mac, 6);
  view.setUint16(12, 0x8035);
  view.setUint16(14, 1); // hardware type: Ethernet
  view.setUint16(16, 0x0800);
  view.setUint8(18, 6);
  view.setUint8(19, 4);
  view.setUint16(20, RARP_REQUEST);
  packet.set(mac, 22);
  packet.set(mac, 32);
  return packet;
}

/**
 * Sends `packet` on a stopped queue that every lcore has left. The path works on a copy of the queue's state, which is marked
 * as started: so no lcore can use the queue meanwhile.
 * @returns false without a free mbuf, or without room in the ring
 */
export function inject(eal: Eal, spec: QueueSpec, packet: Uint8Array): boolean {
  const pool = eal.mempool(spec.mempool);
  const m = pool.get();
  if (m === NIL) return false;
  pool.dataOff[m] = pool.headroom;
  pool.dataLen[m] = packet.length;
  pool.pktLen[m] = packet.length;
  pool.olFlags[m] = 0;
  pool.u8.set(packet, pool.dataStart(m));

  const state = new Uint8Array(spec.shared);
  const shared = new SharedArrayBuffer(state.byteLength);
  const copy = new Uint8Array(shared);
  copy.set(state);
  const started = { ...spec, shared };
  const { words } = queueState(started);
  words[STARTED] = 1;
  const sent = openTx(started, pool).xmit(Uint32Array.of(m), 1);
  words[STARTED] = 0;
  state.set(copy);
  if (sent === 0) pool.free(m);
  return sent === 1;
}
