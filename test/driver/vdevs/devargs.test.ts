/** The arguments of net_null and net_pcap: what each accepts, and the sentence for everything else. */
import test from 'ava';
import { driverOf } from '../../../driver/drivers.js';
import { netNull } from '../../../driver/vdevs/null.js';
import { parsePcap } from '../../../driver/vdevs/pcap/devargs.js';
import { netPcap } from '../../../driver/vdevs/pcap/driver.js';

test('device strings find their driver, by both of its names', (t) => {
  for (const name of ['net_null0', 'eth_null12']) t.is(driverOf(`${name},size=64`), netNull);
  for (const name of ['net_pcap0', 'eth_pcap12']) t.is(driverOf(`${name},rx_pcap=a`), netPcap);
  t.is(netNull.nameOf('eth_null12,size=0x40,copy=1,no-rx=0'), 'eth_null12');
  t.is(netPcap.nameOf('eth_pcap3,rx_pcap=a'), 'eth_pcap3');
});

test('files of net_pcap, each key as often as there are queues', (t) => {
  t.deepEqual(parsePcap('net_pcap7,rx_pcap=a,tx_pcap=b,rx_pcap=c,infinite_rx=1,phy_mac=0'), {
    ...{ name: 'net_pcap7', index: 7, rx: ['a', 'c'], tx: ['b'], infiniteRx: true },
  });
  t.deepEqual(parsePcap('net_pcap0,tx_pcap=/tmp/[a,b].pcap').tx, ['/tmp/[a,b].pcap']);
});

const refused: readonly (readonly [string, string | RegExp])[] = [
  ['net_null', /"net_null" names no device .* did you mean "net_null0"/],
  ['net_null0,size=13', /size=13 is not accepted: expected a whole number from 14 to 65535/],
  ['net_null0,size=65536', /size=65536 is not accepted/],
  ['net_null0,copy=2', /copy=2 is not accepted: expected 0 or 1/],
  ['net_null0,no_rx=1', /unknown key "no_rx"; did you mean "no-rx"\?/],
  ['net_null0,size=64,size=65', /key "size" is given twice \(64, then 65\): give it once/],
  ['net_null0,copy=1,no-rx=1', 'net_null0: copy=1 and no-rx=1 exclude each other: leave one out'],
  ['net_pcap,rx_pcap=a', /"net_pcap" names no device .* did you mean "net_pcap0"/],
  ['net_pcap0', 'net_pcap0: no file is given: add rx_pcap=<file>, tx_pcap=<file>, or both'],
  ['net_pcap0,rx_pcap=', /rx_pcap= is not accepted: expected a capture file/],
  ['net_pcap0,rx_pcap=a,rx_pcap=', /rx_pcap= is not accepted: expected a capture file/],
  ['net_pcap0,rx_pcap', /key "rx_pcap" has no value: expected rx_pcap=<a capture file>/],
  ['net_pcap0,rx_pcap=a,infinite_rx=2', /infinite_rx=2 is not accepted: expected 0 or 1/],
  ['net_pcap0,tx_pcap=a,infinite_rx=1', 'net_pcap0: infinite_rx=1 needs rx_pcap=<file>: add it'],
  ['net_pcap0,rx_pcap=a,infinite_rx=1,infinite_rx=1', /key "infinite_rx" is given twice/],
  ['net_pcap0,rx_pcap=a,phy_mac=1', /phy_mac=1 is not accepted: it takes the address of iface=, and a file has none/],
  ['net_pcap0,rx_pcpa=a', /unknown key "rx_pcpa"; did you mean "rx_pcap"\?/],
  [`net_pcap0${',rx_pcap=a'.repeat(17)}`, /rx_pcap is given 17 times: expected 16 at most, one for each queue/],
  ...['iface', 'rx_iface', 'rx_iface_in', 'tx_iface'].map((key) => {
    const instead = 'this driver has files only; for a network interface use --vdev net_af_packet1,iface=eth0';
    return [`net_pcap1,${key}=eth0`, `net_pcap1: ${key}=eth0 is not accepted: ${instead}`] as const;
  }),
];

for (const [devargs, message] of refused) {
  test(`refused: ${devargs}`, (t) => {
    t.throws(() => driverOf(devargs).nameOf(devargs), { code: 'EDEVARGS', message });
  });
}
