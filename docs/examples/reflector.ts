// Sends every packet back to whom it came from: its MAC addresses change places.
import { swapBytes, type ForwardingMode } from '../../driver/index.js';

export default ((stream) => () => {
  const { pkts, pool } = stream;
  const n = stream.receive();
  for (let i = 0; i < n; i++) {
    const at = pool.dataStart(pkts[i]!);
    swapBytes(pool.u8, at, at + 6, 6);
  }
  stream.send(n);
}) satisfies ForwardingMode;
