/** The statistics of vhost-switch, in dpdk-vhost's form, as plain lines. */
import type { SwitchPort } from './switch.js';

export function statsScreen(ports: readonly SwitchPort[]): string {
  const lines = ['Device statistics ===================================='];
  for (const port of ports) {
    lines.push(
      `Statistics for device ${port.device.id} (${port.device.path}) ----------------------`,
      `TX total: \t\t${port.txTotal}`,
      `TX dropped: \t\t${port.txDropped}`,
      `TX successful: \t\t${port.txTotal - port.txDropped}`,
      `RX total: \t\t${port.rxTotal}`,
      `RX dropped: \t\t${port.rxDropped}`,
      `RX successful: \t\t${port.rxTotal - port.rxDropped}`,
    );
  }
  lines.push('======================================================', '');
  return lines.join('\n');
}
