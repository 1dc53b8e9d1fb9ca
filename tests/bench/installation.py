"""The program as its users install it: without what only its developers need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.measuring import REPOSITORY

HOME = REPOSITORY / ".pipeline/bench/venv"
PYTHON = HOME / "bin/python"
COMMAND = HOME / "bin/pipeline"


def install() -> None:
    """Make ``HOME``, unless it is there already and made of the same pyproject.toml."""
    stamp = HOME / "installed"
    wanted = (REPOSITORY / "pyproject.toml").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
    compat = ["--config-settings", "editable_mode=compat", "--editable", str(REPOSITORY)]
    subprocess.run(
        [PYTHON, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *compat], check=True
    )
    subprocess.run(
        [PYTHON, "-m", "compileall", "-q", HOME / "lib", Path(REPOSITORY, "pipeline")], check=False
    )
    stamp.write_text(wanted)
