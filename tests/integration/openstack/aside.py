"""Programs that only tests need, kept beside the machine's own: installed once, under .pipeline."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
ASIDE = REPOSITORY / ".pipeline"


def kept(name: str, says: str, install: Callable[[Path], None]) -> Path:
    """The folder ``name``, filled by ``install`` unless it is already what ``says`` says.

    One that can't be filled here, for want of a registry or of a program, skips the test and says why.
    """
    folder = ASIDE / name
    stamp = folder / "installed"
    ASIDE.mkdir(exist_ok=True)
    with (ASIDE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != says:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                install(folder)
            except (OSError, subprocess.CalledProcessError) as error:
                said = str(getattr(error, "output", None) or error).strip().splitlines()
                pytest.skip(f"{name} can't be installed here: {said[-1] if said else error}")
            stamp.write_text(says)
    return folder


def call(argv: Sequence[str | Path]) -> None:
    """Run one step of an installation; what it prints comes with the error."""
    subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
