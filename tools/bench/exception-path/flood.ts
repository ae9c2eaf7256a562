/** Sends UDP packets as fast as Node can, until its input ends or contains anything: `flood.ts JOB`. */
import { createSocket } from 'node:dgram';

/** The job, as JSON. */
export interface FloodJob {
  /** The interface's own address. */
  readonly address: string;
  /** A multicast group, or the address of a host. */
  readonly target: string;
  readonly port: number;
  /** Bytes of a packet behind its headers. */
  readonly bytes: number;
}

/** Packets between two turns of the event loop, and packets that may wait for room. */
const BURST = 64;

const { address, target, port, bytes } = JSON.parse(process.argv[2]!) as FloodJob;
const packet = new Uint8Array(bytes);
const socket = createSocket('udp4');
const fail = ({ message }: Error) => {
  process.stderr.write(`${message}\n`);
  process.exit(1);
};

/** Expected errors: the queue is full under a flood, and no process listens on the destination port. */
const passing = new Set(['ENOBUFS', 'EAGAIN', 'ECONNREFUSED']);
let waiting = 0;
const sent = (error: NodeJS.ErrnoException | null) => {
  waiting--;
  if (error !== null && !passing.has(error.code ?? '')) fail(error);
};
function burst(): void {
  while (waiting < BURST) {
    waiting++;
    socket.send(packet, sent);
  }
  setImmediate(burst);
}

socket.on('error', fail);
socket.bind(0, address, () => {
  socket.setMulticastInterface(address);
  socket.setMulticastLoopback(false);
  socket.connect(port, target, () => {
    process.stdout.write('flooding\n');
    burst();
  });
});
process.stdin.on('data', () => process.exit(0)).on('end', () => process.exit(0));
