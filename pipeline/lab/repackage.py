"""Debian packages rebuilt as RPMs: the same files, links, modes and configuration files, in an rpm database.

Maintainer scripts are left out; what they would have made and the images need is in debian.toml, and so is
what is dropped: the images stay small, and their init scripts are those of the EL6 packages.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from pipeline import programs
from pipeline.lab.debian import Tables, tables
from pipeline.lab.rpmbuild import rpmbuild

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


class Version(msgspec.Struct, frozen=True):
    """A Debian version as RPM writes it."""

    epoch: str
    version: str
    release: str


def rpm_version(debian: str) -> Version:
    """``[epoch:]upstream[-revision]`` as epoch, version and release, which in RPM have no ``-``."""
    epoch, _, rest = debian.rpartition(":")
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return Version(epoch, NOT_IN_RPM_VERSION.sub(".", upstream), NOT_IN_RPM_VERSION.sub(".", revision))


def requires(depends: str, names: frozenset[str]) -> tuple[str, ...]:
    """The names in a Depends field that are in ``names``: of alternatives the first, versions left out."""
    chosen = []
    for clause in filter(None, depends.split(",")):
        alternatives = [
            re.split(r"[\s(:]", alternative.strip(), maxsplit=1)[0] for alternative in clause.split("|")
        ]
        chosen += [name for name in alternatives if name in names][:1]
    return tuple(sorted(set(chosen)))


def repackage(deb: Path, *, names: frozenset[str], out: Path) -> Path:
    """Build the RPM of ``deb`` in ``out``; it requires only packages in ``names``, the closure."""
    known = tables()
    with TemporaryDirectory(prefix="lab-deb-") as work:
        root, spec = Path(work, "root"), Path(work, "package.spec")
        programs.run(["dpkg-deb", "--raw-extract", str(deb), str(root)])
        control = _control(root / "DEBIAN" / "control")
        shutil.rmtree(root / "DEBIAN")
        _amend(root, control["Package"], known)
        files = [*_files(root, python_tag(names)), *map(_ghost, known.ghosts.get(control["Package"], ()))]
        spec.write_text(_spec(control, names, known.provides.get(control["Package"], ""), files))
        target = "noarch" if control["Architecture"] == "all" else "x86_64"
        defines = {"target": target, "buildroot": str(root)}
        return rpmbuild(spec, sources=Path(work), out=out, defines=defines)[0]


def _control(file: Path) -> dict[str, str]:
    """The fields of a control file that stand on one line."""
    pairs = (line.partition(": ") for line in file.read_text().splitlines() if not line.startswith(" "))
    return {key: value for key, _, value in pairs}


def _amend(root: Path, name: str, known: Tables) -> None:
    for path in [path for pattern in known.unwanted.split() for path in root.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # /usr/share/perl/5.36 is a link to 5.36.0: two names, one file
        _prune(path.parent, root)
    for new, target in known.links.get(name, {}).items():
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / new).symlink_to(target)
    for new, origin in known.copies.get(name, {}).items():
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / origin, root / new)
    for pattern, mode in known.modes.get(name, {}).items():
        for path in root.glob(pattern):
            path.chmod(mode)


def _prune(folder: Path, root: Path) -> None:
    """Remove ``folder`` and what is above it in ``root`` as far as they are empty now."""
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _spec(control: dict[str, str], names: frozenset[str], provides: str, files: list[str]) -> str:
    name = control["Package"]
    version = rpm_version(control["Version"])
    depends = f"{control.get('Pre-Depends', '')},{control.get('Depends', '')}"
    relations = [f"Requires: {other}" for other in requires(depends, names - {name})]
    relations += [f"Provides: {other}" for other in provides.split()]
    return SPEC.format(
        name=name,
        epoch=f"Epoch: {version.epoch}\n" if version.epoch else "",
        version=version.version,
        release=version.release,
        relations="\n".join(relations) + "\n",
        files="\n".join(files),
    )


def python_tag(names: frozenset[str]) -> str:
    """The number in names of files compiled by CPython: ``311`` when ``python3.11`` is in ``names``."""
    return next(
        found[1] + found[2] for name in sorted(names) if (found := re.fullmatch(r"python(3)\.(\d+)", name))
    )


def _files(root: Path, tag: str) -> Iterator[str]:
    """The lines of %files. Directories are left to the filesystem package, or made by rpm, unless empty.

    ``tag`` is that of ``python_tag``: what Python compiles in the image belongs to its module's package.
    """
    for folder, directories, files in os.walk(root):
        inside = "/" + os.path.relpath(folder, root) if folder != str(root) else ""
        links = [entry for entry in directories if Path(folder, entry).is_symlink()]
        if inside and not directories and not files:
            yield f"%dir {_escaped(inside)}"
        for entry in sorted([*files, *links]):
            path = f"{inside}/{entry}"
            yield ("%config(noreplace) " if path.startswith("/etc/") else "") + _escaped(path)
            if path.endswith(".py") and path.startswith("/usr/lib/python3"):
                yield _ghost(f"{inside}/__pycache__/{entry[:-3]}.cpython-{tag}.pyc")


def _ghost(path: str) -> str:
    return f"%ghost %attr(0644,root,root) {_escaped(path)}"


def _escaped(path: str) -> str:
    """``path`` for %files, where globs and macros are special; a bracket matches only itself in brackets."""
    return '"' + re.sub(r"([\[*?{])", r"[\1]", path).replace("%", "%%") + '"'
