/** Watches an interface for a port: its state, and what to tell of a change. */
import type { PortHost } from '../port/device.js';
import type { Link } from '../port/types.js';
import { isRunning, type Interface, type InterfaceState } from './interface.js';

/** Mb/s: what DPDK reports of every such interface. */
const SPEED = 10_000;
const DOWN: Link = { up: false, speed: undefined };

export class InterfaceWatch {
  /** Why the interface is lost permanently. */
  lost: string | undefined;
  link: Link = DOWN;
  mtu: number | undefined;

  constructor(
    private readonly host: PortHost,
    private readonly device: Interface,
  ) {}

  /**
   * Asks the kernel. @returns the state; undefined when the interface is not here any more. Never throws.
   * @param elsewhere for an interface that a port can use in another network namespace too: whether it is up. Else it is lost.
   */
  look(elsewhere?: () => boolean): InterfaceState | undefined {
    if (this.lost !== undefined) return undefined;
    const before = this.device.name;
    const state = this.device.state();
    if (state === undefined) {
      if (elsewhere === undefined) this.lose();
      else {
        const up = elsewhere();
        this.setLink(up, `${before}, in another network namespace, is ${up ? 'up' : 'down'}`);
      }
      return undefined;
    }
    this.mtu = state.mtu;
    if (state.name !== before) this.host.log('info', `port ${this.host.id}: ${before} is now ${state.name}`);
    this.setLink(isRunning(state), `${state.name} is ${isRunning(state) ? 'up' : 'down'}`);
    return state;
  }

  /** @param why a sentence for the port's listeners */
  setLink(up: boolean, why: string): void {
    if (up === this.link.up) return;
    this.link = up ? { up, speed: SPEED } : DOWN;
    this.host.linkChanged(why);
  }

  /** The interface does not exist any more. */
  lose(): void {
    if (this.lost !== undefined) return;
    const { name } = this.device;
    this.lost = `lost its interface ${name}, which was deleted or moved to another network namespace: detach the port`;
    this.host.log('error', `port ${this.host.id} ${this.lost}`);
    this.setLink(false, `${name} was deleted`);
    this.host.emit('removed');
  }
}
