"""Repository files of yum and dnf (``/etc/yum.repos.d/*.repo``): written, judged, and pointed at mirrors."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.mirrors import Mirrors

FOLDER = "/etc/yum.repos.d"
MAIN_FILES = ("/etc/yum.conf", "/etc/dnf/dnf.conf")
"""Repositories may stand there as well (yum.conf(5), dnf.conf(5))."""

CHECKS = ("gpgcheck", "pkg_gpgcheck")
"""The option, and its other name for dnf5. To yum case does not count, to dnf it does."""

ON = frozenset({"1", "yes", "true", "on"})
HEAD = re.compile(r"\[(?P<header>[^]]+)\]")
"""A section's first line; like yum and dnf, whatever comment is behind it."""

UNCLEAR = re.compile(
    r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]|\r(?!\n|\Z)|^[^\S\n]+\[|^\s*include\s*=", re.MULTILINE
)
"""Ends of lines to some readers only, headers that may be a value's next line, files that yum reads, too."""

URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s,]+", re.IGNORECASE)


def render(repository: str, options: Mapping[str, str | Sequence[str]]) -> str:
    """A repository file with one section; several values stand on lines of their own, as yum reads them."""
    lines = [f"[{repository}]"]
    for key, value in options.items():
        values = [value] if isinstance(value, str) else value
        lines.append(f"{key}=" + "\n        ".join(values))
    return "\n".join(lines) + "\n"


def sections(text: str) -> dict[str, dict[str, str]]:
    """Repository → its options, keys as they stand. Raises ``ValueError`` when ``text`` is no such file, or
    one that yum, dnf and this function could read in different ways."""
    import configparser  # only the stages that fetch a file read one
    import io

    found = UNCLEAR.search(text)
    if found:
        raise ValueError(f"line {text.count(chr(10), 0, found.start()) + 1} can be read in several ways")
    # No section whose options hold for all others: yum has one, to dnf it is a repository.
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"), default_section="\0")
    parser.SECTCRE = HEAD
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    try:
        parser.read_file(io.StringIO(text))
    except configparser.Error as error:
        raise ValueError(str(error).replace("\n", " ")) from error
    return {name: dict(parser[name]) for name in parser.sections() if name != "main"}


def unchecked(text: str) -> dict[str, str]:
    """The repositories whose section itself says something else than that signatures of packages are checked,
    with what it says. A comment behind the value belongs to it: yum cuts it off, dnf does not."""
    return {
        name: f"{key}={value}"
        for name, options in sections(text).items()
        for key, value in options.items()
        if key.lower() in CHECKS and value.strip().lower() not in ON
    }


def checked(text: str) -> str:
    """``text`` with ``gpgcheck=1`` in every section that would leave it to yum.conf."""
    silent = {name for name, options in sections(text).items() if CHECKS[0] not in options}
    lines = []
    for line in text.split("\n"):
        lines.append(line)
        head = HEAD.match(line)
        if head is not None and head["header"] in silent:
            lines.append(f"{CHECKS[0]}=1")
    return "\n".join(lines)


def redirected(text: str, mirrors: Mapping[str, str]) -> str:
    """``text`` with each URL that starts with a key of ``mirrors``, the longest one, at its mirror."""
    known = Mirrors(mirrors)
    return URL.sub(lambda found: known.to(found[0]), text)


def from_mirror(url: str, mirrors: Mapping[str, str]) -> str:
    """The URL that was redirected to ``url``."""
    return Mirrors(mirrors).back(url)


def redirect_all(mirrors: Mapping[str, str]) -> tuple[str, ...]:
    """Redirect every repository of the image; the files that changed. Meant for the inside of a chroot."""
    changed = []
    for name in [*sorted(map(str, Path(FOLDER).glob("*.repo"))), *MAIN_FILES]:
        path = Path(name)
        if not path.is_file():
            continue
        text = path.read_text(errors="surrogateescape")
        redirected_text = redirected(text, mirrors)
        if redirected_text != text:
            path.write_text(redirected_text, errors="surrogateescape")
            changed.append(name)
    return tuple(changed)


def put(name: str, text: str) -> None:
    """Write ``FOLDER/name``, mode 0644, all or nothing. Meant for the inside of a chroot."""
    os.makedirs(FOLDER, mode=0o755, exist_ok=True)
    target = os.path.join(FOLDER, name)
    beside = f"{target}.pipeline-new"
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
    os.replace(beside, target)


def read(path: str) -> bytes:
    """What is in a file. Meant for the inside of a chroot."""
    return Path(path).read_bytes()
