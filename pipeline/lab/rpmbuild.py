"""Building the lab's RPMs with rpmbuild, the same bytes for the same inputs where rpmbuild can."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import programs

EPOCH = 1412812800
"""Build time of every package of the lab, in seconds since 1970: 2014-10-09, the days of OFED 2.3."""

MACROS = {
    "_buildhost": "lab",
    "_buildshell": "/bin/bash",
    "_build_id_links": "none",
    "_binary_payload": "w1.gzdio",
    "_source_payload": "w1.gzdio",
    "__os_install_post": "%{nil}",
    "debug_package": "%{nil}",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
    "vendor": "Lab",
}


def rpmbuild(
    spec: Path, *, sources: Path, out: Path, defines: Mapping[str, str] | None = None
) -> tuple[Path, ...]:
    """Build the binary packages of ``spec`` into ``out`` and return their paths.

    ``sources`` is rpmbuild's ``_sourcedir``; ``defines`` are macros that the spec uses. Several calls may
    run at once.
    """
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="lab-rpmbuild-") as top:
        macros = {
            **MACROS,
            "_topdir": top,
            "_sourcedir": str(sources),
            "_dbpath": f"{top}/db",
            **(defines or {}),
        }
        argv = ["rpmbuild", "-bb", "--target", macros.pop("target", "x86_64"), "--nodeps"]
        for name, value in macros.items():
            argv += ["--define", f"{name} {value}"]
        programs.run([*argv, str(spec)], env={"SOURCE_DATE_EPOCH": str(EPOCH)})
        built = []
        for package in sorted(Path(top, "RPMS").rglob("*.rpm")):
            target = out / package.name
            target.write_bytes(package.read_bytes())
            built.append(target)
    return tuple(built)
