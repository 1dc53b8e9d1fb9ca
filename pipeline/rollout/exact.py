"""Whether a node is exactly a version: the node compares, and says only what differs.

Of every file type, mode, owner, size and link target are compared, and the content of those that stages
wrote; times are not. What is run there is for sh, find, awk and sha256sum of EL6 and newer.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from pipeline.cluster.shellscript import FILES
from pipeline.rollout.expected import Expected
from pipeline.rollout.ignoring import PRUNED, STRICT
from pipeline.store.tree import readable

TOLD = 20
"""Differences that are named."""

MOST = 5000
"""Lines of each kind that a node sends."""

SEPARATOR = "--"
"""Between what the version has and what the node has; no line of a path is without tabs."""

FOREIGN = ("nfs", "nfs4", "cifs", "lustre", "gpfs", "ceph", "fuse", "autofs", "proc", "sysfs", "cgroup")
"""Filesystems that are not of the node's disk."""

PACKAGES = r"rpm -qa --qf '%{NAME}\t%{EPOCH}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\n'"
NONE = "(none)"

FIELDS = ("type", "mode", "owner", "group", "size")

Kind = Literal["content", "missing", "changed", "extra"]
ORDER: tuple[Kind, ...] = ("content", "missing", "changed", "extra")

_AWK = (
    r"""
BEGIN { FS = "\t" }
$0 == "SEPARATOR" { on_node = 1; next }
!on_node { want[$1] = $2 FS $3; known[$1] = 1; next }
{
    path = $1
    if (path in want) {
        split($2, got, " ")
        found = got[1] " " got[2] " " got[3] " " got[4] " " (got[1] == "f" ? got[5] : "-") FS $3
        if (found != want[path] && changed++ < MOST) print "changed" FS path FS want[path] FS found
        delete want[path]
        next
    }
    if (path in known) next
    top = path
    sub(/\/.*/, "", top)
    if (index(" STRICT ", " " top " ") == 0 || top == path) next
    above = path
    sub(/\/[^\/]*$/, "", above)
    strange[path] = 1
    if (!(above in strange) && extra++ < MOST) print "extra" FS path
}
END {
    for (path in want) {
        above = path
        sub(/\/[^\/]*$/, "", above)
        if ((above == path || !(above in want)) && missing++ < MOST) print "missing" FS path
    }
    print "done" FS "files"
}
""".replace("MOST", str(MOST))
    .replace("SEPARATOR", SEPARATOR)
    .replace("STRICT", " ".join(STRICT))
)


class Difference(msgspec.Struct, frozen=True):
    """One path that is not as the version has it. ``was_written``: a stage wrote it, not the base."""

    kind: Kind
    path: str
    how: str = ""
    was_written: bool = False

    def __str__(self) -> str:
        how = {"content": "other content", "missing": "missing", "extra": "not of the version"}.get(self.kind)
        return f"/{self.path}: {self.how or how}"


def files_to_send(expected: Expected) -> tuple[tuple[str, bytes], ...]:
    """Names and contents that ``FILES_COMMAND`` needs on the node."""
    return (("files.gz", expected.files), ("sums.gz", expected.sums))


def files_command() -> str:
    """What compares on the node, and prints what differs."""
    pruned = " -o ".join(
        [
            *(f"-path {shlex.quote('./' + path)}" for path in PRUNED),
            *(f"-fstype {name}" for name in FOREIGN),
        ]
    )
    return f"""\
set -e
here={FILES}
cd /
{{
    gzip -dc "$here/files.gz"
    echo {SEPARATOR}
    find . '(' {pruned} ')' -prune -o -printf '%P\\t%y %m %U %G %s\\t%l\\n'
}} | awk {shlex.quote(_AWK)}
gzip -dc "$here/sums.gz" | sha256sum -c - 2>/dev/null | sed -n 's/^\\(.*\\): FAILED$/content\\t\\1/p'
printf 'done\\tsums\\n'
"""


def files_differ(printed: bytes, expected: Expected) -> tuple[Difference, ...] | None:
    """What ``files_command`` printed, most telling first; None when it did not come to its end."""
    lines = [[readable(word) for word in line.split(b"\t")] for line in printed.split(b"\n") if line]
    if [words[1] for words in lines if words[0] == "done"] != ["files", "sums"]:
        return None
    found = {
        (difference.path, difference.kind == "extra"): difference
        for words in lines
        if words[0] != "done" and not expected.left_out.match(words[1])
        for difference in [_difference(words, expected)]
    }
    return tuple(sorted(found.values(), key=_rank))


def packages_differ(printed: bytes, packages: Sequence[str]) -> tuple[str, ...]:
    """Packages that are missing, others, or too many: ``eswitchd-0.9 instead of eswitchd-0.10``."""
    there = set(_labels(printed.decode(errors="replace")))
    wanted = set(packages)
    if there == wanted:
        return ()
    gone, new = sorted(wanted - there), sorted(there - wanted)
    by_name = {_name(label): label for label in new}
    told = []
    for label in gone:
        instead = by_name.pop(_name(label), None)
        told.append(f"{instead} instead of {label}" if instead else f"{label} is missing")
    return (*told, *(f"{label} is not of the version" for label in by_name.values()))


def told(differences: Sequence[object], one: str, many: str) -> str:
    """The first of them, a line each, and how many there are: ``one`` is said of a single one."""
    lines = [
        f"{len(differences)} {one if len(differences) == 1 else many}",
        *(f"  {found}" for found in differences[:TOLD]),
    ]
    return "\n".join([*lines, "  …"] if len(differences) > TOLD else lines)


def _difference(words: Sequence[str], expected: Expected) -> Difference:
    kind, path, rest = words[0], words[1].removeprefix("/"), words[2:]
    was_written = path in expected.written
    if kind == "changed" and len(rest) >= 4:
        return Difference("changed", path, ", ".join(_fields(rest)), was_written)
    kinds: dict[str, Kind] = {"content": "content", "missing": "missing", "extra": "extra"}
    return Difference(kinds.get(kind, "changed"), path, "", was_written)


def _fields(rest: Sequence[str]) -> Iterator[str]:
    """``mode 644 instead of 640`` for each attribute that differs."""
    for name, wanted, there in zip(FIELDS, rest[0].split(), rest[2].split(), strict=False):
        if wanted != there:
            yield f"{name} {there} instead of {wanted}"
            if name == "type":
                return
    if rest[1] != rest[3]:
        yield f"link to {rest[3]} instead of {rest[1]}"


def _rank(found: Difference) -> tuple[bool, bool, int, str]:
    return found.kind == "extra", not found.was_written, ORDER.index(found.kind), found.path


def _labels(text: str) -> Iterator[str]:
    """As the store names packages: no epoch where that is 0, no architecture where there is none."""
    for line in text.splitlines():
        name, epoch, version, release, arch = line.split("\t")
        before = "" if epoch in (NONE, "0") else f"{epoch}:"
        yield f"{name}-{before}{version}-{release}{'' if arch == NONE else '.' + arch}"


def _name(label: str) -> str:
    """Name and architecture, which an update keeps."""
    return f"{label.rsplit('-', 2)[0]}.{label.rpartition('.')[2]}"
