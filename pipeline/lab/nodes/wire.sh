# Gives a node its network: a cable to this machine, both ends of which end with the node's namespace. To be run in
# fresh network, mount and PID namespaces, with /proc still this machine's.
#
# wire.sh OUTSIDE LINK ADDRESS GATEWAY PROGRAM …: OUTSIDE is a process in this machine's network, LINK the cable's name
# there. No bridge, and no name in /run/netns: there is nothing that could be left over.

set -eu
outside=/proc/$1/ns/net link=$2 address=$3 gateway=$4
shift 4
nsenter --net="$outside" ip link delete "$link" 2>/dev/null || true
ip link set lo up
ip link add eth0 type veth peer name "$link" netns "$outside"
ip address add "$address" peer "$gateway" dev eth0
ip link set eth0 up
nsenter --net="$outside" ip address add "$gateway" peer "$address" dev "$link"
nsenter --net="$outside" ip link set "$link" up
ip route add default via "$gateway" dev eth0
exec "$@"
