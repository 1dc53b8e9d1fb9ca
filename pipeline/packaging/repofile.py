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

OFF = frozenset({"0", "no", "false", "off"})
URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s,]+", re.IGNORECASE)


def render(repository: str, options: Mapping[str, str | Sequence[str]]) -> str:
    """A repository file with one section; several values stand on lines of their own, as yum reads them."""
    lines = [f"[{repository}]"]
    for key, value in options.items():
        values = [value] if isinstance(value, str) else value
        lines.append(f"{key}=" + "\n        ".join(values))
    return "\n".join(lines) + "\n"


def sections(text: str) -> dict[str, dict[str, str]]:
    """Repository → its options, keys in lower case. Raises ``ValueError`` when ``text`` is no such file."""
    import configparser  # only the stages that fetch a file read one
    import io

    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"))
    try:
        parser.read_file(io.StringIO(text))
    except configparser.Error as error:
        raise ValueError(str(error).replace("\n", " ")) from error
    return {name: dict(parser[name]) for name in parser.sections() if name != "main"}


def unchecked(text: str) -> tuple[str, ...]:
    """The repositories whose section itself says that signatures of packages are not checked."""
    return tuple(
        name
        for name, options in sections(text).items()
        if options.get("gpgcheck", "1").strip().lower() in OFF
    )


def checked(text: str) -> str:
    """``text`` with ``gpgcheck=1`` in every section that would leave it to yum.conf."""
    silent = {name for name, options in sections(text).items() if "gpgcheck" not in options}
    lines = []
    for line in text.splitlines():
        lines.append(line)
        head = line.strip()
        if head.startswith("[") and head.endswith("]") and head[1:-1] in silent:
            lines.append("gpgcheck=1")
    return "\n".join(lines) + "\n"


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
