/** Which interfaces carry routes, from the text of /proc/net/route and /proc/net/ipv6_route. */

const RTF_UP = 0x1;
const RTF_REJECT = 0x200;
const RTF_ANYCAST = 0x0010_0000;
const RTF_LOCAL = 0x8000_0000;

export function routedInterfaces(route: string, ipv6Route: string): Set<string> {
  return new Set([...ipv4Interfaces(route), ...ipv6Interfaces(ipv6Route)]);
}

function rows(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns.length > 1);
}

/** Iface Destination Gateway Flags ...; addresses are in the byte order of the machine, which is little-endian. */
function ipv4Interfaces(text: string): string[] {
  return rows(text)
    .slice(1)
    .filter(([, destination, , flags]) => {
      const linkLocal = /FEA9$/i.test(destination!); // 169.254.0.0/16: link-local, no connection depends on it
      return isRoute(parseInt(flags!, 16)) && !linkLocal;
    })
    .map(([name]) => name!);
}

/**
 * destination length source length next-hop metric references use flags interface. Every interface that is up has link-local
 * and multicast routes, and every address has a local one: these are ignored.
 */
function ipv6Interfaces(text: string): string[] {
  return rows(text)
    .filter((columns) => {
      const destination = columns[0]!;
      const flags = parseInt(columns.at(-2)!, 16);
      const ofEveryInterface = /^(fe[89ab]|ff)/i.test(destination) || (flags & (RTF_LOCAL | RTF_ANYCAST)) !== 0;
      return isRoute(flags) && !ofEveryInterface;
    })
    .map((columns) => columns.at(-1)!);
}

function isRoute(flags: number): boolean {
  return (flags & RTF_UP) !== 0 && (flags & RTF_REJECT) === 0;
}
