#!/bin/busybox sh
# Process 1 of the guest. A child of it runs what the host sends on the second serial line: a line `SECONDS COMMAND` is
# answered with a line `EXIT-CODE BYTES` and so many bytes of output. Cases live on the host; there is nothing of them here.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
ip link set lo up

while read -r module; do
  insmod "/modules/$module.ko" || echo "init: module $module was not loaded"
done </modules/order

agent() {
  stty -F /dev/ttyS1 raw -echo
  exec 3<>/dev/ttyS1
  echo ready >&3
  while read -r seconds command <&3; do
    timeout -s KILL "$seconds" sh -c "$command" </dev/null >/tmp/.answer 2>&1 3>&-
    echo "$? $(wc -c </tmp/.answer)" >&3
    cat /tmp/.answer >&3
  done
}

# Orphans become children of process 1. Busybox's `read` begins a line again when a child ends, and loses what it had of it:
# so whoever reads must not be process 1.
agent &
wait
