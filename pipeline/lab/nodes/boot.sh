# Boots a lab's node: puts its root together and becomes its first process. To be run as PID 1 of fresh mount, PID, IPC
# and UTS namespaces: the kernel takes all of it away when that process ends.
#
# boot.sh NODE NAME IMAGE SHARED KERNEL PROGRAM …: NODE is the node's directory: disk/ and work/ (the upper and work
# directory of its root), keys/ (seen at /run/lab), adapters/ (a directory for each PCI address), root/ (empty).
# Where IMAGE is "", the root is disk/ alone, as it was installed.
#
# keys/front/ has programs that stand before the image's own of the same name, which are kept in /run/front: each is
# made as long as that one, so that who compares sizes finds the image as it was installed.

set -eu
node=$1 name=$2 image=$3 shared=$4 kernel=$5
shift 5
root=$node/root

if [ -n "$image" ]; then
    mount -t overlay -o "lowerdir=$image,upperdir=$node/disk,workdir=$node/work,index=off,metacopy=off" overlay "$root"
else
    mount --bind "$node/disk" "$root"
fi
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
    for kind in pci_cr pciconf; do
        ln -s "/sys/bus/pci/devices/$address/flash" "$root/dev/mst/mt$(($(cat "$adapter/device")))_$kind$number"
    done
    number=$((number + 1))
done

for place in cm cm/shared run; do
    # Through a link it would lead out of the node.
    if [ -L "$root/$place" ]; then echo "/$place is a link in this image" >&2; exit 1; fi
done
mkdir -p "$root/cm/shared"
mount --bind "$shared" "$root/cm/shared"
mount -o remount,bind,ro "$root/cm/shared"
mkdir -p "$root/run/lab" "$root/run/sshd" "$root/run/lock"
mount --bind "$node/keys" "$root/run/lab"

# The kernel that this node would run; all else is what uname says.
mkdir "$root/run/front"
front() {
    for place in bin sbin usr/bin usr/sbin; do
        original=$root/$place/$2
        [ -f "$original" ] && [ ! -L "$original" ] && [ ! -L "$root/$place" ] || continue
        cp -p "$original" "$root/run/front/$2"
        cp "$1" "$root/run/front/$2.node"
        truncate -s ">$(stat -c %s "$original")" "$root/run/front/$2.node"
        chown --reference="$original" "$root/run/front/$2.node"
        chmod --reference="$original" "$root/run/front/$2.node"
        touch --reference="$original" "$root/run/front/$2.node"
        mount --bind "$root/run/front/$2.node" "$original"
        return
    done
}
printf '#!/bin/sh\n[ "$*" = -r ] && exec echo %s\nexec /run/front/uname "$@"\nexit\n' "$kernel" >"$root/run/front/own"
front "$root/run/front/own" uname
for program in "$node/keys/front"/*; do
    [ -f "$program" ] || continue
    front "$program" "$(basename "$program")"
done
[ ! -f "$node/keys/cmdline" ] || mount --bind "$node/keys/cmdline" "$root/proc/cmdline"

hostname "$name"
mkdir "$root/run/machine"
cd "$root"
pivot_root . run/machine
umount -l /run/machine
rmdir /run/machine
exec /usr/bin/env -i PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root LANG=C \
    setpriv --bounding-set "$(cat /run/lab/capabilities)" --inh-caps -all "$@"
