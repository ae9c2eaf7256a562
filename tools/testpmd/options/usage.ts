/** `--help`. */

export const usage = `
Usage: testpmd [EAL options] -- [testpmd options]

EAL options:
  -l CORELIST, -c COREMASK, --lcores COREMAP
                              lcores and their CPUs: -l 0,1, or --lcores '0@0,1@0' for two on one CPU
  --main-lcore ID             lcore of the prompt (the lowest); the others forward
  -m MB, --socket-mem MB      packet memory in MiB (as much as needed)
  --no-huge                   ordinary pages even if hugepages are free
  --vdev DEVARGS              a device, such as net_virtio_user0,path=/tmp/vhost.sock,queues=2 (repeatable)
  --file-prefix NAME          name of the memory file in /proc/PID/maps
  --log-level LEVEL           emergency to debug, or PATTERN:LEVEL (notice)
  --force-max-simd-bitwidth N limit vectorized paths to N bits
  -v                          say the version at the start; --version: no more than that

testpmd options:
  -i, --interactive           read commands; without it, forward until enter is pressed
  -a, --auto-start            start forwarding at once, and read commands
  --tx-first                  begin with a burst of packets (not interactive)
  --stats-period N            show statistics every N seconds (not interactive)
  --cmdline-file FILE         run the commands of a file first
  --forward-mode MODE         io|mac|macswap|flowgen|rxonly|txonly|csum|icmpecho|5tswap (io), or a module of yours, such as ./my-mode.ts
  --nb-cores N, --coremask M  forwarding cores (1)
  --nb-ports N, --portmask M, --portlist L
                              forwarding ports (all)
  --port-topology T           paired|chained|loop (paired)
  --rxq N, --txq N            queues per port (1)
  --rxd N, --txd N            descriptors per queue (the ring's size)
  --rxfreet N, --txfreet N    free thresholds
  --burst N                   packets per burst, 1 to 512 (32)
  --mbuf-size N               bytes of an mbuf, with 128 of headroom (2176)
  --total-num-mbufs N         mbufs (as many as needed)
  --mbcache N                 mbufs that an lcore keeps for itself (250)
  --max-pkt-len N             longest packet; sets the MTU
  --enable-scatter, --enable-hw-vlan[-strip|-filter], --enable-rx-cksum, --enable-lro, --rx-offloads 0xN, --tx-offloads 0xN
                              offloads; 0x2c is UDP and TCP checksum and TCP segmentation (Tx)
  --eth-peer PORT,MAC         whom a port sends to (02:00:00:00:00:PORT); --eth-peers-configfile FILE
  --txpkts A[,B...]           bytes of each segment of generated packets (64)
  --txonly-multi-flow, --tx-ip SRC,DST, --tx-udp SRC[,DST], --flowgen-flows N
                              what generated packets look like
  --no-flush-rx               keep what waits in the Rx queues before forwarding starts
  --no-lsc-interrupt, --disable-link-check, --disable-device-start
                              as in dpdk-testpmd

Options may be abbreviated (--iova=va). Other options of dpdk-testpmd, up to the newest, are accepted and have no effect.
`;
