/**
 * Makes streams from ports, queues and lcores. In a stream one lcore sends the packets of one Rx queue to one Tx queue.
 * Every queue belongs to at most one stream, so queues need no locks.
 */

export type Topology = 'paired' | 'chained' | 'loop';
export const topologies: readonly Topology[] = ['paired', 'chained', 'loop'];

/** Determines the number of streams per port, and whether packets go back to their input port. */
export type StreamShape = 'forward' | 'receive' | 'transmit' | 'reply';

export interface Stream {
  readonly rxPort: number;
  readonly rxQueue: number;
  readonly txPort: number;
  readonly txQueue: number;
}

export interface LcoreStreams {
  readonly lcoreId: number;
  readonly streams: readonly Stream[];
}

export interface ForwardingPlan {
  readonly ports: readonly number[];
  readonly lcores: readonly LcoreStreams[];
  /** All streams, in the order of the lcores. */
  readonly streams: readonly Stream[];
  /** Paired topology with an odd number of ports: the last one forwards to itself. */
  readonly oddPorts: boolean;
}

export interface TopologyRequest {
  /** Port ids, in forwarding order. */
  readonly ports: readonly number[];
  readonly rxQueues: number;
  readonly txQueues: number;
  /** Lcore ids that may forward, in order. */
  readonly lcores: readonly number[];
  readonly topology: Topology;
  readonly shape: StreamShape;
}

/** The index of the port that the port at index `rx` of `count` forwards to. */
function peerIndex(topology: Topology, rx: number, count: number): number {
  if (topology === 'loop') return rx;
  if (topology === 'chained') return (rx + 1) % count;
  const pair = rx ^ 1;
  return pair < count ? pair : rx;
}

function queuesPerPort({ rxQueues, txQueues, shape }: TopologyRequest): number {
  if (shape === 'receive') return rxQueues;
  if (shape === 'transmit') return txQueues;
  return Math.min(rxQueues, txQueues);
}

function streamsOf(request: TopologyRequest): Stream[] {
  const { ports, topology, shape } = request;
  const queues = queuesPerPort(request);
  const streams: Stream[] = [];
  if (shape === 'reply') {
    for (const port of ports) {
      for (let q = 0; q < queues; q++) streams.push({ rxPort: port, rxQueue: q, txPort: port, txQueue: q });
    }
    return streams;
  }
  for (let q = 0; q < queues; q++) {
    ports.forEach((rxPort, index) => {
      const txPort = ports[peerIndex(topology, index, ports.length)]!;
      streams.push({ rxPort, rxQueue: q, txPort, txQueue: q });
    });
  }
  return streams;
}

/** Assigns the streams to the lcores in order; when they do not divide evenly, the last lcores get one more. */
export function planForwarding(request: TopologyRequest): ForwardingPlan {
  const { ports, topology, shape } = request;
  const streams = streamsOf(request);
  const count = Math.min(request.lcores.length, streams.length);
  const each = count === 0 ? 0 : Math.floor(streams.length / count);
  const short = count - (streams.length - each * count);
  const lcores: LcoreStreams[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const n = i < short ? each : each + 1;
    lcores.push({ lcoreId: request.lcores[i]!, streams: streams.slice(at, at + n) });
    at += n;
  }
  return { ports, lcores, streams, oddPorts: topology === 'paired' && shape !== 'reply' && ports.length % 2 === 1 };
}
