"""What the manual leaves unknown, as switches; and what tests make go wrong, as faults."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.lab.head.state import calls

SWITCHES = "switches.json"
FAULTS = "faults.json"

AXES: Mapping[str, tuple[str | int, ...]] = {
    "failure_code": (1, 0),
    "error_stream": ("stderr", "stdout"),
    "wording": ("plain", "error", "quoted"),
    "events": ("mixed", "rare", "always"),
    "commit": ("silent", "counted"),
    "json": ("yes", "delimiter", "illegal"),
    "release": ("new", "old"),
    "references": ("set", "commit"),
    "command_option": ("works", "needs terminal"),
    "syncinfo": ("table", "short", "blocks"),
}
"""Each switch with its values, the default first.

============== ==============================================================================================
failure_code   what cmsh ends with after a command that failed
error_stream   where it says so
wording        the words for what is unknown: ``wordings.py``
events         other people's events between the lines: unless hidden (mixed), never (rare), although hidden
commit         says nothing, or ``Successfully committed 1 Category``
json           ``-d {}`` gives JSON, is taken for a delimiter like any other, or ``-d`` is an illegal option
release        new: r22300. old: r22100, whose property is nextinstallmethod, and whose daemon keeps entries
               of configfilemodifications for a section with ``_`` in its name, but does not carry them out
references     a name that is nothing is refused by ``set``, or by the validation at commit
command_option ``-c`` works, or needs a terminal
syncinfo       the form of its answer, which no manual shows: ``verbs/provisioning.py``
============== ==============================================================================================
"""


class Switches(NamedTuple):
    """``copy_seconds`` is how long the copying of an image lasts at least, ``boot_seconds`` a simulated node
    is ``BOOTING``, ``install_seconds`` it is installed. Written anew, they hold for what goes on, too."""

    failure_code: int = 1
    error_stream: str = "stderr"
    wording: str = "plain"
    events: str = "mixed"
    commit: str = "silent"
    json: str = "yes"
    release: str = "new"
    references: str = "set"
    command_option: str = "works"
    copy_seconds: float = 0.0
    boot_seconds: float = 0.0
    syncinfo: str = "table"
    install_seconds: float = 0.0

    @property
    def revision(self) -> int:
        return 22300 if self.release == "new" else 22100


class Faults(NamedTuple):
    """``die_after_commits``: so many more commits, then the daemon is gone (``unreachable``) until this file
    is written again. ``foreign``: what somebody else sets during a later call: ``{"call": 2, "mode":
    "category", "object": "default", "property": "softwareimage", "value": "x"}``; calls count from when the
    file was written, and it's done before that call's first command. ``latency``: seconds that each call
    takes more. ``dead_services`` are started, and aren't up; ``failing_copies``: copying an image ends with
    nothing copied, which only an event says.

    Of simulated nodes ``never_return`` stay DOWN after a reboot, and ``failing_installs`` are not installed.
    ``unknown_properties``: a release that doesn't have these; ``refused_reboots``: nodes that ``reboot``
    refuses. ``copying_over``: an image's copy goes into a directory that is there, too."""

    die_after_commits: int | None = None
    unreachable: bool = False
    foreign: tuple[Mapping[str, Any], ...] = ()
    latency: float = 0.0
    dead_services: tuple[str, ...] = ()
    failing_copies: bool = False
    never_return: tuple[str, ...] = ()
    failing_installs: tuple[str, ...] = ()
    unknown_properties: tuple[str, ...] = ()
    refused_reboots: tuple[str, ...] = ()
    copying_over: bool = False
    calls: int = 0


LISTS = (
    "foreign",
    "dead_services",
    "never_return",
    "failing_installs",
    "unknown_properties",
    "refused_reboots",
)


def read_switches(directory: str) -> Switches:
    return Switches(**_read(f"{directory}/{SWITCHES}"))


def write_switches(directory: str, switches: Switches) -> None:
    _write(f"{directory}/{SWITCHES}", switches._asdict())


def read_faults(directory: str) -> Faults:
    known = _read(f"{directory}/{FAULTS}")
    for name in LISTS:
        known[name] = tuple(known.get(name, ()))
    return Faults(**known)


def write_faults(directory: str, faults: Faults) -> None:
    """From the next call on; ``Faults()`` heals everything."""
    keep_faults(directory, faults._replace(calls=len(calls(directory))))


def keep_faults(directory: str, faults: Faults) -> None:
    """What is left of them."""
    _write(f"{directory}/{FAULTS}", faults._asdict())


def combinations() -> Iterator[Switches]:
    """Switches such that every two values of two switches occur together in one of them; defaults come first.

    Chosen greedily: each takes, switch for switch, the value that covers most pairs that no earlier one
    had. Pairs are enough as each switch is about another place of the output, so that no three of them meet.
    """
    names = list(AXES)
    missing = {
        (one, a, other, b)
        for at, one in enumerate(names)
        for other in names[at + 1 :]
        for a in AXES[one]
        for b in AXES[other]
    }
    chosen = {name: values[0] for name, values in AXES.items()}
    while True:
        missing -= _pairs(chosen)
        yield Switches(**chosen)  # type: ignore[arg-type]
        if not missing:
            return
        one, a, other, b = min(missing, key=repr)
        chosen = {one: a, other: b}
        for name in names:
            if name not in chosen:
                chosen[name] = max(AXES[name], key=lambda value: _gain({**chosen, name: value}, missing))


def _gain(chosen: Mapping[str, str | int], missing: set[tuple[str, Any, str, Any]]) -> int:
    return len(_pairs(chosen) & missing)


def _pairs(chosen: Mapping[str, str | int]) -> set[tuple[str, Any, str, Any]]:
    names = [name for name in AXES if name in chosen]
    return {
        (one, chosen[one], other, chosen[other]) for at, one in enumerate(names) for other in names[at + 1 :]
    }


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path) as file:
            known: dict[str, Any] = json.load(file)
            return known
    except FileNotFoundError:
        return {}


def _write(path: str, content: Mapping[str, Any]) -> None:
    with open(f"{path}.new", "w") as file:
        json.dump(content, file, indent=1)
    os.replace(f"{path}.new", path)
