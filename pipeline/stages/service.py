"""The stage type ``service``: which services start when a node boots."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

import msgspec

from pipeline.chroot.root import Root
from pipeline.errors import PipelineError, Problem
from pipeline.packaging.programs import first_found
from pipeline.stages.base import Inputs, Stage

SCRIPT_FOLDERS = ("/etc/rc.d/init.d", "/etc/init.d")
UNIT_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
UNIT_KINDS = ("service", "socket", "timer", "target", "path", "mount", "automount", "swap", "slice")
DEFAULT_LEVELS = "2345"
"""Those that ``chkconfig NAME on`` and ``off`` change (chkconfig(8))."""

NAME = re.compile(r"[A-Za-z0-9_.@:\\-]+")
ON = frozenset({"enabled", "alias", "indirect"})
NOT_SCRIPTS = frozenset({"functions", "halt", "killall", "single", "README", "skeleton", "rc", "rcS"})


class Found(msgspec.Struct, frozen=True):
    """What an image has: its programs, and its services."""

    chkconfig: bool
    systemctl: bool
    scripts: frozenset[str]
    units: frozenset[str]

    def unit(self, name: str) -> str | None:
        """The unit's full name (``sshd.service``, ``getty@tty1.service``), or None when there is none."""
        full = name if name.rpartition(".")[2] in UNIT_KINDS else f"{name}.service"
        stem, at, rest = full.partition("@")
        template = f"{stem}@.{rest.rpartition('.')[2]}" if at else full
        return full if full in self.units or template in self.units else None


class Service(Stage, frozen=True, kw_only=True, tag="service"):
    """Say which services start when a node boots. Nothing is started or stopped while building.

        [[stage]]
        name = "services"
        type = "service"
        enable = ["eswitchd", "neutron-mlnx-agent"]
        disable = ["opensm"]

    enable   services that start
    disable  services that do not
    levels   runlevels for init scripts, such as "345" (default: chkconfig's own, 2345)

    A systemd unit is enabled with systemctl, an init script without a unit with chkconfig. What is neither is
    an error. Afterwards the image is asked whether it came to be so; doing it twice is the same as once.
    """

    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    levels: str = ""

    def check(self) -> tuple[tuple[str, str], ...]:
        """Nothing to do, names that are none, contradictions."""
        found = []
        if not (self.enable or self.disable):
            found.append(("enable", "nothing to do: give enable or disable"))
        for option, names in (("enable", self.enable), ("disable", self.disable)):
            found += [
                (option, f"{name!r} is no name of a service")
                for name in names
                if not NAME.fullmatch(name) or name.startswith("-")
            ]
        both = sorted(set(self.enable) & set(self.disable))
        found += [("disable", f"{name!r} is to be enabled as well") for name in both]
        if self.levels and (set(self.levels) - set("0123456") or len(set(self.levels)) != len(self.levels)):
            found.append(("levels", f'{self.levels!r} are no runlevels: digits from 0 to 6, as "345"'))
        return tuple(found)

    def changes_packages(self) -> bool:
        """No."""
        return False

    def run(self, root: Root, inputs: Inputs) -> None:
        """Enable and disable, then look."""
        del inputs
        wanted = {**dict.fromkeys(self.enable, True), **dict.fromkeys(self.disable, False)}
        found = root.call(look)
        unknown = list(_unknown(wanted, found))
        if unknown:
            raise PipelineError(unknown)
        wrong: list[Problem] = []
        for name, on in wanted.items():
            unit = found.unit(name) if found.systemctl else None
            wrong += self._unit(root, unit, on) if unit else self._script(root, name, on)
        if wrong:
            raise PipelineError(wrong)

    def _unit(self, root: Root, unit: str, on: bool) -> Iterator[Problem]:
        root.run(["systemctl", "--root=/", "enable" if on else "disable", unit])
        asked = root.run(["systemctl", "--root=/", "is-enabled", unit], exit_codes=())
        state = (asked.text.split() or ["nothing"])[-1]
        if on and state not in ON:
            why = "it has no [Install] section, so that nothing would start it" if state == "static" else None
            yield Problem(f"{unit} was enabled, but systemctl says that it is {state!r}", hint=why)
        if not on and state in ON - {"indirect"}:
            yield Problem(f"{unit} was disabled, but systemctl says that it is {state!r}")

    def _script(self, root: Root, name: str, on: bool) -> Iterator[Problem]:
        levels = ["--level", self.levels] if self.levels else []
        if on:
            root.run(["chkconfig", "--add", name])
        root.run(["chkconfig", *levels, name, "on" if on else "off"])
        listed = root.run(["chkconfig", "--list", name]).text
        state = dict(re.findall(r"\b([0-6]):(\w+)", listed))
        word = "on" if on else "off"
        differ = [level for level in self.levels or DEFAULT_LEVELS if state.get(level) != word]
        if differ:
            yield Problem(
                f"{name} was switched {word}, but is not so in runlevel {', '.join(differ)}: "
                f"chkconfig says {listed.strip()!r}"
            )


def _unknown(wanted: Mapping[str, bool], found: Found) -> Iterator[Problem]:
    for name, on in wanted.items():
        if found.systemctl and found.unit(name):
            continue
        if name in found.scripts and found.chkconfig:
            continue
        if name in found.scripts or found.unit(name):
            yield Problem(f"{name} is there, but the image has no {_missing(name, found)} to switch it")
            continue
        known: Sequence[str] = [*found.scripts, *(unit.removesuffix(".service") for unit in found.units)]
        near = get_close_matches(name, known, n=3)
        yield Problem(
            f"the image has no service {name!r}, neither an init script nor a systemd unit",
            hint=f"did you mean {' or '.join(map(repr, near))}?" if near else _what_to_do(on),
        )


def _missing(name: str, found: Found) -> str:
    return "chkconfig" if name in found.scripts else "systemctl"


def _what_to_do(on: bool) -> str:
    return "install its package in a stage before this one" if on else "leave it out if nothing can start it"


def look() -> Found:
    """What there is. Meant for the inside of a chroot."""
    return Found(
        chkconfig=first_found("chkconfig") is not None,
        systemctl=first_found("systemctl") is not None,
        scripts=frozenset(name for name in _names(SCRIPT_FOLDERS) if _is_script(name)),
        units=frozenset(name for name in _names(UNIT_FOLDERS) if name.rpartition(".")[2] in UNIT_KINDS),
    )


def _is_script(name: str) -> bool:
    return name not in NOT_SCRIPTS and any(
        os.access(os.path.join(folder, name), os.X_OK) for folder in SCRIPT_FOLDERS
    )


def _names(folders: Sequence[str]) -> Iterator[str]:
    for folder in folders:
        if os.path.isdir(folder):
            yield from os.listdir(folder)
