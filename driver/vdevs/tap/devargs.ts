/** The arguments of net_tap. */
import { aString, checkArgument } from '../../../native/arguments.js';
import { VirtioPmdError } from '../../../native/errors.js';
import { flagKey, macKey, parseDevargs, splitDevargs, textKey, type DevargKey } from '../../devargs/kvargs.js';
import { checkInterfaceName } from '../../netdev/ifreq.js';

export interface TapDevargs {
  readonly name: string;
  /** Undefined: dtap0, dtap1 or the next that is free. */
  readonly iface: string | undefined;
  /** AA:BB:CC:DD:EE:FF, or `fixed`: an address that says which tap of this process it is. Undefined: the kernel's choice. */
  readonly mac: string | undefined;
  /** The interface stays when the port is closed. */
  readonly persist: boolean;
}

const tapMacKey: DevargKey<string | undefined> = {
  accepts: `fixed, or ${macKey.accepts}`,
  parse: (text) => (text.toLowerCase() === 'fixed' ? 'fixed' : macKey.parse(text)),
  fallback: undefined,
};

const schema = {
  iface: textKey('the name of a tap device'),
  mac: tapMacKey,
  persist: { ...flagKey(false), bare: '1' },
  remote: textKey('the name of a network interface'),
};

/** Reads `net_tap0,iface=tap0,mac=fixed`. @throws VirtioPmdError EDEVARGS */
export function parseTap(text: string): TapDevargs {
  checkArgument('parseTap', 'text', text, aString);
  const { name, args } = splitDevargs(text);
  const { iface, mac, persist, remote } = parseDevargs(args, schema, name);
  if (remote !== undefined) {
    throw new VirtioPmdError(
      'EDEVARGS',
      `${name}: remote=${remote} is not supported, as it takes flow rules of the kernel (tc): use net_af_packet0,iface=${remote} to get the packets of ${remote} themselves`,
    );
  }
  if (iface !== undefined) checkInterfaceName(iface);
  return { name, iface, mac, persist };
}
