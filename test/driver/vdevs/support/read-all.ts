/** All that our reader finds in a file, as a queue would. */
import { closeSync } from 'node:fs';
import { openInput } from '../../../../driver/vdevs/pcap/files.js';
import { CaptureReader } from '../../../../driver/vdevs/pcap/reader.js';
import { captureState, newCaptureState } from '../../../../driver/vdevs/pcap/state.js';
import { troubleOf } from '../../../../driver/vdevs/pcap/trouble.js';

export interface ReadFile {
  /** Of Ethernet. */
  readonly packets: Buffer[];
  /** Packets of other interfaces. */
  readonly foreign: number;
  readonly trouble: string | undefined;
}

/** @param meanwhile called before every packet @throws VirtioPmdError, as `openInput` */
export function readAll(path: string, meanwhile: (packets: number) => void = () => undefined): ReadFile {
  const state = captureState(newCaptureState());
  const fd = openInput({ device: 'net_pcap0', key: 'rx_pcap', path }, state);
  try {
    const reader = new CaptureReader(state, false);
    const packets: Buffer[] = [];
    let foreign = 0;
    for (;;) {
      meanwhile(packets.length);
      const found = reader.peek();
      if (found === 'end') return { packets, foreign, trouble: troubleOf(state) };
      if (found === 'later') {
        reader.begin();
        continue;
      }
      if (reader.isEthernet) packets.push(Buffer.from(reader.window.u8.slice(reader.at, reader.at + reader.length)));
      else foreign++;
      reader.take(true);
    }
  } finally {
    closeSync(fd);
  }
}
