"""A project of the benchmark's own: one base tree and one image made of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.installation import COMMAND, PYTHON
from tests.bench.measuring import BenchError, Sample, environment, run

PIPELINE = (str(COMMAND),)
INSIDE = (str(PYTHON), "-m", "tests.bench.inside")
PASSES = "def test_shell(host):\n    assert host.file('/bin/sh').exists\n"


@dataclass(frozen=True)
class BenchSite:
    """The project in ``path``: the image ``image`` on the base ``tree``."""

    path: Path

    @property
    def file(self) -> Path:
        return self.path / "pipeline.toml"

    @property
    def store(self) -> Path:
        return self.path / "store"

    def write_recipe(self, commands: Sequence[str], text: str | None = None) -> None:
        """An image of these shell commands, a stage each, and one overlay file with ``text`` at the end."""
        words = ['[image]\nname = "image"\nbase = "tree"\nsummary = "for the benchmark"\n']
        for number, command in enumerate(commands, start=1):
            words.append(
                f'[[stage]]\nname = "step{number}"\ntype = "command"\nshell = {json.dumps(command)}\n'
            )
        if text is not None:
            words.append('[[stage]]\nname = "files"\ntype = "overlay"\ntree = "files"\n')
            file = self.path / "overlays/files/etc/file"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        folder = self.path / "recipes/image"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.toml").write_text("\n".join(words))
        (folder / "test_image.py").write_text(PASSES)

    def pipeline(self, *words: str) -> Sample:
        """``pipeline WORDS``, as a whole process."""
        return run([*PIPELINE, *words], self.path)

    def build(self) -> Sample:
        """Build layers only, as a whole process."""
        return run([*INSIDE, "build", str(self.file)], self.path)

    def timed(self, *words: str) -> list[list[float]]:
        """What ``tests.bench.inside`` timed: a list for each thing."""
        ended = subprocess.run(
            [*INSIDE, *words], cwd=self.path, env=environment(), capture_output=True, text=True
        )
        if ended.returncode:
            raise BenchError(f"{' '.join(words)}: {ended.stderr}")
        answer: list[list[float]] = json.loads(ended.stdout)
        return answer

    def forget(self) -> None:
        """Remove every layer and version, but not imported bases and downloads."""
        forget(self.store)


def forget(store: Path) -> None:
    """Remove every layer and version of ``store``, but not imported bases and downloads."""
    bases = {json.loads(file.read_bytes())["layer"] for file in (store / "bases").glob("*.json")}
    for folder in [*(store / "layers").iterdir(), *(store / "images").iterdir()]:
        if folder.name not in bases:
            shutil.rmtree(folder)


def make_site(path: Path, tree: Path) -> BenchSite:
    """A site in the new folder ``path`` whose only base is ``tree``."""
    (path / "overlays").mkdir(parents=True)
    site = BenchSite(path)
    site.file.write_text(f'[site]\nstore = "store"\nimages = "images"\n\n[bases]\ntree = "{tree}"\n')
    return site
