/** One measurement: a front-end, DPDK's or ours, forwards what DPDK's vhost PMD sends round. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Recipe } from '../recipes.js';
import { Peer } from './peer.js';
import { dpdkCommand, ourCommand, ourCpu, peerCpu, portStats } from './testpmd.js';

export type Side = 'ours' | 'dpdk';

export interface Measurement {
  readonly recipe: string;
  readonly side: Side;
  /** Packets per second that the vhost side received, window by window. */
  readonly windows: readonly number[];
  /** Packets that either side could not hand on (TX-dropped), of `received` in all. */
  readonly dropped: number;
  readonly received: number;
  /** Garbage collections within the windows; undefined for DPDK. */
  readonly collections: number | undefined;
}

export interface MeasureOptions {
  /** One-second windows. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** Not those marked (reduce): V8 shrinks the heap of a thread that has gone idle, the prompt's for example. */
const GC_LINE = /\b(Scavenge|Mark-Compact(?! \(reduce\)))/g;
const START = /packet forwarding - ports=[^]*testpmd> /;
const STOP = /Accumulated forward statistics[^]*TX-dropped: (\d+)[^]*Done\./;

async function start(name: string, [command, args]: [string, string[]], peers: Peer[]): Promise<Peer> {
  const peer = new Peer(name, command, args);
  peers.push(peer);
  await peer.waitFor(/testpmd> /, 30_000);
  return peer;
}

/** `stop`. @returns the packets that this side could not hand on. */
async function stop(peer: Peer): Promise<number> {
  return Number((await peer.ask('stop', STOP))[1]);
}

/**
 * Processes are fresh, so that nothing the compiler learned from one recipe bears on the next. The vhost side is the same
 * for both and has CPU 0; the front-end forwards on CPU 1.
 */
export async function measure(recipe: Recipe, side: Side, options: MeasureOptions): Promise<Measurement> {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-bench-'));
  const socket = join(directory, 's');
  const peers: Peer[] = [];
  try {
    const vhost = await start('vhost', dpdkCommand({ vdevs: [`net_vhost0,iface=${socket},queues=1,client=0`] }), peers);
    const vdevs = [`net_virtio_user0,path=${socket},queues=1,${recipe.devargs}`];
    const lcores = `0@${peerCpu},1@${ourCpu}`;
    // ordinary pages on both sides: dpdkCommand has --no-huge, too
    const command =
      side === 'ours'
        ? ourCommand({ vdevs, lcores, nodeArgs: ['--trace-gc'], ealArgs: ['--no-huge'] })
        : dpdkCommand({ vdevs, lcores });
    const front = await start(side, command, peers);
    await front.ask('start', START);
    // the first packets only teach the compiler which paths are hot; the measured ones enter when it is done
    await vhost.ask('start tx_first 32', START);
    await sleep(options.warmUpSeconds * 1000);
    await stop(vhost);
    await vhost.ask('start tx_first 32', START);
    await sleep(500);

    const collectionsBefore = front.output.match(GC_LINE)?.length ?? 0;
    const windows: number[] = [];
    let { rxPackets } = await portStats(vhost);
    const before = rxPackets;
    for (let i = 0; i < options.seconds; i++) {
      await sleep(1000);
      const now = await portStats(vhost);
      windows.push(now.rxPps);
      rxPackets = now.rxPackets;
    }
    const collections = (front.output.match(GC_LINE)?.length ?? 0) - collectionsBefore;
    const dropped = (await stop(vhost)) + (await stop(front));
    return {
      ...{ recipe: recipe.name, side, windows, dropped, received: rxPackets - before },
      collections: side === 'ours' ? collections : undefined,
    };
  } finally {
    for (const peer of peers.reverse()) await peer.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}
