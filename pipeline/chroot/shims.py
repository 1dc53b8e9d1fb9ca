"""Stand-ins for the programs of an image that would look at the host or start a daemon.

They are no bind mounts: a package that upgrades coreutils renames over ``/bin/uname``, and the kernel refuses
that for a mount point (EBUSY). They are the top one of the lower layers instead, so that such a rename
simply lands in the upper directory. What is merely copied up from here (a chmod, a chown -R) is put back
when the layer is committed, by the digests that ``lay`` returns.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from collections.abc import Mapping
from contextlib import suppress

from pipeline.chroot.inside import resolve

REAL = "/run/pipeline/real"
"""Where in the chroot the real programs are, for shims that pass something on."""

UNAME = """#!/bin/sh
# The kernel of the image, not the one that this machine happens to run.
read -r node < /proc/sys/kernel/hostname
s=Linux r={kernel} v='#1 SMP' m='{machine}' o=GNU/Linux
[ $# -gt 0 ] || set -- -s
want=
for option; do
    case $option in
        --all) want=snrvmpio ;;
        --kernel-name) want=${{want}}s ;; --nodename) want=${{want}}n ;;
        --kernel-release) want=${{want}}r ;; --kernel-version) want=${{want}}v ;;
        --machine) want=${{want}}m ;; --processor) want=${{want}}p ;;
        --hardware-platform) want=${{want}}i ;; --operating-system) want=${{want}}o ;;
        --help|--version) echo 'uname (image)'; exit 0 ;;
        --) ;;
        --*) echo "uname: unrecognized option '$option'" >&2; exit 1 ;;
        -*) want=$want${{option#-}} ;;
        *) echo "uname: extra operand '$option'" >&2; exit 1 ;;
    esac
done
case $want in
    *[!asnrvmpio]*) echo "uname: invalid option -- '$want'" >&2; exit 1 ;;
    *a*) want=snrvmpio ;;
esac
line=
add() {{ case $want in *$1*) line="$line${{line:+ }}$2" ;; esac; }}
add s "$s"; add n "$node"; add r "$r"; add v "$v"; add m "$m"; add p "$m"; add i "$m"; add o "$o"
echo "$line"
"""

SERVICE = """#!/bin/sh
# Nothing is started in an image.
case $1 in --status-all) exit 0 ;; esac
case $2 in
    status) echo "$1 is stopped"; exit 3 ;;
    *) echo "service $*: not done, this is an image"; exit 0 ;;
esac
"""

SYSTEMCTL = """#!/bin/sh
# What changes files is passed on; nothing is started in an image.
for word; do
    shift
    [ "$word" = --now ] || set -- "$@" "$word"
done
for word; do
    case $word in
        --version|--help|\\
        enable|disable|reenable|mask|unmask|preset|preset-all|is-enabled|list-unit-files|set-default|get-default|\\
add-wants|add-requires|link|revert|cat)
            [ -x {real}/systemctl ] && SYSTEMD_OFFLINE=1 exec {real}/systemctl --root=/ "$@" ;;
        -*) ;;
        is-active) echo inactive; exit 3 ;;
        status) echo 'inactive: this is an image'; exit 3 ;;
        *) break ;;
    esac
done
echo "systemctl $*: not done, this is an image"
exit 0
"""

DEPMOD = """#!/bin/sh
# For the kernel of the image where none is named; it may stand before the options, and before names of files.
for word; do
    case $word in [0-9]*.[0-9]*) exec {real}/depmod "$@" ;; esac
done
exec {real}/depmod {kernel} "$@"
"""

MODINFO = """#!/bin/sh
# Of the kernel of the image, where no other is named: the last -k counts.
exec {real}/modinfo -k {kernel} "$@"
"""

NOT_DONE = """#!/bin/sh
# Nothing is started in an image.
echo "${{0##*/}} $*: not done, this is an image"
exit 0
"""

FUNCTIONS = """
# In an image nothing is started and nothing is stopped, whoever sources this file.
daemon() { echo "daemon $*: not done, this is an image"; return 0; }
killproc() { echo "killproc $*: not done, this is an image"; return 0; }
"""

PROGRAMS = {
    "service": SERVICE,
    "systemctl": SYSTEMCTL,
    "initctl": NOT_DONE,
    "telinit": NOT_DONE,
    "start-stop-daemon": NOT_DONE,
    "invoke-rc.d": NOT_DONE,
    "uname": UNAME,
    "depmod": DEPMOD,
    "modinfo": MODINFO,
}
"""No modprobe: dracut copies that and kmod, as it finds them, into the ramdisk that nodes boot from (its
module 99base). modprobe reads MODPROBE_OPTIONS instead: see ``enter``."""
LINKS = ("depmod", "modinfo")
"""Of kmod, these are links to one program that does more: the link is stood in for, and not the program."""
MANY_IN_ONE = ("busybox", "toybox", "coreutils")
"""The same for whatever is a link to one of these."""
PASSING_ON = ("systemctl", *LINKS)
FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin")
INIT_FUNCTIONS = ("etc/rc.d/init.d/functions", "etc/init.d/functions")
MOUNT_POINTS = ("proc", "sys", "dev", "run", "tmp", "var/tmp")


def lay(below: str, folder: str, kernel: str, more: Mapping[str, bytes]) -> dict[str, str]:
    """Fill ``folder`` with what is to lie over the image at ``below``: the stand-ins and ``more`` files.

    ``kernel`` is the release that they name. Returns path → sha256 of each file laid. Directories get all
    attributes of those of the image, because in an overlay the uppermost directory's count; missing mount
    points are made.
    """
    laid: dict[str, str] = {}
    for path, content in {**_contents(below, kernel), **more}.items():
        _make_parents(below, folder, path)
        laid[path] = _put(f"{below}/{path}", f"{folder}/{path}", content)
    for point in MOUNT_POINTS:
        if resolve(below, point) is None:
            _make_parents(below, folder, f"{point}/.")
    for path, _, _ in os.walk(folder, topdown=False):
        _like(below + path.removeprefix(folder), path)
    return laid


def _contents(below: str, kernel: str) -> dict[str, bytes]:
    """Path in the image → content of what stands in for it, for each program that the image has."""
    found: dict[str, bytes] = {}
    # Often /bin is a link to usr/bin: the same folder is looked at once.
    places = dict.fromkeys(place for folder in FOLDERS if (place := resolve(below, folder)) is not None)
    for place in places:
        for name, text in PROGRAMS.items():
            if not os.path.lexists(f"{below}/{place}/{name}"):
                continue
            path = resolve(below, f"{place}/{name}")
            if path is None or not os.path.isfile(f"{below}/{path}"):
                continue
            if name in LINKS or os.path.basename(path) in MANY_IN_ONE:
                path = f"{place}/{name}"
            if path not in found:
                content = text.format(kernel=shlex.quote(kernel), machine=os.uname().machine, real=REAL)
                found[path] = content.encode()
    for place in INIT_FUNCTIONS:
        path = resolve(below, place)
        if path is not None and path not in found:
            with open(f"{below}/{path}", "rb") as file:
                found[path] = file.read() + FUNCTIONS.encode()
    return found


def _put(origin: str, target: str, content: bytes) -> str:
    with open(target, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o755 if os.path.islink(origin) else 0o644)
    _like(origin, target)
    return hashlib.sha256(content).hexdigest()


def _make_parents(below: str, folder: str, path: str) -> None:
    """Make the directories above ``path``, 0755 where the image has none."""
    parts = path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        inner = "/".join(parts[:depth])
        if not os.path.isdir(f"{folder}/{inner}"):
            os.mkdir(f"{folder}/{inner}", 0o755)


def _like(origin: str, target: str) -> None:
    """Give ``target`` owner, mode, times and extended attributes of ``origin``, when that is there."""
    try:
        status = os.lstat(origin)
    except FileNotFoundError:
        return
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(os.lstat(target).st_mode):
        return
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(origin):
        if not name.startswith("trusted.overlay."):
            with suppress(OSError):  # a file system without such attributes: only a throw-away root's tmpfs
                os.setxattr(target, name, os.getxattr(origin, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
