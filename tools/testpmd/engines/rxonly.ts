import type { Engine, ForwardStream } from './stream.js';

/** rxonly: packets are received and freed. */
export class RxOnly implements Engine {
  run(stream: ForwardStream): void {
    const n = stream.receive();
    if (n > 0) stream.free(n);
  }
}
