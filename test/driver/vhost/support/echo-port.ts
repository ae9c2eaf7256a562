/** A net_vhost port whose packets an lcore returns, and the messages of a raw front-end to it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { createEal, processCpus, type Eal } from '../../../../driver/eal/eal.js';
import { attach } from '../../../../driver/port/attach.js';
import type { Port } from '../../../../driver/port/port.js';
import type { GuestDevice } from '../../../../driver/vhost/device.js';
import { BOOK_BYTES } from './echo-job.js';

const JOB = new URL('./echo-job.js', import.meta.url);

export interface EchoPort {
  readonly eal: Eal;
  readonly port: Port;
  readonly book: SharedArrayBuffer;
  readonly log: string[];
  /** For RawFrontend. */
  readonly backend: { readonly path: string; readonly driver: { poll(): void } };
  /** The device of the connection. */
  readonly device: GuestDevice;
}

export async function echoPort(t: ExecutionContext): Promise<EchoPort> {
  const cpus = processCpus();
  const lcores = new Map([0, 1].map((id) => [id, [cpus[id % cpus.length]!]]));
  const eal = createEal({ noHuge: true, lcores, pinMain: false, log: () => undefined });
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  t.teardown(() => {
    eal.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const path = join(directory, 's');
  const log: string[] = [];
  const port = await attach(eal, `net_vhost0,iface=${path}`, { log: (level, line) => log.push(`${level}: ${line}`) });
  port.configure({ mempool: eal.createMempool({ count: 1024 }) });
  port.start();
  const book = new SharedArrayBuffer(BOOK_BYTES);
  eal.lcores.launch(1, JOB, 'echo', { port: port.spec(), book });
  // reading the link looks at the sockets
  const backend = { path, driver: { poll: () => void port.link } };
  const inner = port as unknown as { device: { driver: { devices: GuestDevice[] } } };
  return {
    ...{ eal, port, book, log, backend },
    get device() {
      const [device] = inner.device.driver.devices;
      if (device === undefined) throw new Error(`no connection; log: ${log.join('\n')}`);
      return device;
    },
  };
}
