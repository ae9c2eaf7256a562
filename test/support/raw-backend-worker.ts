/** The thread of raw-backend.ts. */
import { rmSync } from 'node:fs';
import { parentPort, type MessagePort } from 'node:worker_threads';
import { createEventFd, pollFd, POLLIN } from '../../native/event.js';
import { closeFd } from '../../native/region.js';
import { acceptUnix, connectUnix, listenUnix, sendWithFds } from '../../native/socket.js';
import { MessageChannel } from '../../driver/wire/channel.js';
import * as F from '../../driver/wire/virtio-features.js';
import * as V from '../../driver/wire/vhost-user.js';
import { fillAndBlock } from './hostile-eventfd.js';
import {
  HANG_UP,
  RAW_FEATURES,
  RAW_PROTOCOL_FEATURES,
  REFUSE_CONNECTIONS,
  STOP,
  type RawJob,
  type Script,
} from './raw-backend.js';

const control = parentPort!;
control.on('message', (job: RawJob) => {
  const listener = job.client ? -1 : listenUnix(job.path);
  control.postMessage('ready');
  for (let connection = 0; ; connection++) {
    const fd = nextConnection(job, listener);
    if (fd < 0) break;
    try {
      serve(job, fd, connection);
    } catch {
      // the front-end closed while we were answering
    }
  }
  if (listener >= 0) closeFd(listener);
  rmSync(job.path, { force: true });
  job.port.close();
  control.postMessage('done');
});

function nextConnection({ words, path, client }: RawJob, listener: number): number {
  while (Atomics.load(words, STOP) === 0) {
    if (Atomics.load(words, REFUSE_CONNECTIONS) === 0) {
      const fd = client ? tryConnect(path) : pollFd(listener, POLLIN, 0) ? acceptUnix(listener) : -1;
      if (fd >= 0) return fd;
    }
    Atomics.wait(words, STOP, 0, 5);
  }
  return -1;
}

function tryConnect(path: string): number {
  try {
    return connectUnix(path);
  } catch {
    return -1;
  }
}

function serve({ words, port, scripts }: RawJob, fd: number, connection: number): void {
  const script = scripts[Math.min(connection, scripts.length - 1)]!;
  const channel = new MessageChannel(fd);
  try {
    converse(words, port, script, channel, connection);
  } finally {
    channel.close();
  }
}

function converse(
  words: Int32Array,
  port: MessagePort,
  script: Script,
  channel: MessageChannel,
  connection: number,
): void {
  const { fd } = channel;
  let acked = 0n;
  let status = 0n;
  for (let count = 0; channel.ended === undefined && Atomics.load(words, STOP) === 0;) {
    if (Atomics.exchange(words, HANG_UP, 0) === 1) break;
    const message = channel.receive();
    if (message === undefined) {
      pollFd(fd, POLLIN, 5);
      continue;
    }
    if (message.request === V.SET_VRING_KICK && script.fillsKicks) message.fds.forEach(fillAndBlock);
    for (const received of message.fds) closeFd(received);
    const { request, flags, payload, fds } = message;
    port.postMessage({ connection, request, name: V.requestName(request), flags, payload, fds: fds.length });
    if (count++ === script.closeAt) break;
    if (request === V.SET_PROTOCOL_FEATURES) acked = V.decodeU64(payload);
    if (request === V.SET_STATUS) status = V.decodeU64(payload);
    if (script.silentFrom !== undefined && count > script.silentFrom) continue;
    if (script.delayed?.includes(request) ?? true) Atomics.wait(words, STOP, 0, script.delayMs ?? 0);
    if (request !== script.ignore) answer(fd, message, script, acked, status);
    if (request === script.badReply?.to && script.badReply.how === 'half') break;
    if (request === script.babbleAfter) sendWithFds(fd, V.encodeMessage(99, V.VERSION, new Uint8Array(8)));
  }
}

function answer(fd: number, message: V.Message, script: Script, acked: bigint, status: bigint): void {
  const reply = replyTo(message, script, status);
  if (reply !== undefined) {
    sendReply(fd, message.request, reply, script);
    return;
  }
  const wanted = (message.flags & V.NEED_REPLY) !== 0 && (acked & V.PROTOCOL_F_REPLY_ACK) !== 0n;
  if (wanted) sendReply(fd, message.request, V.encodeU64(message.request === script.refuse ? 1n : 0n), script);
}

function replyTo({ request, payload }: V.Message, script: Script, status: bigint): Uint8Array | undefined {
  switch (request) {
    case V.GET_FEATURES:
      return V.encodeU64(script.features ?? RAW_FEATURES);
    case V.GET_PROTOCOL_FEATURES:
      return V.encodeU64(script.protocolFeatures ?? RAW_PROTOCOL_FEATURES);
    case V.GET_VRING_BASE:
      return V.encodeVringState({ index: V.decodeVringState(payload).index, num: 0 });
    case V.GET_STATUS:
      return V.encodeU64(statusSaid(script, status));
    case V.GET_CONFIG: {
      if (script.config === undefined || script.config.length === 0) return new Uint8Array(0);
      const { offset, data } = V.decodeConfig(payload);
      const bytes = Uint8Array.from(script.config).slice(offset, offset + data.length);
      return V.encodeConfig({ offset, flags: 0, data: bytes });
    }
    default:
      return undefined;
  }
}

function statusSaid(script: Script, status: bigint): bigint {
  switch (script.status) {
    case 'without FEATURES_OK':
      return status & ~BigInt(F.STATUS_FEATURES_OK);
    case 'with NEEDS_RESET':
      return status | BigInt(F.STATUS_NEEDS_RESET);
    case 'more than a byte':
      return status | 0x100n;
    default:
      return status;
  }
}

function sendReply(fd: number, request: number, payload: Uint8Array, script: Script): void {
  const bad = script.badReply?.to === request ? script.badReply.how : undefined;
  switch (bad) {
    case 'other request':
      sendWithFds(fd, V.encodeMessage(request + 1, V.REPLY_FLAGS, payload));
      return;
    case 'no reply bit':
      sendWithFds(fd, V.encodeMessage(request, V.VERSION, payload));
      return;
    case 'wrong version':
      sendWithFds(fd, V.encodeMessage(request, 2 | V.REPLY, payload));
      return;
    case 'too short':
      sendWithFds(fd, V.encodeMessage(request, V.REPLY_FLAGS, payload.slice(0, payload.length - 4)));
      return;
    case 'too long':
      sendWithFds(fd, V.encodeMessage(request, V.REPLY_FLAGS, new Uint8Array(payload.length + 8)));
      return;
    case 'half':
      sendWithFds(fd, V.encodeMessage(request, V.REPLY_FLAGS, payload).slice(0, V.HEADER_SIZE + 3));
      return;
    case 'fds': {
      const extra = createEventFd();
      sendWithFds(fd, V.encodeMessage(request, V.REPLY_FLAGS, payload), [extra]);
      closeFd(extra);
      return;
    }
    default:
      sendWithFds(fd, V.encodeMessage(request, V.REPLY_FLAGS, payload));
  }
}
