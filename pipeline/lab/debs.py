"""The closure of Debian packages that the lab's images are made of, fetched with this machine's own apt.

apt's sources and keys are the machine's; its state, cache and lists lie in the lab's home, so that nothing
of the machine's own package state is read or changed, and the closure is that of an empty system.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipeline import programs
from pipeline.errors import PipelineError
from pipeline.lab.debian import tables

APT_CONF = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::State "{apt}/state";
Dir::State::status "{apt}/state/status";
Dir::Cache "{apt}/cache";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
"""

URI_LINE = re.compile(r"^'(?P<url>[^']+)' (?P<file>(?P<name>[^_ ]+)_\S+\.deb) \d+\b")
"""A line of --print-uris. Its digest is not always there, and apt itself checks what it downloads."""


class Deb(msgspec.Struct, frozen=True):
    """One package of the closure: its name and that of its file, which holds the version."""

    name: str
    file: str


class Apt:
    """apt over a state of its own under ``folder``, which is made when missing."""

    def __init__(self, folder: Path) -> None:
        self._wanted = tables().wanted.split()
        self._left_out = frozenset(tables().left_out.split())
        self.archives = folder / "cache" / "archives"
        self._conf = folder / "apt.conf"
        for needed in (self.archives / "partial", folder / "state" / "lists" / "partial"):
            needed.mkdir(parents=True, exist_ok=True)
        (folder / "state" / "status").write_text("")
        self._conf.write_text(APT_CONF.format(apt=folder.resolve()))

    def closure(self) -> tuple[Deb, ...]:
        """The packages to convert, sorted by name, from the newest lists that the machine's sources offer."""
        self._get("update")
        output = self._get(
            "install", "--print-uris", "--yes", "-o", f"Dir::Cache::archives={self._nowhere()}", *self._wanted
        )
        found = [match for line in output.splitlines() if (match := URI_LINE.match(line))]
        if not found:
            raise PipelineError(
                "apt names no packages for the lab's images",
                hint="are this machine's Debian sources complete (main) and reachable?",
                command="apt-get update",
            )
        return tuple(
            Deb(match["name"], match["file"])
            for match in sorted(found, key=lambda match: match["name"])
            if match["name"] not in self._left_out
        )

    def download(self, note: Callable[[str], None]) -> None:
        """Fetch what the closure lacks; apt checks sizes and digests and resumes what was cut off."""
        note("lab: fetching Debian packages")
        self._get("install", "--download-only", "--yes", *self._wanted)

    def _get(self, *arguments: str) -> str:
        return programs.run(
            ["apt-get", "--quiet=2", "-c", str(self._conf), *arguments],
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )

    def _nowhere(self) -> Path:
        """An archive directory that stays empty: apt prints no URI for what it has already."""
        empty = self.archives.parent / "empty"
        (empty / "partial").mkdir(parents=True, exist_ok=True)
        return empty
