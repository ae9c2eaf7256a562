/** Opens a function of a QEMU that it starts, rings nothing, prints QEMU's process id and returns without closing anything. */
import { parseQtest } from '../../../../../../driver/virtio/pci/qtest/devargs.js';
import { openQtest } from '../../../../../../driver/virtio/pci/qtest/qtest.js';

const said: string[] = [];
const fn = await openQtest(parseQtest(process.argv[2]!), { log: (line) => said.push(line) });
fn.bar(4)!.doorbell(0x3000, 0, false);
process.stdout.write(/process (\d+)/.exec(said[0]!)![1]!);
