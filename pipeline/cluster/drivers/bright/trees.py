"""The directories of images: an object whose copying failed or goes on is no image that nodes can have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pipeline.cluster.drivers.bright.parse import plain
from pipeline.cluster.drivers.bright.session import Session
from pipeline.cluster.objects import Properties, Ref, Wanted
from pipeline.errors import PipelineError, Problem

# $1: the root, then paths. The numbers of those that aren't there.
MISSING = r"""
root=${1%/}; shift; number=0
for path; do
  test -d "$root$path" || echo "$number"
  number=$((number + 1))
done
"""

COPYING = re.compile(r"copying\b.*->\s*(?P<path>/\S+)", re.IGNORECASE)
"""A line of `provisioningstatus`; how it is worded is not documented."""


def refuse_missing(session: Session, wanted: Iterable[Wanted], top: Mapping[Ref, Properties]) -> None:
    """Raise with all wanted images that are there and have no tree, or one that is still being copied.

    Only what the file itself clones is advised to be removed: an apply makes it again.
    """
    wanted = tuple(wanted)
    cloned = {item.ref for item in wanted if item.source}
    refs = [item.ref for item in wanted if item.ref.kind == "image" and item.ref in top]
    paths = [str(top[ref].get("path", "")) for ref in refs]
    if not refs:
        return
    head = session.head
    ran = head.run(("sh", "-c", MISSING, "sh", head.root, *paths), seconds=head.answer_seconds)
    missing = {refs[int(line)] for line in ran.out.split() if line.isdigit()}
    copying = _copying(session)
    problems = [
        Problem(
            f"its tree is still being copied to {path}", str(ref), "plan again when CMDaemon has copied it"
        )
        for ref, path in zip(refs, paths, strict=True)
        if path in copying
    ]
    problems += [
        Problem(
            f"its directory {path} is not there",
            str(ref),
            "it is not made by this file: mount it or put it back, or give the image its directory",
        )
        for ref, path in zip(refs, paths, strict=True)
        if ref in missing and ref not in cloned and path not in copying
    ]
    problems += [
        Problem(
            f"its directory {path} is not there: it was copied only in part, or not at all",
            str(ref),
            "remove the object by hand and apply again",
            f"cmsh -c 'softwareimage; remove -d {ref.name}; commit'",
        )
        for ref, path in zip(refs, paths, strict=True)
        if ref in missing and ref in cloned and path not in copying
    ]
    if problems:
        raise PipelineError(problems)


def _copying(session: Session) -> set[str]:
    """Where trees are being copied to; nothing where cmsh doesn't tell."""
    ran = session.run("softwareimage\nprovisioningstatus\n", seconds=session.head.answer_seconds)
    return {match["path"] for match in COPYING.finditer(plain(ran.out))}
