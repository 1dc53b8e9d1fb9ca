"""Stand-ins for the programs of an image that would look at the host or start a daemon.

They are no bind mounts: a package that upgrades coreutils renames over ``/bin/uname``, and the kernel refuses
that for a mount point (EBUSY). They are the top one of the lower layers instead, so that such a rename
simply lands in the upper directory. What is merely copied up from here (a chmod, a chown -R) is put back
when the layer is committed, by the digests that ``lay`` returns.
"""

from __future__ import annotations

import hashlib
import os
import stat

from pipeline.chroot.inside import resolve

REAL = "/run/pipeline/real"
"""Where in the chroot the real programs are, for shims that pass something on."""

UNAME = """#!/bin/sh
# The kernel of the image, not the one that this machine happens to run.
read -r node < /proc/sys/kernel/hostname
s=Linux r='{kernel}' v='#1 SMP' m='{machine}' o=GNU/Linux
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
    case $word in
        -*) ;;
        enable|disable|reenable|mask|unmask|preset|preset-all|is-enabled|list-unit-files|set-default|get-default|\\
add-wants|add-requires|link|revert|cat)
            [ -x {real}/systemctl ] && SYSTEMD_OFFLINE=1 exec {real}/systemctl --root=/ "$@" ;;
        is-active) echo inactive; exit 3 ;;
        status) echo 'inactive: this is an image'; exit 3 ;;
        *) break ;;
    esac
done
echo "systemctl $*: not done, this is an image"
exit 0
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
    "uname": UNAME,
    "service": SERVICE,
    "systemctl": SYSTEMCTL,
    "initctl": NOT_DONE,
    "telinit": NOT_DONE,
    "start-stop-daemon": NOT_DONE,
    "invoke-rc.d": NOT_DONE,
}
FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin")
INIT_FUNCTIONS = ("etc/rc.d/init.d/functions", "etc/init.d/functions")
MOUNT_POINTS = ("proc", "sys", "dev", "run", "tmp", "var/tmp")


def lay(below: str, folder: str, kernel: str | None, resolv_conf: bytes | None) -> dict[str, str]:
    """Fill ``folder`` with what is to lie over the image at ``below``.

    Returns path → sha256 of each file laid. Directories get the mode, owner and times of those of the image,
    because in an overlay the uppermost directory's count; missing mount points are made.
    """
    laid: dict[str, str] = {}
    for path, content in _contents(below, kernel).items():
        mode = stat.S_IMODE(os.stat(f"{below}/{path}").st_mode)
        laid[path] = _put(below, folder, path, content, mode)
    if resolv_conf is not None:
        resolver = resolve(below, "etc/resolv.conf", missing_ok=True)
        if resolver is not None and not resolver.startswith("run/"):
            laid[resolver] = _put(below, folder, resolver, resolv_conf, 0o644)
    for point in MOUNT_POINTS:
        if resolve(below, point) is None:
            _make_parents(below, folder, f"{point}/.")
    return laid


def _contents(below: str, kernel: str | None) -> dict[str, bytes]:
    """Path in the image → content of what stands in for it, for each program that the image has."""
    found: dict[str, bytes] = {}
    for place in FOLDERS:
        for name, text in PROGRAMS.items():
            if name == "uname" and kernel is None:
                continue
            path = resolve(below, f"{place}/{name}")
            if path is not None and path not in found and os.path.isfile(f"{below}/{path}"):
                content = text.format(kernel=kernel, machine=os.uname().machine, real=REAL)
                found[path] = content.encode()
    for place in INIT_FUNCTIONS:
        path = resolve(below, place)
        if path is not None and path not in found:
            with open(f"{below}/{path}", "rb") as file:
                found[path] = file.read() + FUNCTIONS.encode()
    return found


def _put(below: str, folder: str, path: str, content: bytes, mode: int) -> str:
    _make_parents(below, folder, path)
    target = f"{folder}/{path}"
    with open(target, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    return hashlib.sha256(content).hexdigest()


def _make_parents(below: str, folder: str, path: str) -> None:
    """Make the directories above ``path``, each as the image has it (or 0755 root when it has none)."""
    parts = path.split("/")[:-1]
    for depth in range(len(parts) + 1):
        inner = "/".join(parts[:depth])
        target, origin = f"{folder}/{inner}", f"{below}/{inner}"
        if depth and os.path.isdir(target):
            continue
        os.makedirs(target, exist_ok=True)
        if not os.path.isdir(origin):
            os.chmod(target, 0o755)
            continue
        status = os.stat(origin)
        os.chown(target, status.st_uid, status.st_gid)
        os.chmod(target, stat.S_IMODE(status.st_mode))
        for name in os.listxattr(origin):
            if not name.startswith("trusted.overlay."):
                os.setxattr(target, name, os.getxattr(origin, name))
