#!/bin/busybox sh
# TCP between two network namespaces, one connection for each number: `transfer FROM-PID TO-PID ADDRESS BYTES FLOWS`. Prints
# the MD5 sum of what was sent, then that of what came in on each connection.
from=$1 to=$2 address=$3 bytes=$4 flows=$5
directory=$(mktemp -d)
cd "$directory" || exit 1
mkfifo never
head -c "$bytes" </dev/urandom >data
md5sum <data
for flow in $(seq "$flows"); do
  # a peer that has nothing more to say would end the connection: this one reads what never comes
  (nsenter -t "$to" -n nc -l -p "$((5000 + flow))" <>never | md5sum >"got.$flow") &
done
until [ "$(nsenter -t "$to" -n netstat -tln | grep -c ':500[0-9] ')" -ge "$flows" ]; do sleep 0.2; done
for flow in $(seq "$flows"); do
  nsenter -t "$from" -n nc "$address" "$((5000 + flow))" <data &
done
wait
cat got.*
rm -r "$directory"
