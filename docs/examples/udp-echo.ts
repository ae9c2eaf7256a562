// Answers each UDP datagram with itself and drops the rest. Sums do not mind an exchange: the checksums stay right.
import { bigEndian16, swapBytes, type ForwardingMode } from '../../driver/index.js';

const [ETHERNET, IPV4, UDP] = [14, 0x0800, 17];

/** Turns the packet in `at .. end` into its answer. @returns false when it is no UDP datagram. */
function toAnswer(u8: Uint8Array, at: number, end: number): boolean {
  const ip = at + ETHERNET;
  const udp = ip + (u8[ip]! & 0xf) * 4;
  if (udp + 8 > end || bigEndian16(u8, at + 12) !== IPV4 || u8[ip + 9] !== UDP) return false;
  if (bigEndian16(u8, ip + 6) & 0x1fff) return false; // a later fragment: no ports in it
  swapBytes(u8, at, at + 6, 6); // MAC addresses
  swapBytes(u8, ip + 12, ip + 16, 4); // IP addresses
  swapBytes(u8, udp, udp + 2, 2); // ports
  return true;
}

export default ((stream) => {
  const { pkts, pool } = stream;
  return () => {
    const n = stream.receive();
    let answers = 0;
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      const at = pool.dataStart(m);
      if (toAnswer(pool.u8, at, at + pool.dataLen[m]!)) pkts[answers++] = m;
      else stream.drop(m);
    }
    stream.send(answers);
  };
}) satisfies ForwardingMode;
