"""The end of what was printed on a node: from its log, which is a verdict or plain text."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from pipeline.rollout.model import Check, Verdict

MOST_BYTES = 1 << 16
FAILED = ("failed", "error")
VERDICT = msgspec.json.Decoder(Verdict)


def checks(log: str, folder: Path | None = None) -> tuple[Check, ...]:
    """The checks of a verdict; none when there is no such file (any more) or it is plain text."""
    verdict = _verdict(log, folder)
    return verdict.checks if verdict else ()


def last_lines(log: str, folder: Path | None = None, most: int = 1) -> tuple[str, ...]:
    """The last lines that say something: those of the checks that failed, or of the file.

    ``log`` is relative to ``folder``, or absolute. None when it can't be read.
    """
    verdict = _verdict(log, folder)
    if verdict is None:
        return _last(_tail(log, folder), most)
    failed = [check for check in verdict.checks if check.outcome in FAILED]
    told = "\n".join(f"{check.name}: {check.why}" for check in failed)
    return _last(told or verdict.why, most)


def telling_line(log: str, folder: Path | None = None) -> str:
    """The line that says what failed: of the first check that did, pytest's first with E or its first one; of
    any other log the last one. What pytest prints below that is the values that it compared."""
    verdict = _verdict(log, folder)
    for check in verdict.checks if verdict else ():
        if check.outcome in FAILED and (lines := [line for line in check.why.split("\n") if line.strip()]):
            first = next((line[1:] for line in lines if line.startswith(("E ", "E\t"))), lines[0])
            return f"{check.name}: {first.strip()}"
    return "".join(last_lines(log, folder))


def _verdict(log: str, folder: Path | None) -> Verdict | None:
    if not log.endswith(".json"):
        return None
    try:
        return VERDICT.decode(_place(log, folder).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _tail(log: str, folder: Path | None) -> str:
    if not log:
        return ""
    try:
        with open(_place(log, folder), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST_BYTES))
            return file.read(MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _place(log: str, folder: Path | None) -> Path:
    return (folder or Path()) / log


def _last(text: str, most: int) -> tuple[str, ...]:
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    return tuple(lines[-most:])
