/**
 * Descriptors on which a write would wait, given to a back-end as call, kick and err, at every moment: nobody waits, packets of
 * others go on, SIGTERM ends the program.
 */
import { Attacker, startTarget, terminate, unharmed, Victim, type TargetKind } from './support/attack.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('cc'));

/** MRG_RXBUF, INDIRECT_DESC, VERSION_1: without EVENT_IDX every burst wants a signal. */
const FEATURES = '0x150008000';
const kinds = [
  'eventfd',
  'semaphore',
  'pipe',
  'socket',
  'datagram',
  'disk',
  'memfd',
  'directory',
  'zero',
  'epoll',
  'path',
];
/** Those that can be so full that a write waits. */
const fillable = new Set(['eventfd', 'semaphore', 'pipe', 'socket', 'datagram']);

for (const kind of ['switch', 'library'] as const satisfies readonly TargetKind[]) {
  for (const format of ['split', 'packed']) {
    test.serial(`call, kick and err descriptors of every kind, full and blocking: ${kind}, ${format}`, async (t) => {
      t.timeout(240_000);
      const target = await startTarget(t, kind);
      const victim = await Victim.start(t, target.sockets);
      const attacker = new Attacker(t);
      for (const role of ['call', 'kick', 'err']) {
        for (const descriptor of kinds) {
          const what = `${descriptor} as ${role}`;
          const full = fillable.has(descriptor) ? 'full' : '';
          await attacker.all('close 0', `connect 0 ${target.sockets[0]}`);
          t.is(await attacker.ask(`guest 0 ${format} 256 ${16 << 20} ${FEATURES}`), 'ok');
          const answers = [];
          for (const ring of [0, 1]) {
            const answer = await attacker.ask(`fd 0 ${ring} ${role} ${descriptor} ${full}`);
            t.not(answer, 'silent', what);
            answers.push(answer);
          }
          if (answers.includes('closed')) {
            await attacker.all('close 0', `connect 0 ${target.sockets[0]}`);
            t.is(await attacker.ask(`guest 0 ${format} 256 ${16 << 20} ${FEATURES}`), 'ok');
          }
          const sending = attacker.ask('send 0 100 100');
          await unharmed(t, target, victim, what);
          await sending;
          if (answers[0] === 'ok' && full !== '') {
            // again, after it was written to perhaps; then a ring that breaks, for err
            for (const ring of [0, 1]) await attacker.ask(`fill 0 ${ring} ${role} ${descriptor}`);
            await attacker.ask('send 0 100 100');
          }
          for (const ring of [0, 1]) await attacker.ask(`break 0 ${ring}`);
          await unharmed(t, target, victim, `${what}, broken rings`);
          t.log(`${what}: ${answers.join(', ')}`);
        }
      }
      t.is(await terminate(target), 'exit code 0');
    });
  }
}

for (const kind of ['switch', 'client', 'library'] as const satisfies readonly TargetKind[]) {
  test.serial(`a call descriptor that is filled at any moment, and SIGTERM meanwhile: ${kind}`, async (t) => {
    // a client's sockets are single: the victim has two of its own, the attacker sends to itself through nobody
    const target = await startTarget(t, kind, kind === 'client' ? 3 : 1);
    const starting = Victim.start(t, target.sockets.slice(-2), kind === 'client');
    const attacker = new Attacker(t);
    const victim = await starting;
    const connect = `${kind === 'client' ? 'listen' : 'connect'} 0 ${target.sockets[0]}`;
    for (const descriptor of ['eventfd', 'semaphore', 'pipe', 'socket']) {
      await attacker.all('close 0', connect);
      t.is(await attacker.ask(`guest 0 split 256 ${16 << 20} ${FEATURES}`), 'ok');
      const answers = await attacker.all(`fd 0 0 call ${descriptor}`, `fd 0 1 call ${descriptor}`);
      t.log(`${descriptor}: ${answers.join(', ')}`);
      if (answers[1] !== 'ok') continue;
      const harassing = attacker.ask(`harass 0 1 call ${descriptor} 1000`);
      await unharmed(t, target, victim, `harassed by ${descriptor}`);
      await harassing;
      await unharmed(t, target, victim, `harassed by ${descriptor}, afterwards`);
    }
    await attacker.all('close 0', connect, `guest 0 split 256 ${16 << 20} ${FEATURES}`);
    await attacker.all('fd 0 0 call eventfd full', 'fd 0 1 call eventfd full');
    await attacker.all('fd 0 0 err eventfd full', 'fd 0 1 err eventfd full', 'fd 0 0 kick eventfd full');
    const last = attacker.ask('harass 0 1 call eventfd 2000');
    t.is(await terminate(target), 'exit code 0');
    await last;
  });
}
