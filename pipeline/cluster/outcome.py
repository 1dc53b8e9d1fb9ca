"""How a run of the vendor's installer on a node ended, by what it printed and left, not by its exit code.

A normal install ends with 0 even where the firmware could not be updated or no adapter is there: what counts
is what the adapters hold afterwards, and where that can't be read what the installer's messages say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from pipeline.cluster.gateways import GATEWAY_LOST
from pipeline.cluster.head import SSH_FAILED
from pipeline.cluster.nodescript import SIGN

Status = Literal["updated", "up to date", "failed", "unreachable", "busy", "interrupted", "not run"]

DONE: frozenset[Status] = frozenset({"updated", "up to date"})
"""What a later ``--retry`` leaves alone."""

CODES = {
    1: "an error, or its question was not answered with y",
    2: "it has no firmware for this adapter",
    22: "it does not know one of the options",
    28: "not enough space",
    171: "no adapter is there",
    172: "a prerequisite is missing: root, the right distribution, packages that it needs",
    173: "mst could not be started",
    174: "a package that is not its own needs one that it would remove",
}
"""The installer's documented exit codes."""

FAULTS = (
    (re.compile(r"not distributed inside Mellanox driver: *(.*)"), "it has no firmware for {}"),
    (re.compile(r"(No devices found)"), "no adapter is there"),
    (re.compile(r"(Query failed.*)"), "{}"),
    (re.compile(r"^-E- (.*)"), "{}"),
    (re.compile(r"^Device #\d+: Updating FW .*\b(Fail\w*.*)"), "burning: {}"),
    (re.compile(r"(Failed to update Firmware)"), "the firmware could not be updated"),
)
"""What it prints when the firmware was not updated, the most telling first; how it is told."""

UPDATED = re.compile(r"Updating FW .*Done|Restart needed for updates|Image burn completed", re.DOTALL)
UP_TO_DATE = re.compile(r"Status: +Up to date|firmware version \S+ is up to date")
DEVICE = re.compile(r"\bDevice #(\d+)")
BURNT = re.compile(r"\bDone\b")
ERROR = re.compile(r"^Error: .*", re.MULTILINE)
WITHOUT_FIRMWARE = frozenset({"--without-fw-update", "--guest"})


class Adapter(msgspec.Struct, frozen=True):
    """What an adapter's flash holds; an empty string where nobody could read it."""

    version: str = ""
    sriov: str = ""
    vfs: str = ""

    @property
    def is_known(self) -> bool:
        return bool(self.version or self.sriov)

    def __str__(self) -> str:
        on = {"true": f"SR-IOV, {self.vfs or '?'} VFs", "1": f"SR-IOV, {self.vfs or '?'} VFs"}
        return f"{self.version or '?'} ({on.get(self.sriov.lower(), 'no SR-IOV')})" if self.is_known else "?"


class Result(msgspec.Struct, frozen=True):
    """How a node ended. ``why`` is for people; ``adapters`` maps addresses to before and after."""

    status: Status
    why: str = ""
    adapters: dict[str, tuple[Adapter, Adapter]] = {}
    seconds: float = 0.0

    @property
    def is_done(self) -> bool:
        return self.status in DONE


def judge(text: str, run: str, code: int | None, options: Iterable[str], vfs: int | None = None) -> Result:
    """The result of a node that printed ``text``; ``code`` is ssh's, None when nobody waited for its end.

    ``vfs``: how many virtual functions each adapter is to have; None where that doesn't matter.
    """
    report = _Report(text, run)
    if report.busy is not None:
        return Result("busy", f"held by {report.busy or 'somebody'}")
    if report.end is None:
        return _broken(report, code)
    what, exit_code = report.end
    adapters = report.adapters
    if what == "installer":
        status, why = _installed(report, exit_code, frozenset(options), vfs)
    else:
        status, why = "failed", _early(what, exit_code, report)
    return Result(status, why, adapters)


def _broken(report: _Report, code: int | None) -> Result:
    last = report.said[-1] if report.said else ""
    if code is None:
        return Result("interrupted", "it was waited for no longer; what was started there goes on to its end")
    if report.begun:
        return Result("unreachable", f"the connection was lost in the middle: {last or 'nothing was said'}")
    if code == SSH_FAILED:
        return Result("unreachable", last or "ssh said nothing")
    if code == GATEWAY_LOST:
        return Result("unreachable", f"{last or 'its gateway was lost'}; what was run is not known")
    return Result("failed", f"nothing was run: {last or f'exit code {code}'}")


def _early(what: str, code: int, report: _Report) -> str:
    last = report.said[-1] if report.said else ""
    told = {
        "remove": f"packages in the way could not be removed, yum's exit code is {code}",
        "directory": "its directory is not there or not complete",
        "lock": "the node's lock could not be taken",
    }.get(what, f"{what} ended with {code}")
    return f"{told}: {last}" if last else told


def _installed(report: _Report, code: int, options: frozenset[str], vfs: int | None) -> tuple[Status, str]:
    text = report.told
    if code != 0:
        errors = ERROR.findall(text)
        known = CODES.get(code, "unknown")
        return "failed", f"exit code {code} ({known})" + (f": {errors[0]}" if errors else "")
    if report.installed and report.release and report.release != report.installed.rstrip(":"):
        return "failed", f"{report.installed.rstrip(':')} is installed and not {report.release}"
    if options & WITHOUT_FIRMWARE:
        return "updated", "OFED; the firmware was not asked for"
    fault = _fault(text)
    if fault:
        return "failed", f"exit code 0, but {fault}"
    if not report.adapters and not UPDATED.search(text):
        return "failed", "exit code 0, but no adapter is there"
    return _firmware(report, options, vfs)


def _fault(text: str) -> str | None:
    for pattern, told in FAULTS:
        for line in text.splitlines():
            found = pattern.search(line)
            if found:
                return told.format(found[1].strip())
    return None


def _firmware(report: _Report, options: frozenset[str], vfs: int | None) -> tuple[Status, str]:
    """By what the adapters hold before and after; by the installer's words where that is not known."""
    if report.gone:
        return "failed", f"exit code 0, but {', '.join(report.gone)} was there before, and is gone"
    after = [now for _, now in report.adapters.values()]
    without = [
        address
        for address, (_, now) in report.adapters.items()
        if now.sriov and now.sriov.lower() not in ("true", "1")
    ]
    if "--enable-sriov" in options and without:
        return "failed", f"exit code 0, but SR-IOV is not enabled in {', '.join(without)}"
    others = [
        f"{address} has {now.vfs} VFs"
        for address, (_, now) in report.adapters.items()
        if vfs is not None and now.vfs and now.vfs != str(vfs)
    ]
    if others:
        return "failed", f"exit code 0, but {', '.join(others)}, wanted {vfs}"
    told = "; ".join(sorted({str(now) for now in after if now.is_known}))
    pairs = report.adapters
    new = [now for before, now in pairs.values() if before.is_known and now.is_known and before != now]
    # One that holds what another got now is up to date, whether or not the installer says so.
    unchanged = [address for address, (_, now) in pairs.items() if now not in new]
    if not unchanged and pairs:
        return "updated", told
    if len(pairs) > 1 and max(map(_accounted, report.parts)) < len(pairs):
        which = ", ".join(unchanged)
        return "failed", f"exit code 0, but nothing tells that {which} was updated or is up to date"
    if pairs and all(before.is_known and before == now for before, now in pairs.values()):
        if UPDATED.search(report.told) or UP_TO_DATE.search(report.told):
            return "up to date", told
    elif UPDATED.search(report.told):
        return "updated", told
    elif UP_TO_DATE.search(report.told):
        return "up to date", told
    return "failed", "exit code 0, but nothing tells that the firmware was updated"


def _accounted(lines: Iterable[str]) -> int:
    """Of how many devices the installer says that they were burnt, or are up to date."""
    found: set[str] = set()
    device, burning = "", False
    for number, line in enumerate(lines):
        named = DEVICE.search(line)
        if named:
            device, burning = named[1], False
        burning = burning or "Updating FW" in line
        if (burning and BURNT.search(line)) or UP_TO_DATE.search(line) or "Image burn completed" in line:
            found.add(device or f"line {number}")
            burning = False
    return len(found)


class _Report:
    """The lines of one node, those of the script told from what programs printed."""

    def __init__(self, text: str, run: str) -> None:
        self.begun = False
        self.busy: str | None = None
        self.end: tuple[str, int] | None = None
        self.release = self.installed = ""
        self.said: list[str] = []
        # The same lines, those of the screen and those of each log apart: a log repeats what was shown.
        self.parts: list[list[str]] = [[]]
        self._part = 0
        self._seen: dict[str, dict[str, Adapter]] = {"before": {}, "after": {}}
        sign = f"{SIGN}{run} "
        for line in text.splitlines():
            if line.startswith(sign):
                word, _, rest = line.removeprefix(sign).partition(" ")
                self._take(word, rest)
            elif line.strip():
                self.said.append(line.strip())
                self.parts[self._part].append(line.strip())

    @property
    def told(self) -> str:
        return "\n".join(self.said)

    @property
    def adapters(self) -> dict[str, tuple[Adapter, Adapter]]:
        before, after = self._seen["before"], self._seen["after"]
        return {
            address: (before.get(address, Adapter()), after.get(address, Adapter()))
            for address in sorted({*before, *after})
        }

    @property
    def gone(self) -> list[str]:
        """Adapters that were there before, and are no longer."""
        return sorted(self._seen["before"].keys() - self._seen["after"].keys())

    def _take(self, word: str, rest: str) -> None:
        match word:
            case "begin":
                self.begun = True
            case "busy":
                self.busy = rest
            case "file":
                self.parts.append([])
                self._part = len(self.parts) - 1
            case "file-end":
                self._part = 0
            case "release":
                self.release = rest.strip()
            case "installed":
                self.installed = rest.strip()
            case "adapter":
                when, address, *values = rest.split(" ")
                known = dict(value.partition("=")[::2] for value in values)
                self._seen.setdefault(when, {})[address] = Adapter(
                    known.get("version", ""), known.get("sriov_en", ""), known.get("total_vfs", "")
                )
            case "end":
                what, _, code = rest.partition(" ")
                self.end = (what, int(code) if code.isdigit() else 1)
