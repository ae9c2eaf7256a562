/** The output of `--version`, the same for all programs. */
import { readFileSync } from 'node:fs';

/** The version of the package. */
function packageVersion(): string {
  // from tools/common, or from dist/tools/common
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }).version;
    } catch {
      continue;
    }
  }
  return 'of unknown version';
}

/** One line. */
export const versionText = (program: string): string => `${program} (virtio-pmd) ${packageVersion()}\n`;

/** The line that EAL's `-v` adds to the output at the start. */
export const startVersion = (): string =>
  `EAL: RTE Version: 'virtio-pmd ${packageVersion()}, compatible with DPDK 22.11'`;
