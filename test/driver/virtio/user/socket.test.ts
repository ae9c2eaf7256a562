/** Socket paths that cannot be used, and devargs that do not go with a vhost-user socket: one sentence with the remedy. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { attach } from '../../../../driver/port/attach.js';
import { closeFd } from '../../../../native/region.js';
import { listenUnix } from '../../../../native/socket.js';
import { openFds, until } from '../../../support/raw-backend.js';
import { bench } from '../support/raw-port.js';

test.serial('client mode, no socket: names the path and both remedies', async (t) => {
  const b = bench(t);
  const before = openFds();
  const error = await t.throwsAsync(b.attach(), { code: 'ESOCKET' });
  t.regex(
    error.message,
    /client mode: failed to connect to .*\/s: no such file; start the back-end first, or .*server=1/,
  );
  t.is(openFds(), before);
});

test.serial('client mode, a socket file that a dead back-end left behind', async (t) => {
  const b = bench(t);
  closeFd(listenUnix(b.path));
  const error = await t.throwsAsync(b.attach(), { code: 'ESOCKET' });
  t.regex(error.message, /connection refused, nobody listens/);
});

test.serial('a path that is a regular file, or a directory, is no back-end', async (t) => {
  const b = bench(t);
  writeFileSync(b.path, '');
  const file = await t.throwsAsync(b.attach(), { code: 'ESOCKET' });
  t.regex(file.message, /unable to determine backend type for path .*: it is a regular file/);
  const directory = await t.throwsAsync(attach(b.eal, `net_virtio_user0,path=${b.directory}`), { code: 'ESOCKET' });
  t.regex(directory.message, /it is a directory/);
});

test.serial('a path longer than a socket address holds', async (t) => {
  const b = bench(t);
  const long = join(b.directory, 'x'.repeat(120));
  for (const mode of ['', ',server=1']) {
    const error = await t.throwsAsync(attach(b.eal, `net_virtio_user0,path=${long}${mode}`), { code: 'ESOCKET' });
    t.regex(error.message, /too long for a socket, which holds at most 107/);
  }
});

test.serial('server mode, the file exists and nobody listens: remove it and try again', async (t) => {
  const b = bench(t);
  closeFd(listenUnix(b.path));
  const before = openFds();
  const error = await t.throwsAsync(b.attach(',server=1'), { code: 'ESOCKET' });
  t.regex(error.message, /failed to bind to .*: address already in use; remove it and try again.*nobody listens there/);
  t.true(existsSync(b.path));
  t.is(openFds(), before);
});

test.serial('server mode, somebody listens there: says so, and leaves the file alone', async (t) => {
  const b = bench(t);
  const other = listenUnix(b.path);
  t.teardown(() => closeFd(other));
  const error = await t.throwsAsync(b.attach(',server=1'), { code: 'ESOCKET' });
  t.regex(error.message, /some process is listening there now/);
  t.true(existsSync(b.path));
});

test.serial('server mode in a directory that does not exist', async (t) => {
  const b = bench(t);
  const path = join(b.directory, 'missing', 's');
  const error = await t.throwsAsync(attach(b.eal, `net_virtio_user0,path=${path},server=1`), { code: 'ESOCKET' });
  t.regex(error.message, /no such directory/);
});

test.serial('without permission: EACCES in both modes, with the remedy', async (t) => {
  const b = bench(t);
  if (process.getuid?.() !== 0) {
    const locked = join(b.directory, 'locked');
    mkdirSync(locked, 0o500);
    const error = await t.throwsAsync(attach(b.eal, `net_virtio_user0,path=${locked}/s,server=1`), { code: 'ESOCKET' });
    t.regex(error.message, /permission denied/);
    return;
  }
  // root may do anything: ask as somebody else, in a process of its own
  const listener = listenUnix(b.path);
  t.teardown(() => closeFd(listener));
  chmodSync(b.path, 0o700);
  chmodSync(b.directory, 0o755);
  const script = `
    const { attach, createEal } = await import('./driver/index.js');
    process.setgid(65534); process.setuid(65534);
    const eal = createEal({ noHuge: true, log: () => undefined });
    for (const args of ['', '2,server=1']) {
      await attach(eal, 'net_virtio_user0,path=${b.path}' + args).catch((e) => console.log(e.code, e.message));
    }`;
  const child = spawnSync(process.execPath, ['--import=./tools/ts.mjs', '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  const [client, server] = child.stdout.trim().split('\n');
  t.regex(client ?? child.stderr, /^ESOCKET client mode: failed to connect to .*: permission denied; run as a user/);
  t.regex(server ?? child.stderr, /^ESOCKET failed to bind to .*: permission denied; choose a directory/);
});

test.serial(
  'server mode waits with the PMD’s line, without blocking; a signal ends the wait and removes the file',
  async (t) => {
    const b = bench(t);
    const before = openFds();
    const stop = new AbortController();
    const attached = b.attach(',server=1', { signal: stop.signal });
    await until(() => b.lines.includes(`notice (${b.path}) waiting for client connection...`), 'it waits');
    await sleep(30);
    t.true(existsSync(b.path));
    stop.abort();
    const error = await t.throwsAsync(attached, { code: 'ESTATE' });
    t.regex(error.message, /stopped waiting/);
    t.false(existsSync(b.path));
    t.is(openFds(), before);
  },
);

test.serial('iface= goes with the kernel back-end only', async (t) => {
  const b = bench(t);
  const error = await t.throwsAsync(b.attach(',iface=tap0'), { code: 'EDEVARGS' });
  t.regex(error.message, /^arg iface applies only to vhost-kernel backend/);
});

test.serial('up=1 goes with the kernel back-end only', async (t) => {
  const b = bench(t);
  const error = await t.throwsAsync(b.attach(',up=1'), { code: 'EDEVARGS' });
  t.regex(error.message, /^arg up applies only to vhost-kernel backend: leave up=1 out$/);
});

test.serial('files of the kernel’s vhost devices that are not there: which module to load', async (t) => {
  const b = bench(t);
  for (const [path, remedy] of [
    ['/dev/vhost-net', /^there is no \/dev\/vhost-net: load the module with "modprobe vhost_net"$/],
    ['/dev/vhost-vdpa-77', /^there is no \/dev\/vhost-vdpa-77: load the module with "modprobe vhost_vdpa"/],
  ] as const) {
    if (existsSync(path)) continue;
    const error = await t.throwsAsync(attach(b.eal, `net_virtio_user0,path=${path}`), { code: 'ESOCKET' });
    t.regex(error.message, remedy);
  }
});

test.serial(
  'a misc character device is taken for vhost-net, and says that it is none; server=1 is refused first',
  async (t) => {
    const b = bench(t);
    const device = '/dev/net/tun';
    if (!existsSync(device)) {
      t.log('no /dev/net/tun here: not checked');
      t.pass();
      return;
    }
    const before = openFds();
    const error = await t.throwsAsync(attach(b.eal, `net_virtio_user0,path=${device}`), { code: 'ECONFIG' });
    t.regex(error.message, /^\/dev\/net\/tun is a device of another kind than vhost-net: give path=\/dev\/vhost-net/);
    t.is(openFds(), before);
    const server = await t.throwsAsync(attach(b.eal, `net_virtio_user0,path=${device},server=1`), { code: 'EDEVARGS' });
    t.regex(server.message, /^Server mode only supports vhost-user!/);
  },
);

test.serial('a character device of another kind is no back-end', async (t) => {
  const b = bench(t);
  await t.throwsAsync(attach(b.eal, 'net_virtio_user0,path=/dev/null'), { code: 'ESOCKET' });
});
