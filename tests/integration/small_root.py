"""A root of a few files, in which one stage is run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pipeline.chroot.enter import enter
from pipeline.chroot.root import INPUTS, RootSpec
from pipeline.errors import PipelineError
from pipeline.stages.archive import Archive
from pipeline.stages.base import Inputs, Stage, Tree
from tests.trees import names_of_files

PASSWD = "root:x:0:0::/root:/bin/sh\neswitch:x:120:130::/:/bin/false\n"
GROUP = "root:x:0:\neswitch:x:130:\nnova:x:162:\n"


@dataclass
class SmallRoot:
    """``image`` is the layer below; what stages change is in ``upper``, stage upon stage."""

    home: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.image / "etc", self.image / "opt", self.upper):
            folder.mkdir(parents=True)
        self.home.chmod(0o755)
        (self.image / "etc/passwd").write_text(PASSWD)
        (self.image / "etc/group").write_text(GROUP)

    @property
    def image(self) -> Path:
        return self.home / "image"

    @property
    def upper(self) -> Path:
        return self.home / "upper"

    def run(self, stage: Stage, source: Path | None = None, tree: Path | None = None) -> None:
        """Run ``stage``; ``source`` is what it is given for its only source, ``tree`` for its only tree."""
        binds, sources, trees = {}, {}, {}
        if source is not None:
            sources[stage.sources()[0].location] = f"{INPUTS}/source"
            binds["source"] = source
        if tree is not None:
            trees[stage.trees()[0]] = Tree(tree, f"{INPUTS}/tree")
            binds["tree"] = tree
        if isinstance(stage, Archive):
            stage.prepare()
        work = Path(mkdtemp(dir=self.home, prefix="work"))
        spec = RootSpec((self.image,), upper=self.upper, work=work, binds=binds)
        failure: PipelineError | None = None
        with enter(spec, on_note=self.notes.append) as root:
            try:
                stage.run(root, Inputs(parameters=self.parameters, sources=sources, trees=trees))
            except PipelineError as error:
                failure = error  # raised once the root is closed in good order: its upper is used again
        if failure is not None:
            raise failure

    def path(self, path: str) -> Path:
        """Where a file of the result lies on this machine."""
        changed = self.upper / path.lstrip("/")
        return changed if os.path.lexists(changed) else self.image / path.lstrip("/")

    def text(self, path: str) -> str:
        return self.path(path).read_bytes().decode()

    def look(self, path: str) -> tuple[int, int, str]:
        """Owner, group and mode of a file of the result."""
        there = self.path(path).lstat()
        return there.st_uid, there.st_gid, f"{there.st_mode & 0o7777:04o}"

    def changed(self) -> list[str]:
        """Every file of the upper directory that is no directory, sorted."""
        return names_of_files(self.upper)
