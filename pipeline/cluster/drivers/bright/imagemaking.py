"""An image object for a directory that is there already: a published version's.

A clone has the source's kernel, modules and console; but cloning copies the source's tree to the path that
the clone has when it is committed. Nothing may be copied into what is published, so the clone is committed
with a path of its own first. That directory is removed last: as long as it is there, not all is done.

Others may make the same image at the same time: who comes later waits for their copy, and goes on with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from pipeline.cluster.drivers.bright import write as writing
from pipeline.cluster.drivers.bright.parse import plain
from pipeline.cluster.drivers.bright.quote import argument, unsafe, unsafe_name
from pipeline.cluster.drivers.bright.read import List, tables
from pipeline.cluster.drivers.bright.session import Session
from pipeline.cluster.drivers.bright.steps import RAMDISK, WAITS, Step
from pipeline.cluster.drivers.bright.trees import copying
from pipeline.cluster.drivers.nodes import begun_at
from pipeline.cluster.objects import Ref
from pipeline.errors import MachineError, PipelineError, Problem
from pipeline.kernel_words import parameters_in

OTHERS_SECONDS = 30.0
"""How long somebody else who is making an image may take between two commits of it."""

PAUSE = 1.0

# $1: the root, $2: the path.
GONE = 'rm -rf --one-file-system -- "${1%/}$2"'
THERE = 'test -d "${1%/}$2"'


def make_image(
    session: Session,
    name: str,
    source: str,
    path: str,
    parameters: Sequence[str],
    without: Sequence[str] = (),
) -> None:
    """Have it; see ``NodeManager.make_image``."""
    _refuse(name, source, path, parameters)
    _refuse_missing(session, path)
    scratch = begun_at(name, path)

    def made(grace: float) -> bool:
        there = _settled(session, name, scratch, grace)
        is_begun = _is_there(session, scratch)
        step = _made(there, name, source, path, parameters, without, scratch, is_begun=is_begun)
        if step is None:
            return is_begun
        try:
            writing.run(session, [step])
        except MachineError:
            raise
        except PipelineError:
            if name in there or name not in _images(session):
                raise
            return made(OTHERS_SECONDS)  # somebody has made it since, or is about to
        return True

    is_left = made(0.0)
    there = _images(session)
    # Stopped before here: the next call finds the image with one of the two paths, or its copy, and goes on.
    if is_left:
        _remove(session, scratch)
    has = there.get(name)
    if has is None or has[0] != path or _missing(has[1], parameters):
        raise PipelineError(
            f"it has path {has[0] if has else 'none'!r} and not {path!r}, or lacks kernel parameters",
            where=f"image/{name}",
        )


def _settled(session: Session, name: str, scratch: str, grace: float) -> dict[str, tuple[str, str]]:
    """All images, as soon as nobody copies this one to ``scratch`` any more.

    ``grace``: somebody is making it right now, and for so long is given the time to go on after that.
    """
    end = time.monotonic() + grace
    while True:
        there = _images(session)
        if there.get(name, ("", ""))[0] != scratch:
            return there
        if scratch in copying(session):
            end = time.monotonic() + grace
        elif time.monotonic() >= end:
            return there
        time.sleep(PAUSE)


def drop_begun(session: Session, name: str, path: str) -> None:
    """Take away what was begun; see ``NodeManager.drop_begun``."""
    _refuse(name, name, path, ())
    scratch = begun_at(name, path)
    has, _ = _images(session).get(name, ("", ""))
    if has == scratch:
        _drop(session, name, scratch)
    elif not _is_there(session, scratch):
        return
    elif has == path:
        writing.run(session, [_step(name, f"use {name}", [RAMDISK], Ref("image", name))])
    _remove(session, scratch)


def _drop(session: Session, name: str, scratch: str) -> None:
    where = str(Ref("image", name))
    if scratch in copying(session):
        raise PipelineError(f"its tree is still being copied to {scratch}", where=where)
    lines = f"softwareimage\nremove {argument(name)}\ncommit\n"
    ran = session.run(lines, seconds=session.head.answer_seconds)
    if name in _images(session):
        said = " / ".join((plain(ran.out) + ran.err).split("\n")[-4:]).strip()
        raise PipelineError(f"it could not be removed: {said or 'cmsh said nothing'}", where=where)


def _made(
    there: Mapping[str, tuple[str, str]],
    name: str,
    source: str,
    path: str,
    parameters: Sequence[str],
    without: Sequence[str],
    scratch: str,
    *,
    is_begun: bool,
) -> Step | None:
    """What is left to be done; None: nothing."""
    ref = Ref("image", name)
    if name in there:
        has, words = there[name]
        if has not in (path, scratch):
            raise PipelineError(
                f"there is an image of this name at {has}, and not at {path}",
                where=str(ref),
                hint="remove that object, or have it at this path; its directory is not touched",
                command=f"cmsh -c 'softwareimage; set {name} path {path}; commit'",
            )
        todo = [*([_path(path)] if has != path else []), *_parameters(words, parameters)]
        lines = [*todo, *(["commit"] if todo else []), *([RAMDISK] if is_begun or has != path else [])]
        return _step(name, f"use {name}", lines, ref) if lines else None
    if source not in there:
        raise PipelineError(f"the image {source} is not there, so {name} can't be cloned from it")
    first = (_path(scratch), *_parameters(there[source][1], parameters, without), WAITS)
    return _step(name, f"clone {source} {name}", (*first, _path(path), "commit", RAMDISK), ref)


def _step(name: str, opened: str, lines: Sequence[str], ref: Ref) -> Step:
    return Step("softwareimage", name, opened, tuple(lines), "get name", re.escape(name), (ref,))


def _path(path: str) -> str:
    return f"set path {argument(path)}"


def _missing(has: str, wanted: Sequence[str]) -> list[str]:
    there = parameters_in(has)
    return [word for word in wanted if word not in there]


def _parameters(has: str, wanted: Sequence[str], without: Sequence[str] = ()) -> list[str]:
    there = parameters_in(has)
    words = (*(word for word in there if word not in without), *_missing(has, wanted))
    return [f"set kernelparameters {argument(' '.join(words))}"] if words != there else []


def _images(session: Session) -> dict[str, tuple[str, str]]:
    """Path and kernel parameters of each image."""
    (found,) = tables(session, [List("softwareimage", ("name", "path", "kernelparameters"))])
    return {str(row["name"]): (str(row["path"]), str(row["kernelparameters"] or "")) for row in found[""]}


def _refuse(name: str, source: str, path: str, parameters: Sequence[str]) -> None:
    where = f"image/{name}"
    problems = [Problem(f"{one!r} {why}", where) for one in (name, source) if (why := unsafe_name(one))]
    problems += [Problem(f"{one!r} {why}", where) for one in (path, *parameters) if (why := unsafe(one))]
    if problems:
        raise PipelineError(problems)


def _refuse_missing(session: Session, path: str) -> None:
    if not _is_there(session, path):
        raise PipelineError(
            f"the directory {path} is not there", where=session.head.label, hint="publish the version first"
        )


def _is_there(session: Session, path: str) -> bool:
    head = session.head
    ran = head.run(("sh", "-c", THERE, "sh", head.root, path), seconds=head.answer_seconds)
    return ran.code == 0


def _remove(session: Session, scratch: str) -> None:
    head = session.head
    ran = head.run(("sh", "-c", GONE, "sh", head.root, scratch))
    if ran.code:
        raise PipelineError(f"{scratch} could not be removed: {ran.err.strip()}", where=head.label)
