/** A small typed event emitter. A listener that throws does not stop the others. */
import { aFunction, checkArgument } from '../../native/arguments.js';

/** Event name -> function that listens to it. */
type Listeners<T> = { [K in keyof T]: (...args: never[]) => void };

export class Emitter<Events extends Listeners<Events>> {
  private readonly listeners = new Map<keyof Events, Set<(...args: never[]) => void>>();

  on<E extends keyof Events>(event: E, listener: Events[E]): this {
    const known = this.listeners.get(event) ?? new Set();
    checkArgument('on', 'listener', listener, aFunction);
    this.listeners.set(event, known.add(listener));
    return this;
  }

  off<E extends keyof Events>(event: E, listener: Events[E]): this {
    this.listeners.get(event)?.delete(listener);
    return this;
  }

  /** Calls the listeners. An exception of one becomes an uncaught exception, after all were called. */
  emit<E extends keyof Events>(event: E, ...args: Parameters<Events[E]>): void {
    for (const listener of this.listeners.get(event) ?? []) {
      try {
        listener(...(args as never[]));
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
