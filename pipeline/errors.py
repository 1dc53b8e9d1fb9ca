"""The errors that this program raises; ``pipeline.cli`` prints them and nothing else does.

Every error carries one or more problems of the same kind, so that all of them are told at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from pipeline.printable import on_one_line, readable

_NEXT_LINE = re.compile(r"\n(?=\S)")
"""Where a line of a message of several begins that could be taken for another problem."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, as an administrator has to read it.

    ``where`` is ``file:line`` or another place (a stage, a node); ``hint`` says what to do about it,
    ``command`` is the one to run next, ready to be pasted.
    """

    message: str
    where: str | None = None
    hint: str | None = None
    command: str | None = None

    def __post_init__(self) -> None:
        """What is told may be of a server or a program, with the URL that a mirror of the site has."""
        for name, shown in (("message", readable), ("where", on_one_line), ("hint", readable)):
            text = getattr(self, name)
            if text is not None and (told := shown(text)) != text:
                msgspec.structs.force_setattr(self, name, told)

    def __str__(self) -> str:
        message = _NEXT_LINE.sub("\n    ", self.message)
        head = f"{self.where}: {message}" if self.where else message
        tail = [f"  hint: {self.hint}"] if self.hint else []
        if self.command:
            tail.append(f"  run: {self.command}")
        return "\n".join([head, *tail])


class PipelineError(Exception):
    """The work failed. ``exit_code`` is what the command exits with."""

    exit_code = 1

    def __init__(
        self,
        message: str | Iterable[Problem],
        *,
        where: str | None = None,
        hint: str | None = None,
        command: str | None = None,
    ) -> None:
        if isinstance(message, str):
            self.problems: tuple[Problem, ...] = (Problem(message, where, hint, command),)
        else:
            self.problems = tuple(message)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UsageError(PipelineError):
    """The recipe, the site file or the command line is wrong."""

    exit_code = 2


class MachineError(PipelineError):
    """This machine lacks something; the hint says how to get it."""

    exit_code = 3


class StaleLockError(PipelineError):
    """The lock no longer says what the recipe or the base says."""

    exit_code = 4


class UnverifiedError(PipelineError):
    """A version has not passed its tests."""

    exit_code = 5


class UnreadableError(PipelineError):
    """A source holds something else than the stage reads; ``where`` of a problem is the source's location."""


def retold(error: PipelineError, problems: Iterable[Problem]) -> PipelineError:
    """An error of the same exit code as ``error``, with its problems put otherwise."""
    told = (UnreadableError if isinstance(error, UnreadableError) else PipelineError)(problems)
    told.exit_code = error.exit_code
    return told
