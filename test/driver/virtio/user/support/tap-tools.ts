/** For programs in a network namespace of their own, where /sys is the namespace's: interfaces, addresses, packets to send. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export const mac = (text: string) => Uint8Array.from(text.split(':'), (byte) => parseInt(byte, 16));
export const ofInterface = (name: string, file: string) =>
  readFileSync(`/sys/class/net/${name}/${file}`, 'utf8').trim();
export const exists = (name: string) => existsSync(`/sys/class/net/${name}`);
export const openFds = () => readdirSync('/proc/self/fd').length;

export function ip(...lines: string[]): void {
  const { status, stderr } = spawnSync('ip', ['-batch', '-'], { input: lines.join('\n'), encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

/** The interface with an address, and neighbours of whom it need not ask: 10.8.0.x is at `macs[x]`. */
export function configure(name: string, macs: Readonly<Record<number, string>>): void {
  ip(
    `addr add 10.8.0.1/24 dev ${name}`,
    `link set ${name} up`,
    ...Object.entries(macs).map(([x, m]) => `neigh replace 10.8.0.${x} lladdr ${m} dev ${name} nud permanent`),
  );
}

/** Sends UDP packets to each of 10.8.0.x, one from each of `flows` ports. */
export async function send(to: readonly number[], flows = 1, byteLength = 64): Promise<void> {
  for (let flow = 0; flow < flows; flow++) {
    const socket = createSocket('udp4');
    for (const x of to) {
      await new Promise<void>((resolve, reject) =>
        socket.send('x'.repeat(byteLength), 9, `10.8.0.${x}`, (error) => (error ? reject(error) : resolve())),
      );
    }
    await new Promise<void>((resolve) => socket.close(resolve));
  }
  await sleep(10); // another thread of the kernel may still be at it
}
