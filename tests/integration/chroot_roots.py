"""A root on the lab's base image, with an upper directory that is kept beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.chroot.enter import EnteredRoot, enter
from pipeline.chroot.root import RootSpec
from tests.trees import names_of_files

KERNEL = "2.6.32-431.el6.x86_64"


@dataclass
class Place:
    """``over`` is a layer over the base into which a test may put files before it enters."""

    base: Path
    home: Path
    notes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.over, self.upper, self.home / "work"):
            folder.mkdir(parents=True)
            folder.chmod(0o755)

    @property
    def over(self) -> Path:
        return self.home / "over"

    @property
    def upper(self) -> Path:
        return self.home / "upper"

    def spec(self, **more: Any) -> RootSpec:
        layers = (self.base, self.over)
        return RootSpec(layers, upper=self.upper, work=self.home / "work", **more)

    @contextmanager
    def enter(self, **more: Any) -> Iterator[EnteredRoot]:
        with enter(self.spec(**more), on_lines=self.lines.extend, on_note=self.notes.append) as root:
            yield root

    def put(self, path: str, text: str, mode: int = 0o644) -> Path:
        target = self.over / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)
        return target

    def changed(self) -> list[str]:
        """Every file of the upper directory, sorted."""
        return names_of_files(self.upper)


Entering = Callable[..., AbstractContextManager[EnteredRoot]]


def shell(root: EnteredRoot, text: str) -> str:
    """What a shell prints in the root."""
    return root.run(["/bin/sh", "-c", text], exit_codes=()).text.strip()
