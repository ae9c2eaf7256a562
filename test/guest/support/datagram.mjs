/** One line by UDP: `datagram.mjs PORT` waits for it and prints it, `datagram.mjs PORT ADDRESS TEXT` sends it. */
import { createSocket } from 'node:dgram';

const [port, address, text] = process.argv.slice(2);
const socket = createSocket('udp4');
if (address === undefined) {
  socket.on('message', (message) => {
    console.log(`received ${message}`);
    socket.close();
  });
  socket.bind(Number(port), () => console.log('listening'));
} else {
  socket.send(text, Number(port), address, () => socket.close());
}
