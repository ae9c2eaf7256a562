/**
 * Limits the log lines that a peer can cause. A peer that does the same thing a million times causes some lines and a count.
 * Lines are of one kind when they differ in numbers only. The limits leave room for the lines of 128 queue pairs at a start.
 */

type Sink<Level extends string> = (level: Level, line: string) => void;

/** A line passes when its own kind and all kinds together have some allowance left. Both refill over time. */
interface Allowance {
  readonly burst: number;
  readonly perSecond: number;
}

const KIND: Allowance = { burst: 300, perSecond: 1 };
const ALL: Allowance = { burst: 1000, perSecond: 10 };
/** Debug lines have a higher limit: they are shown only on request, to see every message. */
const DEBUG: Allowance = { burst: 5000, perSecond: 100 };
/** Kinds that are told apart. A peer can cause more of them, through the names of its files. */
const MAX_KINDS = 100;
/** Milliseconds between two notes about suppressed lines. */
const NOTE_MS = 5000;

class Bucket {
  private left: number;

  constructor(
    private readonly allowance: Allowance,
    private at: number,
  ) {
    this.left = allowance.burst;
  }

  take(now: number): boolean {
    const { burst, perSecond } = this.allowance;
    this.left = Math.min(burst, this.left + ((now - this.at) * perSecond) / 1000);
    this.at = now;
    if (this.left < 1) return false;
    this.left--;
    return true;
  }
}

export class LogLimit<Level extends string> {
  private readonly kinds = new Map<string, Bucket>();
  private readonly all: Bucket;
  private readonly debug: Bucket;
  private readonly others: Bucket;
  private suppressed = 0;
  private example = '';
  private noteAt = 0;

  /** @param noteLevel level of the notes about suppressed lines. @param clock milliseconds */
  constructor(
    private readonly sink: Sink<Level>,
    private readonly noteLevel: Level,
    private readonly clock: () => number = () => performance.now(),
  ) {
    const now = clock();
    this.all = new Bucket(ALL, now);
    this.debug = new Bucket(DEBUG, now);
    this.others = new Bucket(KIND, now);
  }

  /** Passes a line to the sink, or counts it as suppressed. */
  readonly log: Sink<Level> = (level, line) => {
    const now = this.clock();
    this.note(now);
    if (level === 'debug' ? this.debug.take(now) : this.kindOf(level, line, now).take(now) && this.all.take(now)) {
      this.sink(level, line);
      return;
    }
    if (this.suppressed === 0) {
      this.noteAt = now + NOTE_MS;
      this.example = line;
    }
    this.suppressed++;
  };

  private kindOf(level: Level, line: string, now: number): Bucket {
    const name = `${level} ${line.replace(/0x[0-9a-f]+|\d+/g, '#')}`;
    let bucket = this.kinds.get(name);
    if (bucket !== undefined) return bucket;
    if (this.kinds.size >= MAX_KINDS) return this.others;
    bucket = new Bucket(KIND, now);
    this.kinds.set(name, bucket);
    return bucket;
  }

  /** Logs a note about suppressed lines when it is due. Call it now and then: otherwise the note waits for the next line. */
  flush(): void {
    if (this.suppressed > 0) this.note(this.clock());
  }

  private note(now: number): void {
    if (this.suppressed === 0 || now < this.noteAt) return;
    const { suppressed, example } = this;
    this.suppressed = 0;
    this.sink(this.noteLevel, `${suppressed} log lines were suppressed, the first of them: ${example}`);
  }
}
