/** Packets by hand into a port, and out of it, by the back-end library. */
import { VhostDriver, type VhostDevice } from '../../driver/vhost/index.js';
import { packetFrom, readPacket } from '../../paths/mbuf.js';
import { NIL, type Mempool } from '../../paths/mempool.js';

/** A back-end on the thread of the test: what it sends is received by the port under test, and the other way round. */
export class PacketBackend {
  device: VhostDevice | undefined;
  private readonly pkts = new Uint32Array(32);
  private readonly driver: VhostDriver;

  constructor(
    private readonly pool: Mempool,
    path: string,
  ) {
    this.driver = new VhostDriver(path, {}, { newDevice: (device) => void (this.device = device) });
    this.driver.start();
  }

  close(): void {
    this.driver.close();
  }

  send(bytes: Uint8Array): void {
    this.driver.poll();
    const m = packetFrom(this.pool, bytes);
    this.pkts[0] = m;
    if (m !== NIL && this.device?.isRunning(0)) this.device.enqueueBurst(0, this.pool, this.pkts, 1);
    this.pool.free(m);
  }

  /** Bytes of the last packet that came, or undefined. */
  receive(): Uint8Array | undefined {
    this.driver.poll();
    if (!this.device?.isRunning(1)) return undefined;
    const n = this.device.dequeueBurst(1, this.pool, this.pkts, 32);
    const last = n > 0 ? readPacket(this.pool, this.pkts[n - 1]!) : undefined;
    this.pool.freeBulk(this.pkts, 0, n);
    return last;
  }
}
