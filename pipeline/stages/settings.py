"""The stage type ``settings``."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import TypeAlias

from pipeline.chroot.root import Root
from pipeline.fileops.place import path_problem, read, replace
from pipeline.fileops.settings import change
from pipeline.fileops.single import create
from pipeline.fileops.text import decode, encode
from pipeline.stages.base import Inputs, Stage

Value: TypeAlias = str | int | float | bool
Values: TypeAlias = dict[str, dict[str, tuple[str, ...]]]

KEY = re.compile(r"[^#;\[=:\0-\x20]([^=:\0-\x1f]*[^=:\0-\x20])?")


class Settings(Stage, frozen=True, kw_only=True, tag="settings"):
    """Set and remove keys of an INI file; all other lines stay as they are.

    [[stage]]
    name = "nova-plugs-virtual-functions"
    type = "settings"
    file = "/etc/nova/nova.conf"
    [stage.set.libvirt]
    vif_driver = "mlnxvif.vif.MlxEthVIFDriver"
    [stage.set.DEFAULT]
    debug = true
    scheduler_available_filters = ["nova.filters.all", "pci.filter"]
    [stage.remove]
    DEFAULT = ["verbose"]

    Options
      file     the file, as a path of the image
      set      {SECTION = {KEY = VALUE}}. A value is a text, a number, true or false
               (written True and False), or a list of these: the key then stands
               once for each, as oslo.config's multi-valued options do.
      remove   {SECTION = [KEY, …]}; a key that is not there is no error
      create   make the file (0644 root:root) where it is missing (default: false,
               that is an error)

    A key that is there gets its new value in its place. One that stands only in a
    comment (#key = …) is put below that comment, any other at the end of its
    section. A section that is missing is added at the end of the file. Blanks
    around = are written as the file has them.

    The section "" is what stands before the first header: all of a file that has
    KEY=value lines only, such as /etc/infiniband/openib.conf:

    [stage.set.""]
    IPOIB_LOAD = "yes"

    Quotes that a shell needs are part of the value: '"two words"'. Names are
    compared exactly; values that are there already are left alone, and a comment
    behind a value is part of it (both as oslo.config does). Of a file with several
    names (hard links) this name only is changed: the others keep what it was.
    """

    file: str
    set: Mapping[str, Mapping[str, Value | tuple[Value, ...]]] = {}
    remove: Mapping[str, tuple[str, ...]] = {}
    create: bool = False

    def check(self) -> tuple[tuple[str, str], ...]:
        found = [("file", problem)] if (problem := path_problem(self.file)) else []
        if not any(self.set.values()) and not any(self.remove.values()):
            found.append(("set", "nothing to do: neither set nor remove names a key"))
        for option, sections in (("set", self.set), ("remove", self.remove)):
            for section, keys in sections.items():
                found += [(option, text) for text in _name_problems(section, tuple(keys))]
        found += self._no_numbers()
        for section, keyed in self._values().items():
            for key, values in keyed.items():
                found += [("set", f"[{section}] {key}: {text}") for text in _value_problems(values)]
                if key in self.remove.get(section, ()):
                    found.append(("remove", f"[{section}] {key} is set by the same stage"))
        return tuple(found)

    def changes_packages(self) -> bool:
        """No."""
        return False

    def run(self, root: Root, inputs: Inputs) -> None:
        removed = {section: tuple(keys) for section, keys in self.remove.items()}
        root.call(change_file, self.file, self._values(), removed, self.create)

    def _no_numbers(self) -> list[tuple[str, str]]:
        return [
            ("set", f"[{section}] {key}: {one} is no number to write; where a text is meant, give '{one}'")
            for section, keyed in self.set.items()
            for key, value in keyed.items()
            for one in (value if isinstance(value, tuple) else (value,))
            if isinstance(one, float) and not math.isfinite(one)
        ]

    def _values(self) -> Values:
        return {
            section: {
                key: tuple(map(_spelled, value if isinstance(value, tuple) else (value,)))
                for key, value in keyed.items()
            }
            for section, keyed in self.set.items()
        }


def change_file(path: str, values: Values, removed: dict[str, tuple[str, ...]], new: bool) -> None:
    """Set ``values`` and remove ``removed`` in the file ``path``. To be called in the chroot."""
    if new and not os.path.lexists(path):
        create(path, encode(change("", values, removed)), None, None)
        return
    real, content = read(path)
    changed = encode(change(decode(content), values, removed))
    if changed != content:
        replace(real, changed)


def _spelled(value: Value) -> str:
    """oslo.config and configparser both read ``True`` and ``False``."""
    return str(value)


def _name_problems(section: str, keys: tuple[str, ...]) -> list[str]:
    found = []
    if section != section.strip() or re.search(r"[\[\]\0-\x1f]", section):
        found.append(f"{section!r} cannot be the name of a section")
    found += [f"[{section}] {key!r} cannot be the name of a key" for key in keys if not KEY.fullmatch(key)]
    return found


def _value_problems(values: tuple[str, ...]) -> list[str]:
    found = [] if values else ["an empty list sets nothing; a key goes with remove"]
    for value in values:
        if re.search(r"[\0-\x08\x0a-\x1f]", value):
            found.append(f"{value!r} is more than one line; for several values give a list")
        elif value != value.strip():
            found.append(f"{value!r} has blanks at its ends, which nobody would read")
    return found
