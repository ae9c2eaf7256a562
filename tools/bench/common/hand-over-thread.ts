/** One of the two threads that pass a cache line to each other: see hand-over.ts. */
import { workerData } from 'node:worker_threads';
import { pinThread } from '../../../native/cpu.js';
import { BALL, DONE, RESULT, TURN, type HandOverData } from './hand-over.js';
import { median } from './statistics.js';

const ROUNDS = 10_000;
const TRIES = 5;
/** Warm-up rounds: V8 has compiled the loop after them. */
const WARM_UP = 3;

const { shared, cpu, player } = workerData as HandOverData;
const words = new Int32Array(shared);

/** Player 0 makes the word odd, player 1 makes it even again. */
function play(from: number): void {
  for (let i = 0; i < ROUNDS; i++) {
    const mine = from + 2 * i + player;
    while (Atomics.load(words, BALL) !== mine);
    Atomics.store(words, BALL, mine + 1);
  }
}

function measure(): number {
  const times: number[] = [];
  for (let attempt = 0; attempt < WARM_UP + TRIES; attempt++) {
    const start = performance.now();
    play(attempt * ROUNDS * 2);
    if (attempt >= WARM_UP) times.push(((performance.now() - start) * 1e6) / ROUNDS);
  }
  return Math.round(median(times));
}

pinThread([cpu]);
for (let turn = 0; ;) {
  Atomics.wait(words, TURN, turn);
  turn = Atomics.load(words, TURN);
  if (turn < 0) break;
  const result = measure();
  if (player === 0) words[RESULT] = result;
  else words[BALL] = 0;
  Atomics.add(words, DONE, 1);
}
