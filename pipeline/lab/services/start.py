"""The services' programs, put beside those of the head node."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from pipeline.lab.services.state import FOLDER

PROGRAMS = {
    "ceph": ("ceph", "main"),
    "openstack": ("clouds", "openstack"),
    "nova": ("clouds", "nova"),
    "neutron": ("clouds", "neutron"),
    "scontrol": ("slurm", "scontrol"),
    "sinfo": ("slurm", "sinfo"),
    "squeue": ("slurm", "squeue"),
}


def make_services(directory: Path) -> None:
    """Make them anew in the head node's directory; what they kept is gone."""
    shutil.rmtree(directory / FOLDER, ignore_errors=True)
    python = shlex.quote(os.path.realpath(sys.executable))
    package = Path(__file__).parents[3]
    for name, (module, function) in PROGRAMS.items():
        code = (
            f"import sys; sys.path.insert(0, {str(package)!r}); "
            f"from pipeline.lab.services.{module} import {function}; sys.exit({function}(sys.argv.pop(1)))"
        )
        file = directory / "bin" / name
        file.write_text(f'#!/bin/sh\nexec {python} -I -S -c {shlex.quote(code)} "${{0%/*}}/.." "$@"\n')
        file.chmod(0o755)
