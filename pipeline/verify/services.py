"""Which services an image has and which of them its init starts, read from its files in one go.

Runs in the chroot by ``Root.call``; standard library only. Sources: chkconfig(8) and SysV rc directories,
init(5) of Upstart, systemctl(1) ``is-enabled`` and systemd.unit(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

import msgspec

SCRIPTS = ("/etc/rc.d/init.d", "/etc/init.d")
RUNLEVELS = "2345S"
"""The levels in which a node works; links in 0, 1 and 6 stop it or mend it."""

LIBRARY = "functions"
"""What init scripts source; a file beside them, but no service."""

START_LINK = re.compile(r"S\d\d(?P<name>.+)")
UPSTART = "/etc/init"
UNIT_PLACES = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
OURS = UNIT_PLACES[0]
UNIT = re.compile(
    r".+\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)", re.DOTALL
)
INSTALLED_BY = re.compile(r"^(WantedBy|RequiredBy|UpheldBy|Alias)\s*=\s*\S", re.MULTILINE)
INSTALLS_ALSO = re.compile(r"^(Also|DefaultInstance)\s*=\s*\S", re.MULTILINE)


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """``scripts`` and ``jobs`` (Upstart): name → whether it is started; ``units``: unit → its state.

    States are those of ``systemctl is-enabled``: enabled, disabled, static, indirect, alias, masked.
    """

    systemd: bool
    scripts: dict[str, bool]
    jobs: dict[str, bool]
    units: dict[str, str]


def all_services() -> Services:
    """All services of the image."""
    return Services(
        systemd="systemd" in os.path.realpath("/sbin/init"), scripts=_scripts(), jobs=_jobs(), units=_units()
    )


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _text(path: str) -> str:
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""


def _scripts() -> dict[str, bool]:
    started = {
        found["name"]
        for level in RUNLEVELS
        for link in _names(f"/etc/rc{level}.d")
        # A link that leads nowhere starts nothing.
        if (found := START_LINK.fullmatch(link)) and os.path.exists(f"/etc/rc{level}.d/{link}")
    }
    present = {name for place in SCRIPTS for name in _names(place) if _runs(f"{place}/{name}")}
    return {name: name in started for name in sorted((present | started) - {LIBRARY})}


def _runs(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _jobs() -> dict[str, bool]:
    jobs = {}
    for file in _names(UPSTART):
        name, ending = os.path.splitext(file)
        if ending == ".conf":
            starts = re.search("^start on", _text(f"{UPSTART}/{file}"), re.MULTILINE)
            by_hand = re.search("^manual", _text(f"{UPSTART}/{name}.override"), re.MULTILINE)
            jobs[name] = bool(starts) and not by_hand
    return jobs


def _units() -> dict[str, str]:
    wanted = set(_wanted())
    return {name: _state(name, path, wanted) for name, path in sorted(_unit_files().items())}


def _unit_files() -> dict[str, str]:
    """Unit → the file that counts, which is the one of the first place that has it; instances have none."""
    found: dict[str, str] = {}
    for place in UNIT_PLACES:
        for name in _names(place):
            if UNIT.fullmatch(name) and not os.path.isdir(f"{place}/{name}"):
                found.setdefault(name, f"{place}/{name}")
    for name in _wanted():
        template = re.sub(r"@[^.]*\.", "@.", name)
        if template in found:
            found.setdefault(name, found[template])
    return found


def _wanted() -> Iterator[str]:
    """Units that a link in /etc pulls in, by the link's name or, for an alias, by its target's."""
    for name in _names(OURS):
        path = f"{OURS}/{name}"
        if name.endswith((".wants", ".requires", ".upholds")):
            yield from _names(path)
        elif os.path.islink(path):
            target = os.path.basename(os.readlink(path))
            if target != name and UNIT.fullmatch(target):
                yield target


def _state(name: str, path: str, wanted: set[str]) -> str:
    if os.path.realpath(path) == "/dev/null" or (os.path.isfile(path) and not os.path.getsize(path)):
        return "masked"
    if name in wanted:
        return "enabled"
    if os.path.islink(path) and os.path.basename(os.path.realpath(path)) != name:
        return "alias"
    text = _text(path)
    if INSTALLED_BY.search(text):
        return "disabled"
    return "indirect" if INSTALLS_ALSO.search(text) else "static"
