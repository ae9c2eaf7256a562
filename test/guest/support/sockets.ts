/** Unix sockets on which the host waits for QEMU: it connects to each as it starts. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { Scope } from '../../support/peers.js';

export interface Listening {
  readonly path: string;
  /** The one connection. */
  readonly connected: Promise<Socket>;
}

export async function listen(scope: Scope, path: string): Promise<Listening> {
  const server = createServer();
  const connected = new Promise<Socket>((resolve) => {
    server.once('connection', (socket) => {
      server.close();
      scope.teardown(() => void socket.destroy());
      resolve(socket);
    });
  });
  scope.teardown(() => void server.close());
  server.listen(path);
  await once(server, 'listening');
  return { path, connected };
}
