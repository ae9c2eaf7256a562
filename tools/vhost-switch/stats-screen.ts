/** The statistics of vhost-switch, in dpdk-vhost's form, as plain lines. */
import type { SwitchPort } from './switch.js';

/** Packets of a device's Tx rings (1) or Rx rings (0) that were dropped because the guest wrote invalid descriptors. */
function refused({ device }: SwitchPort, parity: 0 | 1): number {
  let sum = 0;
  for (let ring = parity; ring < device.numberOfQueues; ring += 2) sum += device.dropped(ring);
  return sum;
}

export function statsScreen(ports: readonly SwitchPort[]): string {
  const lines = ['Device statistics ===================================='];
  for (const port of ports) {
    // invalid chains are not in txTotal yet; packets that are too long for a guest's buffers are in rxTotal already
    const txDropped = port.txDropped + refused(port, 1);
    const txTotal = port.txTotal + refused(port, 1);
    const rxDropped = port.rxDropped + refused(port, 0);
    lines.push(
      `Statistics for device ${port.device.id} (${port.device.path}) ----------------------`,
      `TX total: \t\t${txTotal}`,
      `TX dropped: \t\t${txDropped}`,
      `TX successful: \t\t${txTotal - txDropped}`,
      `RX total: \t\t${port.rxTotal}`,
      `RX dropped: \t\t${rxDropped}`,
      `RX successful: \t\t${port.rxTotal - rxDropped}`,
    );
  }
  lines.push('======================================================', '');
  return lines.join('\n');
}
