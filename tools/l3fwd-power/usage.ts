/** `--help`. */

export const usage = `
Usage: l3fwd-power [EAL options] -- -p PORTMASK --config="(port,queue,lcore)[,(port,queue,lcore)]" [options]

A router that sleeps when there is no traffic. EAL options are those of testpmd (testpmd --help).

  -p PORTMASK                 hexadecimal mask of the ports to use
  -P                          promiscuous mode
  --config="(P,Q,L),..."      lcore L polls Rx queue Q of port P
  --parse-ptype               find out packet types by software: needed, as ports here report none
  --no-numa                   no effect
  --max-pkt-len N             longest packet, 64 to 9600; sets the MTU
  --eth-dest=P,MAC            whom port P sends to (02:00:00:00:00:P) (repeatable)
  --rule_ipv4=FILE, --rule_ipv6=FILE
                              routes, one a line: R10.0.0.0/24 1 (1.1.1.0/24 to port 0, 2.1.1.0/24 to port 1, ...)

One of the modes:
  --interrupt-only            an lcore whose queues stay empty sleeps until an Rx interrupt (this one, when none is given)
  --telemetry                 poll, and print statistics as one line of JSON each second
  --pmd-mgmt=baseline|pause|monitor
                              poll; pause: after --max-empty-polls empty polls in a row, for --pause-duration; monitor: sleep on
                              the queue's memory (one queue for each lcore), on CPUs that can
  --max-empty-polls N         (512)
  --pause-duration US         microseconds (1); the kernel's timers add 50 to 100

SIGUSR1 prints statistics, SIGINT, SIGTERM, SIGHUP and SIGQUIT end the program and print them once more.
`;
