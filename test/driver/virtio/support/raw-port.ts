/** A port on a raw back-end, and everything that a test of it needs: temporary socket, Eal, mempool, log lines. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { attach, type AttachOptions } from '../../../../driver/port/attach.js';
import type { Port } from '../../../../driver/port/port.js';
import { createEal, type Eal } from '../../../../driver/eal/eal.js';
import type { MempoolSpec } from '../../../../paths/mempool.js';
import { RawBackend, type RawBackendOptions } from '../../../support/raw-backend.js';

export interface Bench {
  readonly path: string;
  readonly directory: string;
  readonly eal: Eal;
  readonly mempool: MempoolSpec;
  /** "level line". */
  readonly lines: string[];
  /** Attaches net_virtio_user0 on `path`. */
  attach(args?: string, options?: AttachOptions): Promise<Port>;
  backend(options: Omit<RawBackendOptions, 'path'>): Promise<RawBackend>;
}

/** Everything is undone after the test, however that went. */
export function bench(t: ExecutionContext): Bench {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  const path = join(directory, 's');
  const eal = createEal({ noHuge: true, memoryMiB: 16, log: () => undefined });
  const mempool = eal.createMempool({ count: 2048 });
  const lines: string[] = [];
  const ports: Port[] = [];
  const backends: RawBackend[] = [];
  t.teardown(async () => {
    for (const port of ports) port.close();
    for (const backend of backends) await backend.stop();
    eal.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    path,
    directory,
    eal,
    mempool,
    lines,
    attach: async (args = '', options = {}) => {
      const port = await attach(eal, `net_virtio_user0,path=${path}${args}`, {
        log: (level, line) => lines.push(`${level} ${line}`),
        ...options,
      });
      ports.push(port);
      return port;
    },
    backend: async (options) => {
      const backend = await RawBackend.start({ path, ...options });
      backends.push(backend);
      return backend;
    },
  };
}
