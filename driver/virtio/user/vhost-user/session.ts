/**
 * One connection to a vhost-user back-end: what the back-end has been told on it, and the groups of messages that tell it. Their
 * order is that of DPDK (virtio_user_dev.c).
 *
 * A group gets its values from its caller when it is queued: the port may be configured again before it is sent.
 */
import { VirtioPmdError } from '../../../../native/errors.js';
import type { Region } from '../../../../native/region.js';
import type { Eal } from '../../../eal/eal.js';
import { has } from '../../features.js';
import { checkFeaturesOk } from '../../init.js';
import { CONFIG_MAC, type QueueSetup } from '../../transport.js';
import * as V from '../../../wire/vhost-user.js';
import * as F from '../../../wire/virtio-features.js';
import { isUnicast, MAC_LENGTH } from '../../../wire/mac.js';
import { Conversation, type Limits } from './conversation.js';
import { VhostUserClient, type Exchange, type SharedRegion } from './client.js';

const PROTOCOL_FEATURES = V.PROTOCOL_F_MQ | V.PROTOCOL_F_REPLY_ACK | V.PROTOCOL_F_CONFIG | V.PROTOCOL_F_STATUS;

/** What a back-end is told at DRIVER_OK: the memory and the rings. */
export interface RingPlan {
  readonly eal: Eal;
  readonly memory: Region;
  readonly regions: readonly SharedRegion[];
  readonly queues: readonly QueueSetup[];
  /** By virtqueue. */
  readonly kickFds: readonly number[];
}

/** The state of one connection. */
export class UserSession {
  readonly client: VhostUserClient;
  /** The exchanges that are under way. */
  readonly talk: Conversation;
  /** Feature bits that the back-end offers, VHOST_USER_F_PROTOCOL_FEATURES (bit 30) included. */
  features = 0n;
  /** Six bytes from the back-end's configuration, if it was asked and has a MAC address. */
  mac: Uint8Array | undefined;
  /** The last device status that it was told. */
  told = 0;
  /** It has been told of memory and rings, and has not confirmed that it stopped using them. */
  holdsMemory = false;
  /** When it was told DRIVER_OK; Infinity before. */
  private upSince = Infinity;
  private readonly pairEnabled: boolean[];

  /** @param fd a connected socket, which the session closes @param pairs queue pairs of the device */
  constructor(fd: number, pairs: number, limits: Limits, warn: (line: string) => void) {
    this.client = new VhostUserClient(fd, warn);
    this.talk = new Conversation(this.client, limits);
    this.pairEnabled = Array.from({ length: pairs }, () => false);
  }

  /** Milliseconds since DRIVER_OK; negative before. */
  get lifetime(): number {
    return performance.now() - this.upSince;
  }

  /** Whether the back-end is told this status: with the protocol feature STATUS, and from FEATURES_OK on. */
  listensTo(status: number): boolean {
    return (status & F.STATUS_FEATURES_OK) !== 0 && has(this.client.protocolFeatures, V.PROTOCOL_F_STATUS);
  }

  /**
   * SET_OWNER, features, protocol features. SET_OWNER begins every session: DPDK sends it once per process, but a restarted
   * back-end has not seen it.
   * @param wantsMac ask for the MAC address of its configuration too
   */
  *hello(wantsMac: boolean): Exchange {
    const { client } = this;
    yield* client.setOwner();
    this.features = yield* client.getFeatures();
    if (has(this.features, F.VHOST_USER_F_PROTOCOL_FEATURES)) {
      const offered = yield* client.getProtocolFeatures();
      yield* client.setProtocolFeatures(offered & PROTOCOL_FEATURES);
    }
    if (!wantsMac || !has(this.features, F.VIRTIO_NET_F_MAC)) return;
    if (!has(client.protocolFeatures, V.PROTOCOL_F_CONFIG)) return;
    const mac = yield* client.getConfig(CONFIG_MAC, MAC_LENGTH);
    if (mac !== undefined && isUnicast(mac)) this.mac = mac;
  }

  /** SET_VRING_CALL of each ring, then SET_FEATURES. @param callFds by virtqueue index */
  *sendFeatures(callFds: readonly number[], features: bigint): Exchange {
    // the first message that names a ring makes the back-end allocate it, so CALL goes before the features
    for (const [index, fd] of callFds.entries()) yield* this.client.setVringCall(index, fd);
    yield* this.client.setFeatures(features | (this.features & F.VHOST_USER_F_PROTOCOL_FEATURES));
  }

  /** Checks that FEATURES_OK is still set (virtio 1.2 section 3.1.1). Like DPDK, after FEATURES_OK and before DRIVER_OK. */
  *confirmFeatures(): Exchange {
    checkFeaturesOk(yield* this.client.getStatus());
  }

  /** The memory table and the rings. */
  *start({ eal, memory, regions, queues, kickFds }: RingPlan): Exchange {
    const { client } = this;
    // the number of the memory's descriptor may have been reused by now
    if (eal.memory !== memory) throw new VirtioPmdError('ESTATE', 'the Eal was closed before its port');
    this.holdsMemory = true;
    yield* client.setMemTable(regions);
    for (const { index, size, base, desc, driver, device } of queues) {
      yield* client.setVringNum(index, size);
      yield* client.setVringBase(index, base);
      yield* client.setVringAddr({
        index,
        flags: 0,
        desc: eal.userAddress(desc),
        avail: eal.userAddress(driver),
        used: eal.userAddress(device),
        log: 0n,
      });
      yield* client.setVringKick(index, kickFds[index]!);
    }
    yield* this.enablePair(0, true);
  }

  /** Enables the first `n` pairs and disables the others. */
  *enablePairs(n: number): Exchange {
    for (let pair = 0; pair < this.pairEnabled.length; pair++) yield* this.enablePair(pair, pair < n);
  }

  private *enablePair(pair: number, on: boolean): Exchange {
    if (this.pairEnabled[pair] === on) return;
    // without protocol features rings are enabled from the start, and the message does not exist
    if (has(this.features, F.VHOST_USER_F_PROTOCOL_FEATURES)) {
      yield* this.client.setVringEnable(2 * pair, on);
      yield* this.client.setVringEnable(2 * pair + 1, on);
    }
    this.pairEnabled[pair] = on;
  }

  /** SET_STATUS, if the back-end is told this one. */
  *tell(status: number): Exchange {
    if (this.listensTo(status)) yield* this.client.setStatus(status);
    this.told = status;
    if ((status & (F.STATUS_DRIVER_OK | F.STATUS_FAILED)) !== F.STATUS_DRIVER_OK) return;
    this.upSince = performance.now();
    this.talk.restartClock();
  }

  /** Reset: rings disabled and stopped, then status 0. */
  *stop(rings: number): Exchange {
    const { client, told } = this;
    if ((told & F.STATUS_DRIVER_OK) !== 0) {
      yield* this.enablePairs(0);
      for (let index = 0; index < rings; index++) yield* client.getVringBase(index);
    }
    if (this.listensTo(told)) yield* client.setStatus(0);
    this.told = 0;
    this.holdsMemory = false;
    this.pairEnabled.fill(false);
  }
}
