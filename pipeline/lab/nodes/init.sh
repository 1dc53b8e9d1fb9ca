#!/bin/bash
# The first process of a lab's node: what init, and then the cluster manager's daemon, would start. /run/lab/services
# names the services that the manager wants up; /run/lab/state is written for whoever waits for this node.

PATH=/sbin:/usr/sbin:/bin:/usr/bin
export PATH
told() { echo "$1" >/run/lab/state; }

told sysinit
/etc/rc.d/rc.sysinit
level=$(sed -n 's/^id:\([0-6]\):initdefault:.*/\1/p' /etc/inittab)
told "runlevel ${level:=3}"
/etc/rc.d/rc "$level"
told services
while read -r name; do
    [ -x "/etc/rc.d/init.d/$name" ] || continue
    # A program that stops or never comes back doesn't keep the others from being started.
    service "$name" status >/dev/null 2>&1 || service "$name" start </dev/null
done </run/lab/services
told up
while :; do
    sleep 86400 &
    wait
done
