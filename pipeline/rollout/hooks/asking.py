"""What all hooks need: a program of the head node asked, and many asked at once."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pipeline.cluster.head import Head, ProgramError, Ran
from pipeline.errors import MachineError, PipelineError
from pipeline.rollout.model import Finding
from pipeline.rollout.parts import Answer

T = TypeVar("T")

SECONDS = 60.0
"""How long one answer may take: a service that is away lets its clients hang."""

AT_ONCE = 8
"""Programs that are asked about one node each run side by side."""

FEW = 5
"""So many things are named before the rest is counted."""


ODD = (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)
"""What taking an answer apart raises when it has a form that nothing here knows."""


def asked(head: Head, argv: Sequence[str], *, seconds: float = SECONDS) -> Ran:
    """Run ``argv``, however it ends. Raises ``MachineError`` when it could not be run or did not end."""
    return head.run(argv, seconds=seconds)


def answered(head: Head, argv: Sequence[str], *, seconds: float = SECONDS) -> str:
    """What ``argv`` prints. Raises ``PipelineError`` with its last words when it fails."""
    ran = asked(head, argv, seconds=seconds)
    if ran.code:
        raise failed(head, argv, ran)
    return ran.out


def failed(head: Head, argv: Sequence[str], ran: Ran) -> PipelineError:
    """An error for a program that did not end well."""
    return PipelineError(
        f"{shlex.join(argv)} ended with exit code {ran.code}: {last_words(ran)}",
        where=head.label,
        command=shlex.join(argv),
    )


def last_words(ran: Ran) -> str:
    """The last line that was printed, errors first."""
    lines = (ran.err.strip() or ran.out.strip()).splitlines()
    return lines[-1].strip() if lines else "it said nothing"


def document(head: Head, argv: Sequence[str], text: str) -> Any:
    """The JSON that ``argv`` printed."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise not_understood(head, argv, text) from None


def not_understood(head: Head, argv: Sequence[str], text: str) -> PipelineError:
    """An error for an answer of a form that nothing here knows."""
    start = text.strip()[:200] or "nothing"
    return PipelineError(
        f"{shlex.join(argv)} gave an answer that is not understood: {start}",
        where=head.label,
        command=shlex.join(argv),
    )


def side_by_side(names: Iterable[str], do: Callable[[str], T]) -> dict[str, T]:
    """``do`` for each name, several at once."""
    wanted = list(names)
    if not wanted:
        return {}
    with ThreadPoolExecutor(min(AT_ONCE, len(wanted))) as pool:
        return dict(zip(wanted, pool.map(do, wanted), strict=True))


def or_wait(do: Callable[[], Answer]) -> Answer:
    """What ``do`` says of one node; an error is no answer about the others, and is asked again."""
    try:
        return do()
    except PipelineError as error:
        return Answer("wait", told(error))


def is_away(error: PipelineError) -> bool:
    """Whether the head node is, on which hooks run their programs, and not only a service."""
    return isinstance(error, MachineError) and not isinstance(error, ProgramError)


def findings(error: PipelineError, what: str, hint: str = "") -> list[Finding]:
    """The problems of ``error`` as what is wrong already; ``what`` can't be done because of them."""
    return [
        Finding(
            "error",
            f"{what}: {problem.message}",
            problem.where or "",
            hint or problem.hint or "",
            problem.command or "",
            unasked=True,
        )
        for problem in error.problems
    ]


def told(error: PipelineError) -> str:
    """The messages of an error as one line."""
    return "; ".join(problem.message for problem in error.problems)


def some(things: Sequence[object]) -> str:
    """The first few of them, and how many more."""
    rest = len(things) - FEW
    return ", ".join(map(str, things[:FEW])) + (f" and {rest} more" if rest > 0 else "")
