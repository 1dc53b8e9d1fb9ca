"""Packages of a few files, tags and scriptlets, built for a test."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from pipeline.lab.rpmbuild import rpmbuild

HEAD = """\
Name: {name}
Version: 1
Release: 1
Summary: of the tests
License: none
BuildArch: noarch
%description
Of the tests.
"""

PART = """\
%package -n {name}
Version: {version}
Release: 1
Summary: of the tests
{tags}
%description -n {name}
Of the tests.
{scripts}
%files -n {name}
{files}
"""


class Package(msgspec.Struct, frozen=True):
    """``tags`` and ``scripts`` are lines of its spec file, ``files`` those of its ``%files``."""

    name: str
    version: str = "1.0"
    tags: str = ""
    scripts: str = ""
    files: str = ""


def build_packages(packages: Iterable[Package], spec: Path, out: Path) -> tuple[Path, ...]:
    """Build ``packages`` into ``out``, by the new file ``spec``, whose name each of their files holds."""
    packages = tuple(packages)
    text = HEAD.format(name=f"tests-{spec.stem}")
    text += "".join(PART.format(**msgspec.structs.asdict(package)) for package in packages)
    paths = sorted({line.split()[-1] for package in packages for line in package.files.splitlines()})
    folders = " ".join(f"%{{buildroot}}{os.path.dirname(path)}" for path in paths)
    text += f"%install\nmkdir -p %{{buildroot}} {folders}"
    text += "".join(f"\necho {spec.stem} > %{{buildroot}}{path}" for path in paths) + "\n"
    spec.write_text(text)
    return rpmbuild(spec, sources=spec.parent, out=out, defines={"target": "noarch"})
