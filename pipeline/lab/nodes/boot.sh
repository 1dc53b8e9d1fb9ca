# Boots a lab's node: puts its root together and becomes its first process. To be run as PID 1 of fresh mount, PID, IPC
# and UTS namespaces: the kernel takes all of it away when that process ends.
#
# boot.sh NODE NAME IMAGE SHARED KERNEL PROGRAM …: NODE is the node's directory: disk/ and work/ (the upper and work
# directory of its root), keys/ (seen at /run/lab), adapters/ (a directory for each PCI address), root/ (empty).

set -eu
node=$1 name=$2 image=$3 shared=$4 kernel=$5
shift 5
root=$node/root

mount -t overlay -o "lowerdir=$image,upperdir=$node/disk,workdir=$node/work,index=off,metacopy=off" overlay "$root"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mst"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"

# Nothing of the machine's own hardware is seen: its /sys is not there, only the node's adapters.
mount -t tmpfs -o mode=755 tmpfs "$root/sys"
mkdir -p "$root/sys/bus/pci/devices"
mount --bind "$node/adapters" "$root/sys/bus/pci/devices"
number=0
for adapter in "$node/adapters"/*/; do
    [ -e "$adapter/device" ] || continue
    address=$(basename "$adapter")
    ln -s "/sys/bus/pci/devices/$address/flash" "$root/dev/mst/mt$(($(cat "$adapter/device")))_pci_cr$number"
    number=$((number + 1))
done

mkdir -p "$root/cm/shared"
mount --bind "$shared" "$root/cm/shared"
mount -o remount,bind,ro "$root/cm/shared"
mkdir -p "$root/run/lab" "$root/run/sshd" "$root/run/lock"
mount --bind "$node/keys" "$root/run/lab"

# The kernel that this node would run; all else is what uname says.
for uname in bin/uname usr/bin/uname; do
    [ -f "$root/$uname" ] && [ ! -L "$root/$uname" ] || continue
    [ -e "$root/run/uname" ] || cp "$root/$uname" "$root/run/uname"
    printf '#!/bin/sh\n[ "$*" = -r ] && exec echo %s\nexec /run/uname "$@"\n' "$kernel" >"$root/run/uname.node"
    chmod 755 "$root/run/uname.node"
    mount --bind "$root/run/uname.node" "$root/$uname"
done

hostname "$name"
mkdir "$root/run/machine"
cd "$root"
pivot_root . run/machine
umount -l /run/machine
rmdir /run/machine
exec /usr/bin/env -i PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root LANG=C \
    setpriv --bounding-set "$(cat /run/lab/capabilities)" --inh-caps -all "$@"
