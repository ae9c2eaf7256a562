/** Names of vdevs, and the error for one that no driver has. */
import test from 'ava';
import { listNames, nextName, numberOf, unknownDevice } from '../../../driver/devargs/device-names.js';
import { busOf, driverOf, vdevNames } from '../../../driver/drivers.js';

const NAMES = ['net_null', 'eth_null', 'net_pcap'];

test('the number behind a name that is known', (t) => {
  t.is(numberOf('net_null12', NAMES), 12);
  for (const other of ['net_null', 'net_nul0', 'net_null0x', 'xnet_null0', '0', ''])
    t.is(numberOf(other, NAMES), undefined);
});

test('the next name, and lists of names', (t) => {
  t.deepEqual(['net_null0', 'net_null9', 'net_null'].map(nextName), ['net_null1', 'net_null10', 'net_null0']);
  t.is(listNames(['net_null']), 'net_null<N>');
  t.is(listNames(NAMES), 'net_null<N>, eth_null<N> or net_pcap<N>');
});

test('an unknown device: the nearest name with its number, and all names', (t) => {
  const expected = 'expected net_null<N>, eth_null<N> or net_pcap<N>, then its arguments';
  const beginning = (device: string) => `"${device}" names no device that this driver knows`;
  const { code, message } = unknownDevice('net_pcpa7', NAMES);
  t.is(code, 'EDEVARGS');
  t.is(message, `${beginning('net_pcpa7')}; did you mean "net_pcap7"?: ${expected}`);
  t.is(unknownDevice('net_null', NAMES).message, `${beginning('net_null')}; did you mean "net_null0"?: ${expected}`);
  t.is(unknownDevice('crypto_aesni_mb0', NAMES).message, `${beginning('crypto_aesni_mb0')}: ${expected}`);
});

test('the drivers that there are', (t) => {
  t.is(driverOf('0000:00:03.0').bus, 'pci');
  t.true(driverOf('virtio_user3,path=/x').names.includes('virtio_user'));
  t.true(vdevNames().includes('net_virtio_user'));
  t.throws(() => driverOf('net_virtio_usr0,path=/x'), {
    code: 'EDEVARGS',
    message: /did you mean "net_virtio_user0"\?/,
  });
  t.deepEqual(['0000:00:03.0', 'net_virtio_user0', 'net_other0'].map(busOf), ['pci', 'vdev', 'vdev']);
});
