/**
 * One connection to a vhost-user back-end: what the back-end knows on it, and the groups of messages that tell it. Their
 * order is DPDK's (virtio_user_dev.c).
 *
 * A group takes what it says from its caller at the moment at which it is put in line: the port may be configured anew
 * before it is said.
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

/** What a back-end is told at DRIVER_OK. */
export interface RingPlan {
  readonly eal: Eal;
  readonly memory: Region;
  readonly regions: readonly SharedRegion[];
  readonly queues: readonly QueueSetup[];
  /** By virtqueue. */
  readonly kickFds: readonly number[];
}

export class UserSession {
  readonly client: VhostUserClient;
  /** What is being said. */
  readonly talk: Conversation;
  /** What the back-end offered, bit 30 included. */
  features = 0n;
  /** From its configuration, when it was asked and has one. */
  mac: Uint8Array | undefined;
  /** The last status that it was told. */
  told = 0;
  /** It knows the rings, and has not said that it stopped using them. */
  holdsMemory = false;
  /** When it was told DRIVER_OK. */
  private upSince = Infinity;
  private readonly pairEnabled: boolean[];

  /** @param fd a connected socket, owned by the session from now on */
  constructor(fd: number, pairs: number, limits: Limits, warn: (line: string) => void) {
    this.client = new VhostUserClient(fd, warn);
    this.talk = new Conversation(this.client, limits);
    this.pairEnabled = Array.from({ length: pairs }, () => false);
  }

  /** For how long it has been up, in milliseconds; negative if it never was. */
  get lifetime(): number {
    return performance.now() - this.upSince;
  }

  /** The back-end wants to know a status like this one: before FEATURES_OK it cannot know about protocol features. */
  listensTo(status: number): boolean {
    return (status & F.STATUS_FEATURES_OK) !== 0 && has(this.client.protocolFeatures, V.PROTOCOL_F_STATUS);
  }

  /**
   * SET_OWNER, features, protocol features. SET_OWNER opens every session (DPDK sends it once per process; a restarted
   * back-end has never seen it).
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

  /** @param callFds of the rings that there will be, in their order */
  *sendFeatures(callFds: readonly number[], features: bigint): Exchange {
    // the first message that names a ring makes the back-end allocate it, so CALL goes ahead of the features
    for (const [index, fd] of callFds.entries()) yield* this.client.setVringCall(index, fd);
    yield* this.client.setFeatures(features | (this.features & F.VHOST_USER_F_PROTOCOL_FEATURES));
  }

  /** DPDK asks twice: after FEATURES_OK and before DRIVER_OK. */
  *confirmFeatures(): Exchange {
    checkFeaturesOk(yield* this.client.getStatus());
  }

  /** The memory table and the rings. */
  *start({ eal, memory, regions, queues, kickFds }: RingPlan): Exchange {
    const { client } = this;
    // the memory's descriptor may be anybody's by now
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
