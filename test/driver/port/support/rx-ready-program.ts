/** A program whose only work is waiting for packets: `rx-ready-program.ts SOCKET`. Exits with 7 after a while. */
import { attach, createEal, rxReady } from '../../../../driver/index.js';

const eal = createEal({ noHuge: true, memoryMiB: 16, log: () => undefined });
const port = await attach(eal, `net_virtio_user0,path=${process.argv[2]}`);
port.configure({ mempool: eal.createMempool({ count: 1024 }), rxInterrupts: true });
port.start();
// none of the driver's timers keeps the process alive, and this one does not either
setTimeout(() => process.exit(7), 1000).unref();
console.log('waits');
for await (const queues of rxReady(port)) console.log(queues);
