/** `show port P path`: why this path and these features. dpdk-testpmd has no such command. */
import { featureNames } from '../../../driver/wire/virtio-features.js';
import type { PathReport, Reason } from '../../../driver/port/types.js';

const reasons = (list: readonly Reason[], none: string) =>
  list.length === 0 ? [`  ${none}`] : list.map(({ what, why }) => `  ${what}: ${why}`);

function featureLine(title: string, bits: bigint): string {
  const names = featureNames(bits).map((name) => ` ${name.replace(/^VIRTIO_(NET_)?F_/, '')}`);
  return `  ${title.padEnd(13)}0x${bits.toString(16)}${names.join('')}`;
}

/** No lines for scalar paths: "Rejected" says at the vectorized path why there is no SIMD code. */
function simdLines({ simd, widerIsas = [] }: PathReport): string[] {
  if (simd === undefined) return [];
  return [`SIMD code: ${simd}`, 'Wider SIMD code:', ...reasons(widerIsas, 'none')];
}

export function formatPath(portId: number, report: PathReport): string {
  const { features } = report;
  return [
    '',
    `********************* Path of port ${String(portId).padEnd(2)} *********************`,
    `Recipe: ${report.recipe}`,
    `Rx: ${report.rx}`,
    `Tx: ${report.tx}`,
    ...simdLines(report),
    'Rejected:',
    ...reasons(report.rejected, 'none'),
    'Features:',
    featureLine('offered', features.offered),
    featureLine('asked', features.asked),
    featureLine('acknowledged', features.acknowledged),
    'Refused:',
    ...reasons(features.refused, 'none'),
  ].join('\n');
}
