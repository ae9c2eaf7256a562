import test from 'ava';
import fc from 'fast-check';
import { VirtioPmdError } from '../../../native/errors.js';
import {
  integerKey,
  macKey,
  parseDevargs,
  parseVirtioUser,
  splitDevargs,
  textKey,
} from '../../../driver/devargs/devargs.js';

const defaults = {
  name: 'net_virtio_user0',
  index: 0,
  path: '/tmp/s',
  mac: undefined,
  queues: 1,
  queueSize: 256,
  cq: false,
  iface: undefined,
  up: false,
  server: false,
  mrgRxbuf: true,
  inOrder: true,
  packedVq: false,
  speed: undefined,
  vectorized: false,
  eventIdx: false,
  reconnect: true,
  handshakeTimeout: undefined,
};

test('only a path: the defaults', (t) => t.deepEqual(parseVirtioUser('net_virtio_user0,path=/tmp/s'), defaults));

const good: [string, Partial<typeof defaults> | Record<string, unknown>][] = [
  ['virtio_user12,path=/tmp/s', { name: 'virtio_user12', index: 12 }],
  ['net_virtio_user0,path=/tmp/s,mac=02:00:00:0a:bC:01', { mac: '02:00:00:0A:BC:01' }],
  ['net_virtio_user0,path=/tmp/s,mac=2-0-0-a-bc-1', { mac: '02:00:00:0A:BC:01' }],
  ['net_virtio_user0,path=/tmp/s,mac=0200:000a:bc01', { mac: '02:00:00:0A:BC:01' }],
  ['net_virtio_user0,path=/tmp/s,queues=8', { queues: 8, cq: true }],
  ['net_virtio_user0,path=/tmp/s,queues=8,cq=0', { queues: 8, cq: true }],
  ['net_virtio_user0,path=/tmp/s,queues=0x2,cq=1', { queues: 2, cq: true }],
  ['net_virtio_user0,path=/tmp/s,cq=0x1', { cq: true }],
  ['net_virtio_user0,path=/tmp/s,queue_size=32768', { queueSize: 32768 }],
  ['net_virtio_user0,path=/tmp/s,queue_size=0x20', { queueSize: 32 }],
  ['net_virtio_user0,queue_size=255,packed_vq=1,path=/tmp/s', { queueSize: 255, packedVq: true }],
  ['net_virtio_user0,path=/tmp/s,queue_size=1025,packed_vq=1', { queueSize: 1025, packedVq: true }],
  ['net_virtio_user0,path=/tmp/s,iface=tap0,server=1', { iface: 'tap0', server: true }],
  [
    'net_virtio_user0,path=/tmp/s,mrg_rxbuf=0,in_order=0,vectorized=1',
    { mrgRxbuf: false, inOrder: false, vectorized: true },
  ],
  ['net_virtio_user0,path=/tmp/s,event_idx=1,reconnect=0', { eventIdx: true, reconnect: false }],
  ['net_virtio_user0,path=/tmp/s,handshake_timeout=5', { handshakeTimeout: 5 }],
  ['net_virtio_user0,path=/tmp/s,speed=25000', { speed: 25000 }],
  ['net_virtio_user0,,path=/tmp/s,', {}],
  ['net_virtio_user0,path=/tmp/a=b c', { path: '/tmp/a=b c' }],
  ['net_virtio_user0,path=/tmp/[a,b]', { path: '/tmp/[a,b]' }],
];
for (const [text, differences] of good) {
  test(text, (t) =>
    t.deepEqual(parseVirtioUser(text), { ...defaults, ...differences } as ReturnType<typeof parseVirtioUser>),
  );
}

const P = 'net_virtio_user0,path=/tmp/s';
const bad: [string, RegExp][] = [
  ['net_virtio_user0', /key "path" is missing: add path=<.*socket/],
  ['net_virtio_user0,path=', /path= is not accepted: expected the back-end's socket/],
  ['net_virtio_user0,path', /key "path" has no value/],
  ['net_virtio_user,path=/tmp/s', /names no device.*did you mean "net_virtio_user0"/],
  ['net_virtio_user0x,path=/tmp/s', /names no device/],
  ['net_vhost0,iface=/tmp/s', /names no device that this driver knows: expected/],
  ['', /names no device/],
  [
    `${P},queues=abc`,
    /^net_virtio_user0: queues=abc is not accepted: expected a whole number from 1 to 128, decimal or 0x/,
  ],
  [`${P},queues=0`, /queues=0/],
  [`${P},queues=129`, /queues=129/],
  [`${P},queues=-1`, /queues=-1/],
  [`${P},queues=1.5`, /queues=1\.5/],
  [`${P},queues= 1`, /queues= 1 is/],
  [`${P},queues=010`, /queues=010/],
  [`${P},queues=1e1`, /queues=1e1/],
  [`${P},queues=99999999999999999999`, /queues=9+/],
  [`${P},queue_size=256x`, /queue_size=256x is not accepted: expected a whole number from 32 to 32768/],
  [`${P},queue_size=0`, /queue_size=0/],
  [`${P},queue_size=16`, /queue_size=16/],
  [`${P},queue_size=32769,packed_vq=1`, /queue_size=32769/],
  [
    `${P},queue_size=255`,
    /queue_size=255 is not accepted: expected a power of two from 32 to 32768 \(any size with packed_vq=1\)/,
  ],
  [`${P},handshake_timeout=0`, /handshake_timeout=0 is not accepted: expected a whole number from 1 to 86400/],
  [`${P},handshake_timeout=1s`, /handshake_timeout=1s/],
  [`${P},cq=2`, /cq=2 is not accepted: expected 0 or 1/],
  [`${P},server=yes`, /server=yes/],
  [`${P},mrg_rxbuf=`, /mrg_rxbuf= is not accepted/],
  [`${P},mac=02:00:00:00:00`, /mac=02:00:00:00:00 is not accepted: expected a unicast MAC/],
  [`${P},mac=02:00:00:00:00:0g`, /mac=/],
  [`${P},mac=01:00:5e:00:00:01`, /mac=01/],
  [`${P},mac=00:00:00:00:00:00`, /mac=00/],
  [`${P},speed=1000`, /speed=1000 is not accepted: expected one of 10000, .*800000 \(Mb\/s\)/],
  [`${P},speed=10000Mb`, /speed=/],
  [`${P},queues=1,queues=2`, /key "queues" is given twice \(1, then 2\): give it once/],
  [`${P},path=/tmp/s`, /given twice/],
  [`${P},queue=2`, /unknown key "queue"; did you mean "queues"\? accepted keys are path, mac/],
  [`${P},mrgrxbuf=1`, /did you mean "mrg_rxbuf"/],
  [`${P},nonsense=1`, /unknown key "nonsense": accepted keys are/],
  [`${P},__proto__=1`, /unknown key "__proto__"/],
  [`${P},toString=1`, /unknown key "toString"/],
  [`${P},=1`, /unknown key ""/],
  [`${P},iface=[a,b`, /without its "\]"/],
];
for (const [text, message] of bad) {
  test(`refused: ${text || '(nothing)'}`, (t) => {
    const error = t.throws(() => parseVirtioUser(text), { instanceOf: VirtioPmdError, code: 'EDEVARGS', message });
    t.notRegex(error.message, /\n/);
  });
}

test('any schema: absent keys take their fallback, device and arguments are split at the first comma', (t) => {
  const schema = { vectors: integerKey(0, 10, 3), label: textKey('a label') };
  t.deepEqual(parseDevargs('label=x', schema, 'dev'), { vectors: 3, label: 'x' });
  t.deepEqual(splitDevargs('0000:00:04.0,vdpa=1,x=2'), { name: '0000:00:04.0', args: 'vdpa=1,x=2' });
  t.deepEqual(splitDevargs('0000:00:04.0'), { name: '0000:00:04.0', args: '' });
});

test('a "]" without its "[" is a character of the value, which ends at the next comma', (t) => {
  const schema = { vectors: integerKey(0, 10, 3), label: textKey('a label') };
  t.deepEqual(parseDevargs('label=a],vectors=4', schema, 'dev'), { vectors: 4, label: 'a]' });
});

test('a number that JavaScript would round is refused, whatever the limit', (t) => {
  const schema = { big: integerKey(0, Infinity, 0) };
  t.deepEqual(parseDevargs('big=9007199254740991', schema, 'dev'), { big: 2 ** 53 - 1 });
  t.throws(() => parseDevargs('big=9007199254740993', schema, 'dev'), { code: 'EDEVARGS', message: /is not accepted/ });
});

test('MAC addresses mix neither separators nor lengths', (t) => {
  for (const text of ['02-00:00:00:00:01', '0200-0000:0001', '020:000:000:001', '02:00:00:00:00:01:02', '']) {
    t.is(macKey.parse(text), undefined, text);
  }
});

test('property: any text gives a result or one EDEVARGS sentence', (t) => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom(
      'path=/tmp/s',
      'queues=2',
      'queue_size=',
      'mac=',
      '[',
      ']',
      ',',
      '=',
      'packed_vq=1',
      'queue_size=99',
    ),
  );
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      try {
        const { path, queues } = parseVirtioUser(`net_virtio_user0,${pieces.join(',')}`);
        return path.length > 0 && queues >= 1;
      } catch (error) {
        return error instanceof VirtioPmdError && error.code === 'EDEVARGS';
      }
    }),
  );
  t.pass();
});
