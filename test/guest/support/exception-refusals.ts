/** What is refused on the exception path: one sentence, what to do, exit code 1. */
import type { ExecutionContext } from 'ava';
import type { InGuest } from './cases.js';
import type { Guest } from './guest.js';
import { quote } from './process.js';
import { testpmdCommand } from './testpmd.js';

const kernelPort = (more = '') => ({ vdevs: [`virtio_user0,path=/dev/vhost-net${more}`] });

async function checkRefused(t: ExecutionContext, guest: Guest, command: string, ...patterns: RegExp[]): Promise<void> {
  const { code, output } = await guest.run(command);
  t.is(code, 1, output);
  for (const pattern of patterns) t.regex(output, pattern);
  t.notRegex(output, /\n +at /, 'no stack trace');
}

async function names(t: ExecutionContext, guest: Guest): Promise<void> {
  await checkRefused(t, guest, testpmdCommand(kernelPort(',iface=lo')), /\blo\b/);
  await checkRefused(t, guest, testpmdCommand(kernelPort(',iface=longer-than-15-char')), /15/);
  await guest.ok('tunctl -t single'); // with one queue, and persistent
  t.teardown(async () => void (await guest.run('tunctl -d single')));
  await checkRefused(t, guest, testpmdCommand(kernelPort(',iface=single,queues=2')), /single/, /multi.?queue/i);
  await checkRefused(t, guest, testpmdCommand({ vdevs: ['virtio_user0,path=/dev/null'] }), /\/dev\/null/);
}

async function permissions(t: ExecutionContext, guest: Guest): Promise<void> {
  const command = `su somebody -c ${quote(testpmdCommand(kernelPort()))}`;
  t.teardown(async () => void (await guest.run('chmod 600 /dev/vhost-net /dev/net/tun')));
  await guest.ok('chmod 600 /dev/vhost-net /dev/net/tun');
  await checkRefused(t, guest, command, /permission|denied/i, /\/dev\//);
  await guest.ok('chmod 666 /dev/vhost-net /dev/net/tun');
  await checkRefused(t, guest, command, /CAP_NET_ADMIN/);
  await guest.ok('tunctl -t theirs');
  t.teardown(async () => void (await guest.run('tunctl -d theirs')));
  const theirs = await guest.ok(`su somebody -c ${quote(testpmdCommand(kernelPort(',iface=theirs')))}`);
  t.regex(theirs, /Port 0: [^]*Port 0 is closed/);
  await guest.ok('ls /sys/class/net/theirs'); // what root has made stays
}

async function withoutModule(t: ExecutionContext, guest: Guest): Promise<void> {
  await guest.ok('rmmod vhost_net');
  t.teardown(async () => void (await guest.run('insmod /modules/vhost_net.ko')));
  await checkRefused(t, guest, testpmdCommand(kernelPort()), /modprobe vhost_net/);
}

export function refusalCases(inGuest: InGuest): void {
  inGuest('refused: a name that is taken, one too long, a tap with one queue for two, a device that is none', names);
  inGuest('refused: a user without permission, and one without CAP_NET_ADMIN', permissions);
  inGuest('refused: no vhost_net module', withoutModule);
}
