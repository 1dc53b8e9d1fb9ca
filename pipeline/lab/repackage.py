"""Debian packages rebuilt as RPMs: the same files, links, modes and configuration files, owned in an rpm database.

Maintainer scripts are left out; what they would have made and the images need is in ``LINKS``, ``COPIES`` and
``MODES``. Documentation, translations and Debian's own init integration are left out as well: the images stay
small, and their init scripts are those of the EL6 packages.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import programs
from pipeline.lab.rpmbuild import rpmbuild

UNWANTED = tuple(
    "etc/apt etc/bash_completion.d etc/cron.d etc/cron.daily etc/cron.weekly etc/default/ssh etc/dpkg etc/init.d"
    " etc/network etc/pam.d/sshd etc/python3 etc/rc0.d etc/rc1.d etc/rc2.d etc/rc3.d etc/rc4.d etc/rc5.d etc/rc6.d"
    " etc/rcS.d etc/logrotate.d etc/ufw etc/systemd lib/lsb lib/systemd lib/udev usr/lib/systemd usr/lib/udev usr/lib/tmpfiles.d"
    " usr/lib/sysusers.d usr/lib/python3.11/idlelib usr/lib/python3.11/lib2to3 usr/lib/python3.11/pydoc_data"
    " usr/lib/python3.11/test usr/lib/python3.11/unittest usr/lib/python3.11/ensurepip"
    " usr/share/apport usr/share/applications usr/share/bash-completion usr/share/bug usr/share/debconf usr/share/doc"
    " usr/share/doc-base usr/share/fish usr/share/gdb usr/share/icons usr/share/info usr/share/initramfs-tools"
    " usr/share/lintian usr/share/locale usr/share/man usr/share/menu usr/share/pixmaps usr/share/polkit-1"
    " usr/share/python3 usr/share/readline usr/share/zsh usr/share/perl/5.36.0/pod usr/share/perl/5.36.0/CPAN"
    " usr/share/perl/5.36.0/Pod/Perldoc usr/share/perl/5.36.0/perl5db.pl usr/share/perl/5.36.0/unicore/Name.pl run var/run var/lock".split()
)
"""Paths left out of every payload, with all below them."""

LINKS = {
    "bash": {"bin/sh": "bash"},
    "gawk": {"usr/bin/awk": "gawk"},
    "debianutils": {"usr/bin/which": "which.debianutils"},
}
"""Links that maintainer scripts or update-alternatives would make, by package: path and target."""

COPIES = {"libc-bin": {"etc/nsswitch.conf": "usr/share/libc-bin/nsswitch.conf"}}
"""Files that maintainer scripts would copy from the package's own data: path and origin."""

MODES = {"bin/ping": 0o4755}
"""Modes that maintainer scripts would set."""

GHOSTS = {"libc-bin": ("/etc/ld.so.cache",), "rpm-common": ("/var/lib/rpm/rpmdb.sqlite",)}
"""Files that come into being in the image, owned all the same."""

PROVIDES = {
    "dnf": "yum-plugins-core",
    "iproute2": "iproute",
    "kmod": "module-init-tools",
    "libpam-modules": "pam",
    "openssh-client": "openssh-clients openssh",
    "passwd": "shadow-utils",
    "python3": "python",
    "util-linux": "util-linux-ng",
    "xz-utils": "xz",
}
"""Names by which packages of EL6 require what the Debian package of another name brings."""

NOT_IN_RPM_VERSION = re.compile(r"[^A-Za-z0-9._+~^]")

SPEC = """\
Name: {name}
{epoch}Version: {version}
Release: {release}
Summary: {name} of the lab's base images
License: see the Debian package {name}
Group: System Environment/Base
AutoReqProv: no
{relations}
%description
The files of the Debian package {name}.

%files
%defattr(-,root,root,-)
{files}
"""


@dataclass(frozen=True)
class Version:
    """A Debian version as RPM writes it."""

    epoch: str
    version: str
    release: str


def rpm_version(debian: str) -> Version:
    """``[epoch:]upstream[-revision]`` as epoch, version and release, valid for RPM (which allows no ``-``)."""
    epoch, _, rest = debian.rpartition(":")
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return Version(epoch, NOT_IN_RPM_VERSION.sub(".", upstream), NOT_IN_RPM_VERSION.sub(".", revision))


def requires(depends: str, names: frozenset[str]) -> tuple[str, ...]:
    """The names in a Depends field that are in ``names``: of alternatives the first, versions left out."""
    chosen = []
    for clause in filter(None, depends.split(",")):
        alternatives = [re.split(r"[\s(:]", alternative.strip(), maxsplit=1)[0] for alternative in clause.split("|")]
        chosen += [name for name in alternatives if name in names][:1]
    return tuple(sorted(set(chosen)))


def repackage(deb: Path, *, names: frozenset[str], out: Path) -> Path:
    """Build the RPM of ``deb`` in ``out``; it requires only packages in ``names``, the closure."""
    with TemporaryDirectory(prefix="lab-deb-") as work:
        root = Path(work, "root")
        programs.run(["dpkg-deb", "--raw-extract", str(deb), str(root)])
        control = _control(root / "DEBIAN" / "control")
        conffiles = root / "DEBIAN" / "conffiles"
        configuration = frozenset(conffiles.read_text().split("\n")) if conffiles.exists() else frozenset[str]()
        shutil.rmtree(root / "DEBIAN")
        _amend(root, control["Package"])
        spec = Path(work, "package.spec")
        spec.write_text(_spec(control, names, "\n".join(_files(root, control["Package"], configuration))))
        target = "noarch" if control["Architecture"] == "all" else "x86_64"
        return rpmbuild(spec, sources=Path(work), out=out, defines={"target": target, "buildroot": str(root)})[0]


def _control(file: Path) -> dict[str, str]:
    """The fields of a control file that stand on one line."""
    pairs = (line.partition(": ") for line in file.read_text().splitlines() if not line.startswith(" "))
    return {key: value for key, _, value in pairs}


def _amend(root: Path, name: str) -> None:
    for path in UNWANTED:
        if (root / path).is_dir() and not (root / path).is_symlink():
            shutil.rmtree(root / path)
        else:
            (root / path).unlink(missing_ok=True)
    for path, target in LINKS.get(name, {}).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)
    for path, origin in COPIES.get(name, {}).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / origin, root / path)
    for path, mode in MODES.items():
        if (root / path).exists():
            (root / path).chmod(mode)


def _spec(control: dict[str, str], names: frozenset[str], files: str) -> str:
    name = control["Package"]
    version = rpm_version(control["Version"])
    depends = f"{control.get('Pre-Depends', '')},{control.get('Depends', '')}"
    relations = [f"Requires: {other}" for other in requires(depends, names - {name})]
    relations += [f"Provides: {other}" for other in PROVIDES.get(name, "").split()]
    return SPEC.format(
        name=name,
        epoch=f"Epoch: {version.epoch}\n" if version.epoch else "",
        version=version.version,
        release=version.release,
        relations="\n".join(relations) + "\n",
        files=files,
    )


def _files(root: Path, name: str, configuration: frozenset[str]) -> Iterator[str]:
    """The lines of %files. Directories are left to the filesystem package, or made by rpm, unless empty."""
    for folder, directories, files in os.walk(root):
        inside = "/" + os.path.relpath(folder, root) if folder != str(root) else ""
        links = [entry for entry in directories if Path(folder, entry).is_symlink()]
        if inside and not directories and not files:
            yield f"%dir {_escaped(inside)}"
        for entry in sorted([*files, *links]):
            path = f"{inside}/{entry}"
            mark = "%config(noreplace) " if path in configuration or path.startswith("/etc/") else ""
            yield mark + _escaped(path)
            if path.endswith(".py") and path.startswith("/usr/lib/python3"):
                yield f"%ghost {_escaped(f'{inside}/__pycache__/{entry[:-3]}.cpython-311.pyc')}"
    for path in GHOSTS.get(name, ()):
        yield f"%ghost {path}"


def _escaped(path: str) -> str:
    """``path`` for %files, where globs and macros are special; a bracket matches only itself in brackets."""
    return '"' + re.sub(r"([\[*?{])", r"[\1]", path).replace("%", "%%") + '"'
