"""Putting a root together, inside namespaces of its own: nothing of it exists for anybody else."""

from __future__ import annotations

import errno
import glob
import os
import socket
from collections.abc import Sequence

import msgspec

from pipeline.chroot import shims, syscalls
from pipeline.chroot.inside import NO_KERNEL, kernel_release, resolve
from pipeline.chroot.root import INPUTS, OUT, RootSpec
from pipeline.chroot.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, bind, mount

STAGE = "/run"
"""Covered by a tmpfs in the private namespace: the root is put together there."""

NODES = ("null", "zero", "full", "random", "urandom", "tty")
DEV_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}

HIDDEN_IN_SYS = (
    "bus/pci",
    "bus/pci_express",
    "bus/mdev",
    "bus/auxiliary",
    "class/infiniband*",
    "class/mst*",
    "class/pci_bus",
    "class/uverbs",
    "devices/pci*",
    "devices/virtual/infiniband*",
    "firmware",
    "module/mlx*",
    "module/ib_*",
)
"""Where the host's HCA shows: an installer that sees it flashes it (xCAT issues 5100 and 5210)."""

HIDDEN_IN_PROC = (
    "bus/pci",
    "acpi",
    "scsi",
    "kcore",
    "keys",
    "modules",
    "sysrq-trigger",
    "timer_list",
    "iomem",
    "ioports",
)
READ_ONLY_IN_PROC = ("bus", "fs", "irq", "sys")

DESCRIPTORS = "/proc/self/fd"
OVERLAY_PARAMETERS = "/sys/module/overlay/parameters"
LONGEST_HOSTNAME = 64

KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31})
"""CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD
AUDIT_WRITE SETFCAP (capabilities(7)): what packages need. Not SYS_ADMIN (mounts), SYS_RAWIO and SYS_MODULE
(hardware), SYS_BOOT, SYS_TIME, NET_ADMIN."""

NET_RAW = 13
"""Packets of any kind: good for nothing on loopback, but not for the network of this machine."""


class Assembled(msgspec.Struct, frozen=True):
    """What is known of a root once it stands."""

    kernel: str | None
    shims: dict[str, str]


def assemble(spec: RootSpec, shims_folder: str | None) -> Assembled:
    """Build the root of ``spec`` and make it this process's root. To be called in fresh namespaces.

    ``shims_folder`` is an empty directory for the stand-ins, on the filesystem of ``spec.upper``: layers on
    one filesystem keep one st_dev for all files of the root. Without it they are in memory.
    """
    mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    host_resolver = _host_resolv_conf() if spec.network else None
    opened = _Opened(spec, shims_folder)
    mount("tmpfs", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    below, root, real = f"{STAGE}/below", f"{STAGE}/root", f"{STAGE}/real"
    for folder in (below, root, real, f"{STAGE}/upper", f"{STAGE}/work", f"{STAGE}/shims"):
        os.mkdir(folder)
    os.chdir(DESCRIPTORS)
    _mount_below(opened.layers, below)
    kernel = spec.kernel or kernel_release(below)
    folder = opened.shims or f"{STAGE}/shims"
    resolver = resolve(below, "etc/resolv.conf", missing_ok=True) if host_resolver is not None else None
    in_run = bool(resolver) and f"{resolver}".startswith(f"{_inner(below, 'run')}/")
    told = kernel or NO_KERNEL
    laid = shims.lay(below, folder, told, {} if in_run or not resolver else {resolver: host_resolver or b""})
    _mount_overlay(
        [folder, *reversed(opened.layers)],
        opened.upper or f"{STAGE}/upper",
        opened.work or f"{STAGE}/work",
        root,
    )
    _mount_devices(_point(root, "dev"))
    proc, sys = _point(root, "proc"), _point(root, "sys")
    mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _fake_kernel(proc, told)
    _close_proc(proc)
    mount("sysfs", sys, "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    hide(sys, HIDDEN_IN_SYS)
    for name in ("tmp", "var/tmp"):
        mount("tmpfs", _point(root, name), "tmpfs", MS_NODEV | MS_NOSUID, "mode=1777")
    mount("tmpfs", _point(root, "run"), "tmpfs", MS_NODEV | MS_NOSUID, "mode=0755")
    _fill_run(_point(root, "run"), below, opened)
    if resolver and host_resolver is not None and in_run:
        _write(f"{root}/{resolver}", host_resolver)
    os.chdir(root)
    socket.sethostname(spec.hostname[:LONGEST_HOSTNAME])
    syscalls.pivot_here()
    syscalls.keep_capabilities(KEPT_CAPABILITIES - {NET_RAW} if spec.network else KEPT_CAPABILITIES)
    # Whoever could trace this process or open its descriptors would be outside, and speak in its name.
    syscalls.keep_to_itself()
    opened.close()
    return Assembled(kernel, laid)


class _Opened:
    """Directories and files of the host held by descriptor, so that what covers their paths is no matter.

    Each attribute is a path ``/proc/self/fd/N``.
    """

    def __init__(self, spec: RootSpec, shims_folder: str | None) -> None:
        self._numbers: list[int] = []
        self.layers = [self._open(str(layer)) for layer in spec.layers]
        self.upper = self._open(str(spec.upper)) if spec.upper else None
        self.work = self._open(str(spec.work)) if spec.work else None
        self.shims = self._open(shims_folder) if shims_folder else None
        self.binds = {inside: self._open(str(host)) for inside, host in (spec.binds or {}).items()}
        self.out = self._open(str(spec.out)) if spec.out else None

    def _open(self, path: str) -> str:
        number = os.open(path, os.O_PATH | os.O_CLOEXEC)
        self._numbers.append(number)
        return f"{DESCRIPTORS}/{number}"

    def close(self) -> None:
        for number in self._numbers:
            os.close(number)


def _mount_below(layers: Sequence[str], below: str) -> None:
    if len(layers) == 1:
        bind(layers[0], below, read_only=True)
    else:
        options = ",".join([_lower(list(reversed(layers))), *_self_contained()])
        mount("overlay", below, "overlay", MS_RDONLY, options)


def _lower(layers: Sequence[str]) -> str:
    """The option that names ``layers``, uppermost first: by the number of their descriptor, relative to the
    working directory, for mount(2) takes one page of options, and overlayfs 500 layers."""
    return f"lowerdir={':'.join(layer.removeprefix(f'{DESCRIPTORS}/') for layer in layers)}"


def _self_contained() -> list[str]:
    """The options that keep a layer from needing another one; older kernels have neither."""
    known = ("metacopy", "redirect_dir")
    return [f"{name}=off" for name in known if os.path.exists(f"{OVERLAY_PARAMETERS}/{name}")]


def _mount_overlay(lower: Sequence[str], upper: str, work: str, target: str) -> None:
    """Stack it. ``volatile`` leaves out the syncs of rpm and yum: one syncfs before the commit is enough.

    With ``index`` the names of a hard-linked file stay one file when it is copied up; a filesystem that
    can't, or an upper directory that was made over other layers (a failed stage entered again), goes without.
    Kernels before 5.10 (EL8's) have no ``volatile``.
    """
    places = [_lower(lower), f"upperdir={upper}", f"workdir={work}", *_self_contained()]
    ways = [["index=on", "volatile"], ["index=on"], ["index=off", "volatile"], ["index=off"]]
    for way in ways:
        _forget_volatile(work)
        try:
            mount("overlay", target, "overlay", MS_NODEV, ",".join(places + way))
        except OSError as error:
            if way == ways[-1] or error.errno not in (errno.EINVAL, errno.ESTALE, errno.EOPNOTSUPP):
                raise
        else:
            return


def _forget_volatile(work: str) -> None:
    """The kernel marks a volatile work directory so that it is not mounted again by accident: we mean it."""
    mark = f"{work}/work/incompat/volatile"
    if os.path.isdir(mark):
        for name in os.listdir(mark):
            os.unlink(f"{mark}/{name}")  # "dirty", a file
        os.rmdir(mark)


def _mount_devices(dev: str) -> None:
    """A /dev of its own. The nodes are bind mounts, because nothing else that is made here may be opened.

    They are read-only, which lets one write to the device but not change the host's node (chmod, chown).
    """
    sources = [(f"/dev/{name}", f"{dev}/{name}") for name in NODES]
    mount("tmpfs", dev, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    for source, target in sources:
        _write(target, b"")
        bind(source, target, read_only=True, flags=MS_NOSUID)
    for name, target in DEV_LINKS.items():
        os.symlink(target, f"{dev}/{name}")
    os.mkdir(f"{dev}/pts")
    os.mkdir(f"{dev}/shm")
    mount(
        "devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"
    )
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")


def _fake_kernel(proc: str, kernel: str) -> None:
    """Programs that read the release from /proc instead of asking uname get the image's too."""
    texts = {
        "sys/kernel/osrelease": f"{kernel}\n",
        "version": f"Linux version {kernel} (image) #1 SMP\n",
    }
    for name, text in texts.items():
        source = f"{STAGE}/{os.path.basename(name)}"
        _write(source, text.encode())
        bind(source, f"{proc}/{name}", read_only=True)


def _close_proc(proc: str) -> None:
    hide(proc, HIDDEN_IN_PROC)
    for name in READ_ONLY_IN_PROC:
        if os.path.isdir(f"{proc}/{name}"):
            bind(f"{proc}/{name}", f"{proc}/{name}", read_only=True, recursive=True)


def hide(tree: str, patterns: Sequence[str]) -> None:
    """Cover what matches ``patterns`` in ``tree``: directories, also behind links, by an empty one.

    Files are covered by the null device, read-only: a chmod of one would be a chmod of this machine's.
    """
    for pattern in patterns:
        for path in sorted(glob.glob(f"{tree}/{pattern}")):
            if os.path.isdir(path):
                mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "mode=0555,size=4k")
            else:
                bind("/dev/null", path, read_only=True, flags=MS_NOSUID)


def _inner(root: str, name: str) -> str:
    """Where ``name`` lies in the root; in some images /tmp or /run is a link."""
    inner = resolve(root, name)
    return inner if inner is not None else name


def _point(root: str, name: str) -> str:
    return f"{root}/{_inner(root, name)}"


def _fill_run(run: str, below: str, opened: _Opened) -> None:
    for inner in (INPUTS, shims.REAL):
        os.makedirs(run + inner.removeprefix("/run"))
    os.makedirs(f"{run}/lock")
    for inside, source in opened.binds.items():
        target = run + f"{INPUTS}/{inside}".removeprefix("/run")
        if os.path.isdir(source):
            os.makedirs(target)
        else:
            _write(target, b"")
        bind(source, target, read_only=True)
    if opened.out:
        target = run + OUT.removeprefix("/run")
        os.mkdir(target)
        bind(opened.out, target)
    for name in shims.PASSING_ON:
        found = (resolve(below, f"{folder}/{name}") for folder in shims.FOLDERS)
        program = next((path for path in found if path is not None), None)
        if program is not None:
            target = run + f"{shims.REAL}/{name}".removeprefix("/run")
            _write(target, b"")
            bind(f"{below}/{program}", target, read_only=True)


def _write(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def _host_resolv_conf() -> bytes | None:
    try:
        with open("/etc/resolv.conf", "rb") as file:
            return file.read()
    except OSError:
        return None
