"""Calls of wwctl and what they print."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from pipeline.cluster.head import Head, Ran
from pipeline.errors import MachineError, PipelineError

MISSING = 126
ENDED_WITH_255 = 1

CAREFUL = (
    f"command -v wwctl >/dev/null || exit {MISSING}\n"
    f'"$@"; code=$?; [ "$code" != 255 ] || code={ENDED_WITH_255}; exit "$code"'
)
"""wwctl ends with 255 when it refuses something, and so does ssh when it can't connect."""

PROBLEM = re.compile(
    r"^(?:ERROR|Error)\s*:?\s+(.+)$"
    r"|^WARN(?:ING)?\s*:\s*(invalid (?:node|profile).*|no (?:nodes|profiles|nodes/profiles) found.*)$"
    r"|^(No (?:nodes|profiles) found)\b",
    re.MULTILINE,
)
"""An error, or a warning that nothing was done. There are other warnings, of no concern to a call."""

# $1: the directory, $2: the image. Processes that import the one as the other.
IMPORTING = """
grep -lzxF -e "$2" /proc/[0-9]*/cmdline 2> /dev/null | while read -r file; do
    for word in image import "$1"; do
        grep -qzxF -e "$word" "$file" 2> /dev/null || continue 2
    done
    file=${file%/*}
    echo "${file##*/}"
done
"""

NEVER_BUILT = re.compile(r"(?:01 Jan 70|31 Dec 69) \d\d:\d\d \S+")
"""The time 0, in any time zone, as Go's time.RFC822."""


class NetDev(msgspec.Struct, frozen=True):
    """A network device of a node or profile."""

    device: str = ""
    type: str = ""
    ipaddr: str = ""


class Profile(msgspec.Struct, frozen=True):
    """A profile, or a node merged with its profiles. ``raw`` is all that wwctl said of it."""

    image: str
    profiles: tuple[str, ...]
    args: tuple[str, ...]
    netdevs: Mapping[str, NetDev]
    primary: str
    raw: Mapping[str, Any]


class Image(msgspec.Struct, frozen=True):
    """An image in the list. ``kernel`` is empty when it has none."""

    name: str
    kernel: str
    built: bool


class Wwctl(msgspec.Struct, frozen=True):
    """wwctl on the head node."""

    head: Head

    def run(self, *argv: str, where: str = "", seconds: float | None = None) -> Ran:
        """Run it. Raises ``PipelineError`` with what it says when it fails or warns, ``where`` it did."""
        ran = self._run("wwctl", *argv, seconds=seconds)
        said = complaint(ran)
        if said:
            raise PipelineError(
                f"wwctl {argv[0]} {argv[1]}: {said}", where=where or self.head.label, hint=_hint(said)
            )
        return ran

    def _run(self, *argv: str, seconds: float | None = None) -> Ran:
        ran = self.head.run(("sh", "-c", CAREFUL, "sh", *argv), seconds=seconds)
        if ran.code == MISSING:
            raise MachineError(
                "the program 'wwctl' is missing",
                where=self.head.label,
                hint="is this Warewulf's server? The site file's [head] says where its programs are",
            )
        return ran

    def images(self) -> dict[str, Image]:
        """All images by name."""
        ran = self._run("wwctl", "image", "list", "--long")
        if ran.code or not re.search(r"^\s*IMAGE NAME\b", ran.out, re.MULTILINE):
            self._too_old("image list --long", complaint(ran) or ran.out)
        rows = [re.split(r"\s{2,}", line.strip()) for line in ran.out.splitlines()]
        start = next(number for number, row in enumerate(rows) if row[0] == "IMAGE NAME")
        return {row[0]: _image(row) for row in rows[start + 1 :] if row[0] and row[0].strip("-")}

    def profiles(self) -> dict[str, Profile]:
        """All profiles by name, as they are themselves."""
        return self._listed("profile")

    def nodes(self) -> dict[str, Profile]:
        """All nodes by name, merged with their profiles."""
        return self._listed("node")

    def _listed(self, what: str) -> dict[str, Profile]:
        try:
            found = msgspec.json.decode(self._json(what), type=dict[str, dict[str, Any]])
            return {name: _profile(plain_keys(raw)) for name, raw in found.items()}
        except (msgspec.DecodeError, TypeError, AttributeError) as error:
            self._too_old(f"{what} list --json", str(error))

    def _json(self, what: str) -> str:
        ran = self._run("wwctl", what, "list", "--json")
        if ran.code:
            self._too_old(f"{what} list --json", complaint(ran))
        # Warnings may come before and behind.
        start = re.search(r"^[{\[]", ran.out, re.MULTILINE)
        end = max(ran.out.rfind("\n}"), ran.out.rfind("\n]"))
        text = ran.out[start.start() :] if start else ran.out
        return text if end < 0 or start is None or end < start.start() else ran.out[start.start() : end + 2]

    def _too_old(self, what: str, said: str) -> NoReturn:
        raise MachineError(
            f"wwctl {what} did not answer as Warewulf 4.6 and newer do: {said.strip()[:300] or 'nothing'}",
            where=self.head.label,
            hint="wwctl version says what is installed; older ones must be upgraded",
        )

    def importing(self, path: str, image: str) -> list[str]:
        """The numbers of processes on the head node that import ``path`` as ``image``."""
        return self.head.run(("sh", "-c", IMPORTING, "sh", path, image)).out.split()

    def real_paths(self, paths: Sequence[str]) -> dict[str, str]:
        """Where each of these paths on the head node leads to; one that leads nowhere is left out."""
        if not paths:
            return {}
        script = 'for path; do readlink -e -- "$path" || echo; done'
        ran = self.head.run(("sh", "-c", script, "sh", *paths))
        return {path: real for path, real in zip(paths, ran.out.splitlines(), strict=False) if real}


def complaint(ran: Ran) -> str:
    """What wwctl complained about; empty: nothing. A warning counts: unknown names are no more than that."""
    said = [next(filter(None, match)) for match in PROBLEM.findall(f"{ran.err}\n{ran.out}")]
    if said:
        return "; ".join(dict.fromkeys(line.strip() for line in said))
    # A release that knows no such command says so and shows how to use it.
    return (ran.err.strip() or ran.out.strip() or f"it ended with {ran.code}") if ran.code else ""


def _hint(said: str) -> str | None:
    if "ermission denied" in said:
        return "wwctl must run as root"
    return None


def _image(row: Sequence[str]) -> Image:
    kernel = row[2] if len(row) == 6 and row[2] != "--" else ""
    return Image(row[0], kernel, not any(NEVER_BUILT.fullmatch(cell) for cell in row))


WORDS = {"network devices": "netdevs", "primary network": "primarynetdev", "onbot": "onboot"}


def plain_keys(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What has a value, by keys for all releases: ``image name`` and ``ImageName`` are ``imagename``."""
    return {WORDS.get(key, key.replace(" ", "").lower()): value for key, value in raw.items() if value}


def _profile(raw: Mapping[str, Any]) -> Profile:
    return Profile(
        image=str(raw.get("imagename", "")),
        profiles=tuple(map(str, raw.get("profiles", ()))),
        args=tuple(map(str, plain_keys(raw.get("kernel", {})).get("args", ()))),
        netdevs={name: _netdev(plain_keys(dev or {})) for name, dev in raw.get("netdevs", {}).items()},
        primary=str(raw.get("primarynetdev", "")),
        raw=raw,
    )


def _netdev(raw: Mapping[str, Any]) -> NetDev:
    named = ("device", "type", "ipaddr")
    return NetDev(**{key: str(raw.get(key, "")) for key in named})
