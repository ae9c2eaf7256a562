/** Counts to 20000 under the mutex of word 0, in the last word; says in the one before that it begins. */
import { workerData } from 'node:worker_threads';
import { SharedMutex } from '../../../../../../driver/virtio/pci/qtest/shared.js';

const words = new Int32Array(workerData as SharedArrayBuffer);
const mutex = new SharedMutex(words, 0);
Atomics.store(words, words.length - 2, 1);
Atomics.notify(words, words.length - 2);
for (let i = 0; i < 20_000; i++) mutex.run(() => words[words.length - 1]!++);
