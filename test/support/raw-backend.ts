/**
 * A scripted vhost-user back-end on a thread of its own: it answers as told, misbehaves as told, and reports every
 * message that it got. It knows nothing of rings. The front-end under test blocks its own thread, so this cannot share it.
 * One thread serves all tests of a file, one after the other (test.serial): starting threads is what takes time.
 */
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import * as F from '../../driver/wire/virtio-features.js';
import * as V from '../../driver/wire/vhost-user.js';

export type BadReply = 'other request' | 'no reply bit' | 'wrong version' | 'too short' | 'too long' | 'half' | 'fds';

/** How one connection goes. */
export interface Script {
  /** Default: everything that a current back-end offers, two queue pairs' worth. */
  readonly features?: bigint;
  readonly protocolFeatures?: bigint;
  /** Close the connection when message n (from 0) has come, without answering it. */
  readonly closeAt?: number;
  /** Answer this request (with REPLY_ACK) with 1. */
  readonly refuse?: number;
  /** Say nothing to this request, or to message n (from 0) and all after it. */
  readonly ignore?: number;
  readonly silentFrom?: number;
  /** Take so long for every answer, or for those to these requests. */
  readonly delayMs?: number;
  readonly delayed?: readonly number[];
  readonly badReply?: { readonly to: number; readonly how: BadReply };
  /** What GET_STATUS says, given what SET_STATUS said last. */
  readonly status?: 'honest' | 'without FEATURES_OK' | 'with NEEDS_RESET' | 'more than a byte';
  /** Device configuration for GET_CONFIG; empty: an empty reply. */
  readonly config?: readonly number[];
  /** After answering this request: send bytes that nobody asked for. */
  readonly babbleAfter?: number;
  /** Fills the eventfds with which it is kicked, and makes them blocking: whoever writes to one waits for ever. */
  readonly fillsKicks?: boolean;
}

export interface RawBackendOptions {
  readonly path: string;
  /** true: connects (the front-end listens), again and again. */
  readonly client?: boolean;
  /** One for each connection; the last one goes on for all later ones. */
  readonly scripts: readonly Script[];
}

export interface Seen {
  readonly connection: number;
  readonly request: number;
  readonly name: string;
  readonly flags: number;
  readonly payload: Uint8Array;
  readonly fds: number;
}

export const RAW_FEATURES =
  F.VIRTIO_F_VERSION_1 |
  F.VIRTIO_NET_F_MRG_RXBUF |
  F.VIRTIO_F_IN_ORDER |
  F.VIRTIO_F_RING_PACKED |
  F.VIRTIO_F_INDIRECT_DESC |
  F.VIRTIO_F_EVENT_IDX |
  F.VIRTIO_NET_F_MQ |
  F.VIRTIO_NET_F_CTRL_VQ |
  F.VIRTIO_NET_F_CTRL_RX |
  F.VHOST_USER_F_PROTOCOL_FEATURES;
export const RAW_PROTOCOL_FEATURES = V.PROTOCOL_F_MQ | V.PROTOCOL_F_REPLY_ACK | V.PROTOCOL_F_STATUS;

/** Words that the thread and we share. */
export const STOP = 0;
/** 1: the connection of now is to be closed. */
export const HANG_UP = 1;
/** 1: takes no new connections. */
export const REFUSE_CONNECTIONS = 2;

/** What the thread is given for one back-end. */
export interface RawJob extends RawBackendOptions {
  readonly words: Int32Array;
  readonly port: MessagePort;
}

let thread: Worker | undefined;

/** A thread for one more back-end at the same time. */
export function startThread(): Worker {
  const worker = new Worker(new URL('./raw-backend-worker.js', import.meta.url));
  worker.unref();
  return worker;
}

export class RawBackend {
  private readonly words = new Int32Array(new SharedArrayBuffer(16));
  private readonly seen: Seen[] = [];
  private readonly channel = new MessageChannel();
  private stopped = false;

  private constructor(private readonly worker: Worker) {
    this.channel.port1.unref();
  }

  /** Resolves when it listens (or has begun to try to connect). */
  static async start(options: RawBackendOptions, worker = (thread ??= startThread())): Promise<RawBackend> {
    const backend = new RawBackend(worker);
    const { port2 } = backend.channel;
    const ready = backend.said('ready');
    worker.postMessage({ ...options, words: backend.words, port: port2 } satisfies RawJob, [port2]);
    await ready;
    return backend;
  }

  private said(what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const { worker } = this;
      worker.ref();
      const settle = (action: () => void) => {
        worker.unref();
        worker.off('message', onMessage);
        worker.off('error', onError);
        action();
      };
      const onMessage = (message: unknown) => message === what && settle(resolve);
      const onError = (error: Error) => settle(() => reject(error));
      worker.on('message', onMessage);
      worker.on('error', onError);
    });
  }

  /** Messages so far. */
  messages(): readonly Seen[] {
    const { port1 } = this.channel;
    for (let got = receiveMessageOnPort(port1); got; got = receiveMessageOnPort(port1)) {
      this.seen.push((got as { message: Seen }).message);
    }
    return this.seen;
  }

  /** One line per message: name, then the ring or the value it is about. */
  trace(connection = 0): string[] {
    return this.messages()
      .filter((message) => message.connection === connection)
      .map(describe);
  }

  hangUp(): void {
    Atomics.store(this.words, HANG_UP, 1);
  }

  refuseConnections(on: boolean): void {
    Atomics.store(this.words, REFUSE_CONNECTIONS, on ? 1 : 0);
  }

  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    const done = this.said('done');
    Atomics.store(this.words, STOP, 1);
    await done;
    this.channel.port1.close();
  }
}

function describe({ request, name, payload }: Seen): string {
  switch (request) {
    case V.SET_VRING_CALL:
    case V.SET_VRING_KICK:
    case V.SET_STATUS:
      return `${name} ${V.decodeU64(payload)}`;
    case V.SET_VRING_NUM:
    case V.SET_VRING_ENABLE: {
      const { index, num } = V.decodeVringState(payload);
      return `${name} ${index} ${num}`;
    }
    case V.SET_VRING_BASE:
    case V.GET_VRING_BASE:
    case V.SET_VRING_ADDR:
      return `${name} ${V.decodeVringState(payload).index}`;
    default:
      return name;
  }
}

/** Waits until `condition` holds; gives up after some time, so that a hang becomes a failed assertion. */
export async function until(condition: () => boolean, what: string, seconds = 10): Promise<void> {
  for (let i = 0; i < 100 * seconds; i++) {
    if (condition()) return;
    await sleep(10);
  }
  throw new Error(`waited in vain until ${what}`);
}

/** Open descriptors of this process. */
export function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Open descriptors once their number has stood still: a back-end's thread closes its own a moment after the session. */
export async function settledFds(): Promise<number> {
  let count = openFds();
  for (let calm = 0; calm < 30; calm++) {
    await sleep(10);
    const now = openFds();
    if (now !== count) calm = 0;
    count = now;
  }
  return count;
}
