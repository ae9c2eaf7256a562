#!/usr/bin/env node
/** vhost-switch: see `usage` in options.ts. */
import { pinThread } from '../../native/cpu.js';
import { LogLimit } from '../../native/log-limit.js';
import { createRegion, destroyRegion } from '../../native/region.js';
import { VhostDriver, type VhostCallbacks } from '../../driver/vhost/index.js';
import { VIRTIO_NET_F_MRG_RXBUF } from '../../driver/wire/virtio-features.js';
import { createMempool, Mempool, mempoolStride } from '../../paths/mempool.js';
import { sharedCodeNote } from '../../paths/specialize.js';
import { Ending } from '../common/ending.js';
import { endDespiteReaders, Output } from '../common/output.js';
import { endOrderly, runMain } from '../common/program.js';
import { parseOptions, type SwitchOptions } from './options.js';
import { statsScreen } from './stats-screen.js';
import { Switch } from './switch.js';

/** Turns of the switch between two turns of Node's event loop, which delivers signals. */
const TURNS = 256;
/** After so many rounds without traffic, the loop sleeps a little between them. */
const IDLE_ROUNDS = 64;
const HEADROOM = 128;
const DATA_ROOM = 2048;

const sleeper = new Int32Array(new SharedArrayBuffer(4));

function run(options: SwitchOptions, ending: Ending): void {
  if (options.cpu !== undefined) pinThread([options.cpu]);
  if (sharedCodeNote !== undefined) print(sharedCodeNote);
  const count = options.mbufs;
  const mapping = createRegion('vhost-switch', count * mempoolStride(HEADROOM, DATA_ROOM), false);
  const pool = new Mempool(
    createMempool({
      name: 'vhost-switch',
      mapping,
      base: 0,
      count,
      headroom: HEADROOM,
      dataRoom: DATA_ROOM,
      cacheSize: 250,
      deviceAddress: BigInt, // no device reads this memory
    }),
    0,
  );
  const fabric = new Switch(pool, options.socketFiles.length === 1);
  // guests that connect and disconnect can cause any number of these lines
  const { log: say } = new LogLimit<'info'>((_level, line) => print(line), 'info');
  const callbacks: VhostCallbacks = {
    newDevice: (device) => {
      const port = fabric.add(device);
      say('info', `(${device.id}) device has been added to data core as port ${port.id}`);
    },
    destroyDevice: (device) => {
      fabric.remove(device);
      say('info', `(${device.id}) device has been removed from data core`);
    },
    vringStateChanged: (device) => fabric.refresh(device),
  };
  const log = (level: string, line: string) => {
    if (options.verbose || level !== 'debug') print(line);
  };
  const drivers = options.socketFiles.map((path) => {
    const disabledFeatures = options.mergeable ? 0n : VIRTIO_NET_F_MRG_RXBUF;
    const { client, queues, anyMemoryFile } = options;
    return new VhostDriver(path, { client, queues, anyMemoryFile, disabledFeatures, log }, callbacks);
  });
  const closeAll = () => drivers.forEach((driver) => driver.close());
  try {
    for (const driver of drivers) driver.start();
  } catch (error) {
    closeAll();
    throw error;
  }

  endOrderly(() => ending.abort());

  let idle = 0;
  let printAt = performance.now() + options.stats * 1000;
  const round = () => {
    if (ending.signal.aborted) {
      closeAll();
      destroyRegion(mapping);
      endDespiteReaders();
      return;
    }
    for (const driver of drivers) driver.poll();
    const now = performance.now();
    const second = Math.floor(now / 1000);
    let moved = 0;
    for (let i = 0; i < TURNS; i++) moved += fabric.turn(second);
    if (options.stats > 0 && now >= printAt) {
      printAt = now + options.stats * 1000;
      output.write(statsScreen(fabric.ports));
    }
    idle = moved > 0 ? 0 : idle + 1;
    if (fabric.ports.length === 0 || idle > IDLE_ROUNDS) Atomics.wait(sleeper, 0, 0, 1);
    setImmediate(round);
  };
  round();
}

/** If no one reads the output, the switch continues and its memory does not grow. */
const output = new Output(process.stdout);
const print = output.line;

const ending = new Ending(0);
await runMain(() => {
  const options = parseOptions(process.argv.slice(2));
  if (typeof options === 'string') process.stdout.write(options);
  else run(options, ending);
  return 0;
});
