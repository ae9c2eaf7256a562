/** A private Open vSwitch with DPDK: its own database, sockets and hugepages; the system's instance is left alone. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { whyNoHugepages } from './hugepages.js';
import { isInstalled, peerCpu, startPeer, temporaryDirectory, type Peer, type Scope } from './peers.js';

// /usr/sbin/ovs-vswitchd is the build without DPDK unless alternatives were switched
const SWITCH = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk';
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
/**
 * For its first port OVS asks for a mempool of 262144 mbufs of 2176 bytes, 570 MB, before it tries half of that. With 512 MiB
 * there is no memory left meanwhile, and a ring of another port that is set up then is refused: DPDK's vhost library answers
 * SET_VRING_NUM with 1, or hangs up.
 */
const MEMORY_MIB = 1024;

/** Why OVS cannot run here, or ''. As root it reserves the hugepages that OVS insists on. */
export function whyNoOvs(): string {
  for (const program of [SWITCH, 'ovsdb-server', 'ovs-vsctl']) {
    if (!isInstalled(program)) return `${program} is not installed`;
  }
  return whyNoHugepages(MEMORY_MIB / 2);
}

export class Ovs {
  readonly directory: string;
  private readonly env: NodeJS.ProcessEnv;
  private readonly remote: string;
  private vswitchd: Peer | undefined;

  private constructor(private readonly scope: Scope) {
    this.directory = temporaryDirectory(scope);
    this.env = { ...process.env, OVS_RUNDIR: this.directory, OVS_LOGDIR: this.directory, OVS_DBDIR: this.directory };
    this.remote = `unix:${join(this.directory, 'db.sock')}`;
  }

  /** Starts the database and the switch, with a bridge br0 on the userspace datapath. */
  static async start(scope: Scope): Promise<Ovs> {
    const ovs = new Ovs(scope);
    const database = join(ovs.directory, 'conf.db');
    ovs.run('ovsdb-tool', 'create', database, SCHEMA);
    const arguments_ = [database, '--verbose=console:info', `--remote=p${ovs.remote}`];
    const server = startPeer(scope, 'ovsdb-server', 'ovsdb-server', arguments_, ovs.env);
    await server.waitFor(/ovsdb-server \(Open vSwitch\)/);
    ovs.vsctl('--no-wait', 'init');
    ovs.vsctl(
      ...['--no-wait', 'set', 'Open_vSwitch', '.', 'other_config:dpdk-init=true'],
      `other_config:pmd-cpu-mask=0x${(1 << peerCpu).toString(16)}`,
      `other_config:dpdk-extra="--no-pci --in-memory -m ${MEMORY_MIB} --single-file-segments --no-telemetry"`,
    );
    await ovs.startSwitch();
    ovs.vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev');
    return ovs;
  }

  async startSwitch(): Promise<void> {
    const arguments_ = [this.remote, '--verbose=console:info'];
    this.vswitchd = startPeer(this.scope, 'ovs-vswitchd', SWITCH, arguments_, this.env);
    await this.vswitchd.waitFor(/DPDK Enabled - initialized/, 30_000);
  }

  /** SIGKILL to the switch: sockets that it listened on stay behind as files. */
  async killSwitch(): Promise<void> {
    await this.vswitchd!.kill();
  }

  /** The log of the running switch. */
  get log(): string {
    return this.vswitchd!.output;
  }

  /** Adds a port that listens; returns the path of its socket. */
  addServerPort(name: string): string {
    this.vsctl('add-port', 'br0', name, '--', 'set', 'Interface', name, 'type=dpdkvhostuser');
    return join(this.directory, name);
  }

  /** Adds a port that connects to `path`, where we listen, and tries again for as long as nobody does. */
  addClientPort(name: string, path: string): void {
    const options = ['type=dpdkvhostuserclient', `options:vhost-server-path=${path}`];
    this.vsctl('add-port', 'br0', name, '--', 'set', 'Interface', name, ...options);
  }

  vsctl(...args: string[]): string {
    return this.run('ovs-vsctl', `--db=${this.remote}`, '--timeout=20', ...args);
  }

  private run(program: string, ...args: string[]): string {
    const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env: this.env });
    if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
    return stdout;
  }
}
