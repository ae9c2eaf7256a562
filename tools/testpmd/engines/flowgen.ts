/** flowgen: sends packets of many flows, which differ in their destination address, and frees what it receives. */
import { ETHER_CRC_LEN } from '../../../paths/layout.js';
import { NIL } from '../../../paths/mempool.js';
import { ETH_IP_UDP_LENGTH, IP_DESTINATION, packetTemplate, sumWithout, writeAddress } from './packets.js';
import type { Engine, ForwardStream } from './stream.js';
import { Tagging, type TxSettings } from './tx-settings.js';
import type { PacketPlan } from './txonly.js';

const DESTINATION_MAC = [0x00, 0x01, 0x02, 0x03, 0x04, 0x01];
const SOURCE_MAC = [0x00, 0x01, 0x02, 0x03, 0x04, 0x00];
const IP = { source: 0x0afe0000, destination: 0x0afd0000 };
const UDP = { source: 1000, destination: 1001 };

export class FlowGen implements Engine {
  private readonly length: number;
  private readonly template: Uint8Array;
  private readonly sum: number;
  private readonly scratch: Int32Array;
  private readonly flows: number;
  private readonly tagging: Tagging;
  private flow = 0;

  constructor(plan: PacketPlan, burst: number, dataRoom: number, tx: TxSettings) {
    this.tagging = new Tagging(tx);
    // the requested length includes the CRC, and a packet is one segment
    const asked = plan.segments.reduce((sum, bytes) => sum + bytes, 0) - ETHER_CRC_LEN;
    this.length = Math.min(dataRoom, Math.max(ETH_IP_UDP_LENGTH, asked));
    this.template = packetTemplate({
      length: this.length,
      sourceMac: SOURCE_MAC,
      destinationMac: DESTINATION_MAC,
      ip: IP,
      udp: UDP,
    });
    this.sum = sumWithout(this.template, IP_DESTINATION);
    this.scratch = new Int32Array(burst);
    this.flows = plan.flows;
  }

  run(stream: ForwardStream): void {
    const { pool, pkts } = stream;
    const received = stream.receive();
    if (received > 0) stream.free(received);
    const { scratch, template, length } = this;
    const headerBytes = Math.min(template.length, length);
    const n = pool.getBulk(scratch, stream.burst);
    for (let i = 0; i < n; i++) {
      const m = scratch[i]!;
      pool.dataOff[m] = pool.headroom;
      pool.dataLen[m] = length;
      pool.pktLen[m] = length;
      pool.nbSegs[m] = 1;
      pool.next[m] = NIL;
      this.tagging.mark(pool, m);
      const at = pool.dataStart(m);
      const { u8 } = pool;
      for (let b = 0; b < headerBytes; b++) u8[at + b] = template[b]!;
      writeAddress(u8, at, IP_DESTINATION, (IP.destination + this.flow) >>> 0, this.sum);
      this.flow = this.flow + 1 < this.flows ? this.flow + 1 : 0;
      pkts[i] = m;
    }
    if (n > 0) this.tagging.send(stream, n);
  }
}
