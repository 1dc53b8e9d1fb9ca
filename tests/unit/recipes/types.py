"""Stage types for the tests of recipes, so that these don't change whenever a real type does."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from pipeline.stages.base import Stage


class Packages(Stage, frozen=True, kw_only=True, tag="packages"):
    """Install and remove packages."""

    install: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    gpg: bool = True


class Overlay(Stage, frozen=True, kw_only=True, tag="overlay"):
    """Lay a tree over the image."""

    tree: str
    modes: dict[str, str] = msgspec.field(default_factory=dict)

    def trees(self) -> tuple[str, ...]:
        return (self.tree,)


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Output that is expected."""

    pattern: str
    because: str = ""


class Command(Stage, frozen=True, kw_only=True, tag="command"):
    """Run a program."""

    argv: tuple[str, ...]
    env: dict[str, str] = msgspec.field(default_factory=dict)
    exit_codes: tuple[int, ...] = (0,)
    tolerate: tuple[Expected, ...] = ()
    jobs: Annotated[int, msgspec.Meta(ge=1)] = 1
    level: Literal["low", "high"] = "low"
    wait: float = 0.5

    def check(self) -> tuple[tuple[str, str], ...]:
        return () if self.argv else (("argv", "names no program"),)


class Settings(Stage, frozen=True, kw_only=True, tag="settings"):
    """Set keys of an INI file."""

    file: str
    set: dict[str, dict[str, str | int | tuple[str, ...]]] = msgspec.field(default_factory=dict)

    def check(self) -> tuple[tuple[str, str], ...]:
        return () if self.set else (("set", "sets nothing"),)


CLASSES: dict[str, type[Stage]] = {
    "packages": Packages,
    "overlay": Overlay,
    "command": Command,
    "settings": Settings,
}


def names() -> tuple[str, ...]:
    """As ``pipeline.stages.names``."""
    return tuple(sorted(CLASSES))


def stage_type(name: str) -> type[Stage]:
    """As ``pipeline.stages.stage_type``."""
    return CLASSES[name]
