/**
 * How rings, memory and descriptors are changed while lcores poll the rings (docs/decisions/0005): the ring's STARTED word is
 * cleared, `quiesce` returns once every lcore has begun another turn, then the change is made. Users that poll on the thread
 * which handles the messages need no wait.
 */

/** The hand-over between the thread that handles the messages and those that poll. */
export class Handover {
  /** What could not be freed so far. */
  private kept: (() => void)[] = [];
  /** The last wait failed: some lcore may still be in an old burst. */
  private isStuck = false;

  /** @param quiesce `Lcores.quiesce`, when lcores poll the rings. */
  constructor(private readonly quiesce?: () => void) {}

  /** True when other threads poll the rings. */
  get isShared(): boolean {
    return this.quiesce !== undefined;
  }

  /**
   * Returns once no thread is in a burst that began before this call.
   * @throws VirtioPmdError ELCORE, ETIMEOUT: a job does not call `running()`. What is freed from then on is kept instead.
   */
  wait(): void {
    if (this.quiesce === undefined) return;
    this.isStuck = true;
    this.quiesce();
    this.isStuck = false;
    for (const free of this.kept.splice(0)) free();
  }

  /** Calls `free`, which gives back what rings have used: now, or after the next wait that succeeds. */
  free(free: () => void): void {
    if (this.isStuck) this.kept.push(free);
    else free();
  }
}
