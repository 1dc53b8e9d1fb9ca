"""Commands of testinfra's modules that are answered without starting a program.

testinfra hands a backend the template of a command and its arguments (``"test -e %s"``, ``"/etc/passwd"``).
For the templates of ``ANSWERS`` the answer comes from one look at the file, one list of all packages, one
reading of the accounts. What is not in the table runs in the image: right as well, only slower.
Templates are those of pytest-testinfra 10.2.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pipeline.printable import on_one_line
from pipeline.verify import refusals
from pipeline.verify.image import Image
from pipeline.verify.inside import Look
from pipeline.verify.messages import Ran
from pipeline.verify.packages import CERTAIN, Rpm

UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")
NOT_THERE = 2
"""What getent exits with when there is no such entry."""


class Member(NamedTuple):
    """A group as one user sees it."""

    name: str
    gid: str


Answer = Callable[..., Ran | None]
"""Image and arguments → what the command would have said; None when it has to be run."""


def said(text: str | bytes) -> Ran:
    """A command that succeeded and printed a line."""
    return Ran(0, (text.encode() if isinstance(text, str) else text) + b"\n", b"")


def failed(error: str, code: int = 1) -> Ran:
    """A command that failed with a line on stderr."""
    return Ran(code, b"", on_one_line(error).encode() + b"\n")


def verdict(holds: bool) -> Ran:
    """A test: 0 when it holds, else 1."""
    return Ran(0 if holds else 1, b"", b"")


def _test(holds: Callable[[Look], bool], *, follows: bool = True) -> Answer:
    return lambda image, path: verdict(holds(_look(image, path, follows=follows)))


def _kind(kind: str) -> Answer:
    return _test(lambda look: look.kind == kind)


def _stat(text: Callable[[Look], str]) -> Answer:
    def answer(image: Image, path: str) -> Ran:
        look = _look(image, path)
        return said(text(look)) if look.kind else failed(f"stat: cannot stat '{path}': {look.error}")

    return answer


def _look(image: Image, path: str, *, follows: bool = True) -> Look:
    if refusal := refusals.file_refusal(path):
        image.refuse(f"the file {on_one_line(path)}", refusal)
    look = image.look(path)
    through_self = re.match("/proc/self(/|$)", path)
    if follows and not through_self and look.real is not None:
        real = look.real.decode(errors="replace")
        if refusal := refusals.file_refusal(real):
            image.refuse(f"the file {on_one_line(path)}, which is {real}", refusal)
    return look


def _realpath(image: Image, path: str) -> Ran:
    look = _look(image, path, follows=False)
    return failed(f"realpath: {path}: no such path") if look.real is None else said(look.real)


def _content(image: Image, path: str) -> Ran:
    _look(image, path)
    read = image.read(path)
    return failed(f"cat: {path}: {read.error}") if read.error else Ran(0, read.content, b"")


def _digest(algorithm: str) -> Answer:
    # The original ends in "| cut", which succeeds: two missing files then have equal, empty digests.
    def answer(image: Image, path: str) -> Ran:
        _look(image, path)
        read = image.digest(path, algorithm)
        return failed(f"{algorithm}sum: {path}: {read.error}") if read.error else said(read.content)

    return answer


def _listing(image: Image, path: str) -> Ran:
    _look(image, path)
    listing = image.listing(path)
    if listing.error:
        return failed(f"ls: cannot access '{path}': {listing.error}", NOT_THERE)
    return Ran(0, b"".join(UNPRINTABLE.sub(b"?", name) + b"\n" for name in listing.names), b"")


def _grep(image: Image, pattern: str, path: str) -> Ran | None:
    look = _look(image, path)
    if not pattern.isascii():
        return None
    if look.kind not in ("", "file", "directory"):
        return failed(f"grep: {path}: not a file that ends", 2)
    found = image.matches(path, pattern).found
    return None if found is None else verdict(found)


def _rpm(text: Callable[[Rpm], str]) -> Answer:
    def answer(image: Image, label: str) -> Ran | None:
        # Asked first in any case: without a database rpm says of everything that it is not installed.
        found = image.packages().get(label, ())
        if not CERTAIN.fullmatch(label):
            return None
        if not found:
            return Ran(1, f"package {label} is not installed\n".encode(), b"")
        if len(found) > 1:
            return failed(
                f"{len(found)} packages answer to {label}: {' '.join(package.nevra for package in found)}; "
                "name one of them in full"
            )
        return Ran(0, text(found[0]).encode(), b"")

    return answer


def _rpm_installed(image: Image, label: str) -> Ran | None:
    found = image.packages()
    return verdict(label in found) if CERTAIN.fullmatch(label) else None


def _passwd(image: Image, user: str) -> tuple[str, ...] | None:
    users = image.accounts().passwd
    by_name = next((line for line in users if line[0] == user), None)
    return by_name or next((line for line in users if user.isdecimal() and line[2:3] == (user,)), None)


def _groups_of(image: Image, passwd: tuple[str, ...]) -> list[Member]:
    """The primary group first, then the others in the order of /etc/group, as getgrouplist(3) has them."""
    groups = image.accounts().group
    primary = next((line[0] for line in groups if line[2] == passwd[3]), passwd[3])
    others = [Member(line[0], line[2]) for line in groups if passwd[0] in line[3].split(",")]
    return list(dict.fromkeys([Member(primary, passwd[3]), *others]))


def _id(text: Callable[[Image, tuple[str, ...]], str]) -> Answer:
    def answer(image: Image, user: str) -> Ran:
        passwd = _passwd(image, user)
        return said(text(image, passwd)) if passwd else failed(f"id: '{user}': no such user")

    return answer


def _getent(table: str) -> Answer:
    def answer(image: Image, key: str) -> Ran:
        lines: tuple[tuple[str, ...], ...] = getattr(image.accounts(), table)
        found = next((line for line in lines if line[0] == key), None)
        if found is None and key.isdecimal() and table != "shadow":
            found = next((line for line in lines if line[2:3] == (key,)), None)
        return said(":".join(found)) if found else Ran(NOT_THERE, b"", b"")

    return answer


def _getent_all(table: str) -> Answer:
    return lambda image: Ran(
        0, b"".join(":".join(line).encode() + b"\n" for line in getattr(image.accounts(), table)), b""
    )


def _group_field(number: int) -> Answer:
    def answer(image: Image, key: str) -> Ran:
        found: Ran | None = _getent("group")(image, key)
        assert found is not None
        fields = found.stdout.decode().rstrip("\n").split(":")
        return said(fields[number]) if found.exit_code == 0 else Ran(0, b"", b"")

    return answer


ANSWERS: dict[str, Answer] = {
    "test -e %s": _test(lambda look: bool(look.kind)),
    "test -f %s": _kind("file"),
    "test -d %s": _kind("directory"),
    "test -p %s": _kind("pipe"),
    "test -S %s": _kind("socket"),
    "test -x %s": _test(lambda look: look.executable),
    "test -L %s": _test(lambda look: look.link, follows=False),
    "realpath %s": _realpath,
    "stat -Lc %%U %s": _stat(lambda look: look.user),
    "stat -Lc %%u %s": _stat(lambda look: str(look.uid)),
    "stat -Lc %%G %s": _stat(lambda look: look.group),
    "stat -Lc %%g %s": _stat(lambda look: str(look.gid)),
    "stat -Lc %%a %s": _stat(lambda look: f"{look.mode:o}"),
    "stat -Lc %%Y %s": _stat(lambda look: str(look.mtime)),
    "stat -Lc %%s %s": _stat(lambda look: str(look.size)),
    "stat -Lc %%i %s": _stat(lambda look: str(look.inode)),
    "cat -- %s": _content,
    "md5sum %s | cut -d' ' -f1": _digest("md5"),
    "sha256sum %s | cut -d ' ' -f 1": _digest("sha256"),
    "ls -1 -q -- %s": _listing,
    "grep -qs -- %s %s": _grep,
    "rpm -q --quiet %s 2>&1": _rpm_installed,
    'rpm -q --queryformat="%%{VERSION}" %s': _rpm(lambda package: package.version),
    'rpm -q --queryformat="%%{RELEASE}" %s': _rpm(lambda package: package.release),
    "id %s": _id(lambda image, user: f"uid={user[2]}({user[0]})"),
    "id -u %s": _id(lambda image, user: user[2]),
    "id -g %s": _id(lambda image, user: user[3]),
    "id -ng %s": _id(lambda image, user: _groups_of(image, user)[0].name),
    "id -G %s": _id(lambda image, user: " ".join(group.gid for group in _groups_of(image, user))),
    "id -nG %s": _id(lambda image, user: " ".join(group.name for group in _groups_of(image, user))),
    "getent passwd": _getent_all("passwd"),
    "getent passwd %s": _getent("passwd"),
    "getent shadow %s": _getent("shadow"),
    "getent group": _getent_all("group"),
    "getent group %s": _getent("group"),
    "getent group %s | cut -d':' -f3": _group_field(2),
    "getent group %s | cut -d':' -f4": _group_field(3),
}

READ_ONLY = frozenset(
    {
        *("command -v command", "command -v %s", "grep -qs -- %s %s", "uname -s", "uname -m"),
        *(template for template in ANSWERS if template.startswith("rpm -q ")),
    }
)
"""Templates that run in the image and change nothing there."""
