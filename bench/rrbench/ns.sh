#!/bin/sh
# ns.sh CMD...: runs CMD in a network and a process namespace of its own, whose loopback interface holds 10.200.0.0/14
# and fd00:c8::/32 whole: the reflector is 10.200.0.1 or fd00:c8::1, client i is 10.201.0.1 + i or fd00:c8::1:1 + i.
# Nothing in it reaches any other network. When CMD ends, or is killed, every process that it started is killed, too.
exec unshare --net --pid --fork --mount-proc --kill-child sh -ec '
	ip link set lo up
	ip addr add 10.200.0.1/14 dev lo
	ip -6 addr add fd00:c8::1/128 dev lo
	ip -6 route add local fd00:c8::/32 dev lo
	echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
	exec "$@"' ns.sh "$@"
