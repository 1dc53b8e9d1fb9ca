"""A project of its own for a test: the shipped recipes and overlays, the shared lab, an empty store."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import warm

REPOSITORY = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Result:
    """A command that ended."""

    exit_code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Project:
    """A folder with pipeline.toml, recipes/ and overlays/, and the command run in it."""

    path: Path

    def run(self, *words: str, timeout: float = 300) -> Result:
        """``pipeline WORDS`` in the project, as its own process."""
        ended = warm.run(words, self.path, timeout)
        return Result(ended.returncode, ended.stdout, ended.stderr)

    def write(self, name: str, text: str) -> Path:
        """A file of the project."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    @property
    def images(self) -> Path:
        """Where versions are published."""
        return self.path / "images"


def make_project(path: Path, lab_home: Path, *, shipped: bool = True) -> Project:
    """A project in the new folder ``path`` over the lab at ``lab_home``, with the shipped recipes or none."""
    path.mkdir(parents=True)
    for name in ("recipes", "overlays"):
        if shipped:
            ignored = shutil.ignore_patterns("recipe.lock", "__pycache__")
            shutil.copytree(REPOSITORY / name, path / name, ignore=ignored)
        else:
            (path / name).mkdir()
    project = Project(path)
    project.write(
        "pipeline.toml",
        f'[site]\nstore = "store"\nimages = "images"\n\n[lab]\nhome = "{lab_home}"\n',
    )
    return project


def unmount_all(project: Project) -> None:
    """Unmount what was published below the project."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    for mount in reversed([line.split()[1] for line in mounts]):
        if mount.startswith(f"{project.path}/"):
            subprocess.run(["umount", mount], check=True)
