""" "Is exactly this version", asked on each node when its tests are done."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.cluster.shells import Lost, Ran, Shells
from pipeline.rollout import exact
from pipeline.rollout.expected import Expected
from pipeline.rollout.model import Check

EXTRA = "extra_files"
"""The fact that names files which the version has not; they fail no node."""


class Compared(msgspec.Struct, frozen=True):
    """What came of it on a node."""

    checks: tuple[Check, ...] = ()
    facts: Mapping[str, str] = {}


class Comparing:
    """Asks the nodes of ``shells``, which is set before any opens; with ``wanted`` None it only ends them.

    ``seconds`` is how long one node's comparison may take.
    """

    def __init__(self, wanted: Expected | None, seconds: float) -> None:
        self.shells: Shells | None = None
        self._wanted, self._seconds = wanted, seconds
        self._asked: dict[str, tuple[int, int]] = {}

    def opened(self, node: str) -> None:
        """For nodes without tests."""
        self.begin(node)

    def begin(self, node: str) -> None:
        """Ask; the node's shell ends when it has answered."""
        shells = self.shells
        assert shells is not None
        if self._wanted is not None:
            for name, content in exact.files_to_send(self._wanted):
                shells.put(node, name, content)
            packages = exact.PACKAGES if self._wanted.packages is not None else "true"
            self._asked[node] = (
                shells.ask(node, packages, self._seconds),
                shells.ask(node, exact.files_command(), self._seconds),
            )
        shells.close(node)

    def of(self, node: str) -> Compared:
        """What came of it; nothing where it was never asked. The shells have ended."""
        shells, wanted = self.shells, self._wanted
        if wanted is None or node not in self._asked:
            return Compared()
        assert shells is not None
        packages, files = (shells.shells[node].answers[number] for number in self._asked[node])
        label = f"is exactly {wanted.label}"
        found = exact.files_differ(files.stdout, wanted) if isinstance(files, Ran) else None
        extra = [difference for difference in found or () if difference.kind == "extra"]
        known = (_packages(f"{label}: packages", packages, wanted),) if wanted.packages is not None else ()
        return Compared(
            (*known, _files(f"{label}: files", files, found)),
            {EXTRA: exact.told(extra, "file is not of the version", "files are not of the version")}
            if extra
            else {},
        )


def _packages(name: str, answer: Ran | Lost, wanted: Expected) -> Check:
    if isinstance(answer, Lost) or answer.exit_code or not answer.stdout:
        return Check(name, "error", _why(answer))
    differ = exact.packages_differ(answer.stdout, wanted.packages or ())
    return _checked(name, exact.told(differ, "package differs", "packages differ") if differ else "")


def _files(name: str, answer: Ran | Lost, found: tuple[exact.Difference, ...] | None) -> Check:
    if found is None:
        return Check(name, "error", _why(answer))
    differ = [difference for difference in found if difference.kind != "extra"]
    return _checked(name, exact.told(differ, "file differs", "files differ") if differ else "")


def _checked(name: str, why: str) -> Check:
    return Check(name, "failed", why) if why else Check(name, "passed")


def _why(answer: Ran | Lost) -> str:
    if isinstance(answer, Lost):
        return answer.why
    said = answer.stderr.decode(errors="replace").strip() or "nothing was said"
    return f"exit code {answer.exit_code}: {said}"
