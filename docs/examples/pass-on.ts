// Sends packets on as they came: checksums that are not finished stay the next device's work, and so do TCP segments to cut.
import * as pmd from '../../driver/index.js';

const { RTE_MBUF_F_RX_L4_CKSUM_NONE: UNFINISHED, RTE_MBUF_F_RX_LRO: LRO } = pmd;
const [IPV4, UDP] = [0x0800, 17];

export default ((stream) => {
  const { pkts, pool } = stream;
  const found = new pmd.PacketHeaders();

  function passOn(m: number): void {
    const flags = pool.olFlags[m]!;
    pool.olFlags[m] = 0;
    if ((flags & UNFINISHED) !== UNFINISHED) return;
    pmd.parseHeaders(pool, m, found);
    pool.l2Len[m] = found.l2Len;
    pool.l3Len[m] = found.l3Len;
    pool.l4Len[m] = found.l4Len;
    const l3 = found.etherType === IPV4 ? pmd.RTE_MBUF_F_TX_IPV4 : pmd.RTE_MBUF_F_TX_IPV6;
    const l4 = found.protocol === UDP ? pmd.RTE_MBUF_F_TX_UDP_CKSUM : pmd.RTE_MBUF_F_TX_TCP_CKSUM;
    pool.olFlags[m] = l3 | l4 | ((flags & LRO) !== 0 ? pmd.RTE_MBUF_F_TX_TCP_SEG : 0);
  }

  return () => {
    const n = stream.receive();
    for (let i = 0; i < n; i++) passOn(pkts[i]!);
    stream.prepareAndTransmit(n);
  };
}) satisfies pmd.ForwardingMode;
