// Drops UDP datagrams to port 9 and hands on all else. What it drops is counted as TX-dropped.
import { bigEndian16, type ForwardingMode } from '../../driver/index.js';

const [ETHERNET, IPV4, UDP, DISCARD] = [14, 0x0800, 17, 9];

export default ((stream) => {
  const { pkts, pool } = stream;
  const { u8, dataLen } = pool;

  function isUnwanted(m: number): boolean {
    const at = pool.dataStart(m);
    const ip = at + ETHERNET;
    const udp = ip + (u8[ip]! & 0xf) * 4;
    if (udp + 4 > at + dataLen[m]! || bigEndian16(u8, at + 12) !== IPV4 || u8[ip + 9] !== UDP) return false;
    return (bigEndian16(u8, ip + 6) & 0x1fff) === 0 && bigEndian16(u8, udp + 2) === DISCARD;
  }

  return () => {
    const n = stream.receive();
    let kept = 0;
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      if (isUnwanted(m)) stream.drop(m);
      else pkts[kept++] = m;
    }
    stream.send(kept);
  };
}) satisfies ForwardingMode;
