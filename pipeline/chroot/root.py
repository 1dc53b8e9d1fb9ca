"""A running root as those see it who work in it: stages, tests and shells."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import msgspec

from pipeline.errors import PipelineError

INPUTS = "/run/pipeline/inputs"
"""Where in the chroot the inputs of a stage are mounted, read-only."""

OUT = "/run/pipeline/out"
"""Where in the chroot a directory of the host is mounted that outlives it; only where one was asked for."""

MOST_LAYERS = 499
"""As many layers can be the lower directories of a root: overlayfs takes 500, and one holds the stand-ins."""

LAST_LINES = 20
LONGEST_SHOWN = 1000
"""Characters of a line that an error quotes."""

ENOUGH_FOR_ERRORS = 1 << 16
"""Bytes: as much of the end of what a program printed serves for telling how it failed."""

P = ParamSpec("P")
T = TypeVar("T")


class Finished(msgspec.Struct, frozen=True):
    """A program that ended. ``stdout`` also holds stderr, in the order of writing, unless kept separate.

    ``left_out`` is how many bytes it printed on it before those, when not all was wanted.
    """

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes = b""
    left_out: int = 0

    @property
    def text(self) -> str:
        """What was printed on stdout, decoded."""
        return self.stdout.decode(errors="replace")


class CommandError(PipelineError):
    """A program in the chroot ended with an exit code that was not among the expected ones."""

    def __init__(self, finished: Finished, expected: Collection[int]) -> None:
        how = (
            f"was killed by signal {-finished.exit_code}"
            if finished.exit_code < 0
            else f"ended with exit code {finished.exit_code}"
        )
        tail = (finished.stdout + finished.stderr).decode(errors="replace").splitlines()[-LAST_LINES:]
        expects = "" if set(expected) == {0} else f" (expected {', '.join(map(str, sorted(expected)))})"
        super().__init__(
            f"{shlex.join(finished.argv)} {how}{expects}"
            + "".join(f"\n  | {shortened(line)}" for line in tail)
        )
        self.finished = finished


def shortened(line: str) -> str:
    """``line`` as it is quoted."""
    return line if len(line) <= LONGEST_SHOWN else line[:LONGEST_SHOWN] + "…"


def nothing(heard: object) -> None:
    """For those who do not listen."""


class Root(Protocol):
    """A root made of layers, in private namespaces, without network unless it was asked for."""

    @property
    def kernel(self) -> str | None:
        """The release of the image's kernel (``2.6.32-431.el6.x86_64``); None when it has none."""

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        exit_codes: Collection[int] = (0,),
        separate: bool = False,
        most: int | None = None,
        on_lines: Callable[[Sequence[str]], None] = nothing,
    ) -> Finished:
        """Run a program of the image. ``env`` is added to a clean environment (PATH, HOME, LANG=C, …).

        Raises ``CommandError`` when it ends otherwise than with one of ``exit_codes`` (empty: any will do;
        negative: the signal that killed it). ``separate`` keeps stderr apart. What may print without end is
        run with ``most``: only as many bytes of the end of each stream are kept in memory. ``on_lines`` gets
        the lines meanwhile (without their ends; very long ones in pieces).
        """

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of this program inside the chroot, where every path is a path of the image.

        No link can lead out, however it points. ``function`` is found by module and name and that module
        has to be imported already (inside, nothing can be imported); arguments and result are pickled.
        A ``PipelineError`` that it raises is raised here.
        """

    def note(self, text: str) -> None:
        """Say something that is no error; it is shown and kept with the layer."""


class RootSpec(msgspec.Struct, frozen=True):
    """What a root is made of.

    ``layers`` are directories, lowest first. ``upper`` is an overlayfs upper directory with ``work`` beside
    it on the same filesystem, both existing; without them changes go to a tmpfs and are gone at the end.
    ``binds`` maps a path below ``INPUTS`` to the file or directory of the host that is seen there,
    read-only. ``out`` is seen at ``OUT``, writable. ``epoch`` (seconds) is told to programs that can fix
    their times (SOURCE_DATE_EPOCH).
    """

    layers: tuple[Path, ...]
    upper: Path | None = None
    work: Path | None = None
    network: bool = False
    kernel: str | None = None
    binds: Mapping[str, Path] | None = None
    out: Path | None = None
    epoch: int | None = None
    hostname: str = "image"
