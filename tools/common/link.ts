/** A port's link, as DPDK's programs print it. */
import type { Link } from '../../driver/port/types.js';

/** "10 Gbps", "100 Mbps", "Unknown", "None". */
export function formatSpeed({ up, speed }: Link): string {
  if (speed === undefined) return up ? 'Unknown' : 'None';
  if (speed === 0) return 'None';
  return speed >= 1000 ? `${speed / 1000} Gbps` : `${speed} Mbps`;
}

/** "up at 10 Gbps FDX Fixed", as in "Port 0 Link up at 10 Gbps FDX Fixed". */
export function formatLink(link: Link): string {
  return link.up ? `up at ${formatSpeed(link)} FDX ${link.speed === undefined ? 'Autoneg' : 'Fixed'}` : 'down';
}
