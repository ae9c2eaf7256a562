/**
 * The program at the kernel's end of a tap (net.ts). It answers on TCP and UDP with what it is sent, and takes
 * commands: `tcp HOST BYTES CONNECTIONS` and `udp HOST SIZES...` send to the other one, and print a verdict on the answers.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, isIPv6 } from 'node:net';
import { createInterface } from 'node:readline';

const PORT = 9;
const SEND_AGAIN_MS = 500;

async function answer(): Promise<void> {
  const server = createServer((socket) => void socket.pipe(socket)).listen(PORT, '::');
  await once(server, 'listening');
  const datagrams = createSocket('udp6');
  datagrams.on('message', (message, { port, address }) => datagrams.send(message, port, address));
  datagrams.bind(PORT, '::');
  await once(datagrams, 'listening');
}

async function tcp(host: string, length: number): Promise<boolean> {
  const sent = randomBytes(length);
  const socket = connect(PORT, host);
  await once(socket, 'connect');
  socket.end(sent);
  const hash = createHash('sha256');
  let received = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    hash.update(chunk);
    received += chunk.length;
  }
  return received === length && hash.digest().equals(createHash('sha256').update(sent).digest());
}

/** One after the other: a datagram may get lost, and is sent again until the answer comes. */
async function udp(host: string, sizes: readonly number[]): Promise<boolean> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
  for (const size of sizes) {
    const sent = randomBytes(size);
    const send = () => socket.send(sent, PORT, host);
    const again = setInterval(send, SEND_AGAIN_MS);
    send();
    let answer: Buffer;
    do [answer] = (await once(socket, 'message')) as [Buffer];
    while (answer.length !== size); // the last one's, which was sent twice
    clearInterval(again);
    if (!answer.equals(sent)) return false;
  }
  socket.close();
  return true;
}

async function same(command: string | undefined, host: string, numbers: readonly number[]): Promise<boolean> {
  if (command === 'udp') return udp(host, numbers);
  const [length = 0, connections = 1] = numbers;
  const verdicts = await Promise.all(Array.from({ length: connections }, () => tcp(host, length)));
  return verdicts.every(Boolean);
}

await answer();
console.log('ready');
for await (const line of createInterface(process.stdin)) {
  const [command, host = '', ...numbers] = line.split(' ');
  console.log(`verdict: ${(await same(command, host, numbers.map(Number))) ? 'the same' : 'not the same'}`);
}
process.exit();
