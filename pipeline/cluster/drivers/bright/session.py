"""Calls of cmsh: commands in a file, as few calls as will do."""

from __future__ import annotations

import re

from pipeline.cluster.drivers.bright.parse import plain, unreachable
from pipeline.cluster.head import Head, Ran
from pipeline.errors import MachineError

OPTIONS = ("-n", "--color=no", "--hide-events", "-q", "-f")
"""No rc file, no colour, no events, end at the first error; the file comes last. Not ``-c``: over ssh
without a terminal it is known to fail where ``-f`` works."""

REVISION = re.compile(r"(?i)\br(?:ev(?:ision)?)?[ :.]*r?(\d{4,})\b")
"""``r22282``, ``revision: 22282``: what ``cmd -v`` prints is documented nowhere; all like it is taken."""

MODIFICATIONS_SINCE = 22282
"""The first revision of CMDaemon whose roles change configuration files (the seed)."""


class Session:
    """Calls to one head node, and what they have shown so far."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.speaks_json: bool | None = None
        self._revision: int | str | None = ""

    def run(self, commands: str, *, seconds: float | None) -> Ran:
        """What cmsh did with ``commands`` in at most ``seconds``; None: as long as it takes.

        Raises ``MachineError`` when it can't reach its daemon, or time is over.
        """
        ran = self.head.run_file(("cmsh", *OPTIONS), commands, seconds=seconds)
        if unreachable(ran.out, ran.err):
            raise UnreachableError(ran, (plain(ran.out) + ran.err).strip(), self.head.label)
        return ran

    def revision(self) -> int | None:
        """The revision of CMDaemon; None when it doesn't tell."""
        if isinstance(self._revision, str):
            self._revision = self._asked_revision()
        return self._revision

    def _asked_revision(self) -> int | None:
        try:
            ran = self.head.run(("cmd", "-v"), seconds=self.head.answer_seconds)
        except MachineError as error:
            if (
                "missing" in error.problems[0].message
            ):  # cmd is not always in the path; then it is taken as new
                return None
            raise
        found = REVISION.search(ran.out) or REVISION.search(ran.err)
        return int(found[1]) if found else None


class UnreachableError(MachineError):
    """cmsh runs, but has no connection to CMDaemon, or lost it; ``ran`` is what it did before."""

    def __init__(self, ran: Ran, shown: str, where: str) -> None:
        last = shown.splitlines()[-1] if shown else "it said nothing"
        super().__init__(
            f"cmsh has no connection to CMDaemon: {last}",
            where=where,
            hint="is CMDaemon running there? (service cmd status)",
        )
        self.ran = ran
