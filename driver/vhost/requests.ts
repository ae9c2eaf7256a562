/**
 * What each request of a front-end does to a device (vhost-user.rst, Front-end message types). Sizes and descriptor counts have
 * been checked (wire/vhost-user-checks.ts); session.ts decides whether and how to answer.
 */
import { descriptorKind } from '../../native/descriptor.js';
import { VirtioPmdError } from '../../native/errors.js';
import {
  featureNames,
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
  STATUS_NEEDS_RESET,
} from '../wire/virtio-features.js';
import { queueSizeProblem } from '../wire/vhost-user-checks.js';
import * as wire from '../wire/vhost-user.js';
import { hex } from '../../native/hex.js';
import type { GuestDevice } from './device.js';
import { contradictions, featuresProblem, protocolFeaturesProblem } from './features.js';
import type { Vring } from './vring.js';

/** The result of a request. */
export type Outcome =
  /** `keepsFds`: the device owns the message's descriptors now. */
  | { readonly kind: 'done'; readonly keepsFds?: boolean }
  | { readonly kind: 'reply'; readonly payload: Uint8Array }
  /** Not done; `why` is a sentence. `fatal`: close the connection, even where an answer would be possible. */
  | { readonly kind: 'refused'; readonly why: string; readonly fatal?: boolean; readonly keepsFds?: boolean }
  /** A request that this version of the protocol does not have; the connection continues. */
  | { readonly kind: 'unknown' };

type Settled = Extract<Outcome, { kind: 'done' | 'refused' }>;
type Handler = (device: GuestDevice, message: wire.Message) => Outcome;

const done: Outcome = { kind: 'done' };
const refused = (why: string): Outcome => ({ kind: 'refused', why });
const replyU64 = (value: bigint): Outcome => ({ kind: 'reply', payload: wire.encodeU64(value) });

/** Carries out one request. Never throws: errors of handlers are refusals. */
export function handleRequest(device: GuestDevice, message: wire.Message): Outcome {
  const info = wire.requestInfo(message.request);
  if (info === undefined) return { kind: 'unknown' };
  const needed = needs[message.request];
  if (needed !== undefined && !(device.protocolFeatures & needed)) {
    return refused(`${info.name} was sent although ${wire.protocolFeatureNames(needed).join()} was not negotiated`);
  }
  const handler = handlers[message.request];
  if (handler === undefined) return refused(`vhost message ${info.name} (req: ${message.request}) was not handled`);
  try {
    return handler(device, message);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    // a lcore that does not leave its ring: nothing of this device can be changed any more
    const fatal = error instanceof VirtioPmdError && (error.code === 'ELCORE' || error.code === 'ETIMEOUT');
    return { kind: 'refused', why, fatal };
  }
}

/** Requests that exist only with a protocol feature. */
const needs: Readonly<Record<number, bigint>> = {
  [wire.GET_MAX_MEM_SLOTS]: wire.PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  [wire.ADD_MEM_REG]: wire.PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  [wire.REM_MEM_REG]: wire.PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  [wire.NET_SET_MTU]: wire.PROTOCOL_F_NET_MTU,
  [wire.SET_STATUS]: wire.PROTOCOL_F_STATUS,
  [wire.GET_STATUS]: wire.PROTOCOL_F_STATUS,
};

const handlers: Readonly<Record<number, Handler>> = {
  [wire.GET_FEATURES]: (device) => replyU64(device.options.offered),
  [wire.SET_FEATURES]: setFeatures,
  [wire.SET_OWNER]: () => done,
  // deprecated: it once ended the session; vhost-user.rst asks to disable all rings
  [wire.RESET_OWNER]: (device) => {
    device.resetRings();
    for (const ring of device.rings) ring.enabled = false;
    return settled(device);
  },
  [wire.SET_MEM_TABLE]: setMemTable,
  [wire.SET_VRING_NUM]: setVringNum,
  [wire.SET_VRING_ADDR]: setVringAddr,
  [wire.SET_VRING_BASE]: setVringBase,
  [wire.GET_VRING_BASE]: getVringBase,
  [wire.SET_VRING_KICK]: (device, message) => setVringFd(device, message, (ring, fd) => ring.setKickFd(fd)),
  [wire.SET_VRING_CALL]: (device, message) => setVringFd(device, message, (ring, fd) => ring.setCallFd(fd)),
  [wire.SET_VRING_ERR]: (device, message) => setVringFd(device, message, (ring, fd) => ring.setErrFd(fd)),
  [wire.GET_PROTOCOL_FEATURES]: (device) => replyU64(device.options.offeredProtocol),
  [wire.SET_PROTOCOL_FEATURES]: setProtocolFeatures,
  // answered without MQ too, which is harmless
  [wire.GET_QUEUE_NUM]: (device) => replyU64(BigInt(device.options.maxQueuePairs)),
  [wire.SET_VRING_ENABLE]: setVringEnable,
  [wire.NET_SET_MTU]: setMtu,
  [wire.GET_MAX_MEM_SLOTS]: () => replyU64(BigInt(wire.MAX_MEM_SLOTS)),
  [wire.ADD_MEM_REG]: addMemReg,
  [wire.REM_MEM_REG]: remMemReg,
  [wire.SET_STATUS]: setStatus,
  [wire.GET_STATUS]: (device) => replyU64(BigInt(device.status)),
};

/** Starts and stops rings after a request; when a ring cannot start, the request is refused. */
function settled(device: GuestDevice): Settled {
  const why = device.update();
  return why === undefined ? { kind: 'done' } : { kind: 'refused', why };
}

/** The ring of an index, which is checked before it is narrowed to a number of a ring; or a sentence why there is none. */
function ringOf(device: GuestDevice, index: number): Vring | string {
  const rings = device.options.maxQueuePairs * 2;
  return index < rings ? device.ring(index) : `invalid vring index: ${index}; this device has vrings 0 to ${rings - 1}`;
}

function setFeatures(device: GuestDevice, { payload }: wire.Message): Outcome {
  const features = wire.decodeU64(payload);
  const problem = featuresProblem(features, device.options.offered);
  if (problem !== undefined) {
    device.featuresFailed = true;
    return refused(problem);
  }
  if (device.active && features !== device.features) return refused('features changed while device is running');
  device.featuresFailed = false;
  device.setFeatures(features);
  const names = featureNames(features).join(' ');
  device.log('info', `negotiated Virtio features: ${hex(features)} (${names})`);
  for (const sentence of contradictions(features)) device.log('debug', sentence);
  return settled(device);
}

function setProtocolFeatures(device: GuestDevice, { payload }: wire.Message): Outcome {
  const features = wire.decodeU64(payload);
  const problem = protocolFeaturesProblem(features, device.options.offeredProtocol);
  if (problem !== undefined) return { kind: 'refused', ...problem };
  device.protocolFeatures = features;
  const names = wire.protocolFeatureNames(features).join(' ');
  device.log('info', `negotiated Vhost-user protocol features: ${hex(features)} (${names})`);
  return settled(device);
}

function setMemTable(device: GuestDevice, { payload, fds }: wire.Message): Outcome {
  const regions = wire.decodeMemoryTable(payload);
  if (regions.length === 0 && device.active) return refused('an empty memory table came while rings are running');
  if (regions.length > 0 && device.table.isSame(regions, fds)) {
    device.log('info', 'memory regions not changed');
    return done;
  }
  const unmapOld = device.table.replace(regions, fds);
  device.memoryChanged(unmapOld);
  describeMemory(device);
  return done;
}

function addMemReg(device: GuestDevice, { payload, fds }: wire.Message): Outcome {
  device.table.add(wire.decodeSingleRegion(payload), fds[0]!);
  device.memoryChanged();
  describeMemory(device);
  return done;
}

function remMemReg(device: GuestDevice, { payload }: wire.Message): Outcome {
  const unmapOld = device.table.remove(wire.decodeSingleRegion(payload));
  if (unmapOld === undefined) return refused('failed to find the memory region that is to be removed');
  device.memoryChanged(unmapOld);
  return done;
}

function describeMemory(device: GuestDevice): void {
  for (const { region, mapping, sealed } of device.table.regions) {
    const at = `guest ${hex(region.guestAddr)}, user ${hex(region.userAddr)}, mapped at ${hex(mapping.address)}`;
    const seal = sealed ? '' : '; its file has no F_SEAL_SHRINK';
    device.log('debug', `guest memory region of ${hex(region.size)} bytes: ${at}${seal}`);
  }
}

function setVringNum(device: GuestDevice, { payload }: wire.Message): Outcome {
  const { index, num } = wire.decodeVringState(payload);
  const ring = ringOf(device, index);
  if (typeof ring === 'string') return refused(ring);
  const problem = queueSizeProblem(num, device.format.packed);
  if (problem !== undefined) return refused(problem);
  if (num === ring.size) return done;
  if (ring.isRunning) return refused(`the size of vring ${index} cannot change while it is running`);
  ring.size = num;
  ring.changed = true;
  return settled(device);
}

function setVringAddr(device: GuestDevice, { payload }: wire.Message): Outcome {
  const addr = wire.decodeVringAddr(payload);
  const ring = ringOf(device, addr.index);
  if (typeof ring === 'string') return refused(ring);
  ring.setAddresses(addr, device.format, device.guestMemory);
  return settled(device);
}

function setVringBase(device: GuestDevice, { payload }: wire.Message): Outcome {
  const { index, num } = wire.decodeVringState(payload);
  const ring = ringOf(device, index);
  if (typeof ring === 'string') return refused(ring);
  if (!device.format.packed && num > 0xffff) return refused(`invalid base ${num} of split vring ${index}: 16 bits`);
  if (ring.isRunning) return refused(`the base of vring ${index} cannot change while it is running`);
  ring.base = num;
  ring.changed = true;
  return settled(device);
}

/**
 * All bits of a packed ring's base except for the used wrap counter. QEMU up to 8.0 treats that bit as a part of the used index
 * (it masks with 0x7ffff), and ends with an assertion when it then drops a packet of the guest, after `set_link off` for
 * example. Without the bit it writes the right descriptor, with the wrong counter; PackedRing corrects that
 * (docs/decisions/0014). No other front-end is known to use this half.
 */
const USED_WRAP_OFF = 0x7fffffff;

function getVringBase(device: GuestDevice, { payload }: wire.Message): Outcome {
  const { index } = wire.decodeVringState(payload);
  const ring = ringOf(device, index);
  if (typeof ring === 'string') return refused(ring);
  const base = ring.stop(device.format.packed);
  const num = device.format.packed ? base & USED_WRAP_OFF : base;
  device.update();
  device.log('info', `vring base idx:${index} last_used_idx:${num & (device.format.packed ? 0x7fff : 0xffff)}`);
  return { kind: 'reply', payload: wire.encodeVringState({ index, num }) };
}

function setVringEnable(device: GuestDevice, { payload }: wire.Message): Outcome {
  const { index, num } = wire.decodeVringState(payload);
  const ring = ringOf(device, index);
  if (typeof ring === 'string') return refused(ring);
  if (num > 1) return refused(`SET_VRING_ENABLE of vring ${index} has the value ${num}; 0 and 1 are accepted`);
  ring.enabled = num === 1;
  ring.changed = true;
  device.log('debug', `set queue enable: ${num} to qp idx: ${index}`);
  return settled(device);
}

/** VIRTIO_MIN_MTU and VIRTIO_MAX_MTU. */
const MIN_MTU = 68n;
const MAX_MTU = 65535n;

/** What the guest is told. QEMU sends it before SET_FEATURES, so the feature MTU cannot be asked for here. */
function setMtu(device: GuestDevice, { payload }: wire.Message): Outcome {
  const mtu = wire.decodeU64(payload);
  if (mtu < MIN_MTU || mtu > MAX_MTU) return refused(`an MTU of ${mtu} bytes; ${MIN_MTU} to ${MAX_MTU} are taken`);
  device.mtu = Number(mtu);
  return done;
}

/** The name that descriptorKind has for an eventfd. */
const AN_EVENTFD = 'an event descriptor';

function setVringFd(device: GuestDevice, message: wire.Message, set: (ring: Vring, fd: number) => void): Outcome {
  const word = wire.decodeU64(message.payload);
  if (word > (wire.VRING_NOFD | wire.VRING_INDEX_MASK)) return refused(`invalid vring index: ${hex(word)}`);
  const ring = ringOf(device, Number(word & wire.VRING_INDEX_MASK));
  if (typeof ring === 'string') return refused(ring);
  const fd = message.fds[0] ?? -1;
  // only an eventfd can be signalled without waiting for the peer (docs/decisions/0012)
  const kind = fd < 0 ? AN_EVENTFD : descriptorKind(fd);
  if (kind !== AN_EVENTFD) return refused(`vring ${ring.index} got ${kind} where an eventfd is expected`);
  set(ring, fd);
  // the ring owns the descriptor now, whether it can start or not
  return { ...settled(device), keepsFds: true };
}

const statusBits: readonly (readonly [bit: number, name: string])[] = [
  [STATUS_ACKNOWLEDGE, 'ACKNOWLEDGE'],
  [STATUS_DRIVER, 'DRIVER'],
  [STATUS_FEATURES_OK, 'FEATURES_OK'],
  [STATUS_DRIVER_OK, 'DRIVER_OK'],
  [STATUS_NEEDS_RESET, 'DEVICE_NEED_RESET'],
  [STATUS_FAILED, 'FAILED'],
];

function setStatus(device: GuestDevice, { payload }: wire.Message): Outcome {
  const status = wire.decodeU64(payload);
  if (status > 0xffn) return refused(`invalid virtio device status ${hex(status)}: one byte is expected`);
  device.setStatus(Number(status));
  device.log('info', `new device status(0x${status.toString(16).padStart(8, '0')}):`);
  for (const [bit, name] of statusBits) device.log('debug', `\t-${name}: ${device.status & bit ? 1 : 0}`);
  return settled(device);
}
