/** The interface of forwarding engines. */
import type { ForwardStream } from '../../../driver/port/stream.js';

export type { ForwardStream, StreamSettings } from '../../../driver/port/stream.js';

/** A forwarding mode: one burst of one stream per call. Allocates nothing. */
export interface Engine {
  run(stream: ForwardStream): void;
}
