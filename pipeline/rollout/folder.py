"""Where rollouts are kept: ``STORE/clusters/NAME/rollouts/rollout-N``, with the order, the journal and logs.

Whoever runs a rollout holds its lock; the kernel lets go of it when that process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, Problem, UsageError
from pipeline.rollout.commands import command, command_of
from pipeline.rollout.journal import (
    BY_HAND,
    UNREADABLE,
    DamagedError,
    Journal,
    events,
    is_ended,
    readable,
)
from pipeline.rollout.model import Order
from pipeline.rollout.states import STATES, Event, Progress, after
from pipeline.store.filesystem import sync_directory, write_whole

NAME = re.compile(r"rollout-(\d+)")
ORDER, JOURNAL, LOCK, ABORT = "order.json", "journal.jsonl", "running", "abort"
ABORT_LOCK = "abort.lock"
LOGS = "logs"


class Kept(msgspec.Struct, frozen=True):
    """A rollout on disk, as it was when it was read. ``is_running``: a process works on it."""

    folder: Path
    order: Order
    progress: Progress
    is_running: bool

    @property
    def is_unfinished(self) -> bool:
        return self.progress.outcome != "ended"


def rollouts(store: Path, cluster: str) -> Path:
    """The folder of all rollouts of a cluster."""
    return store / "clusters" / cluster / "rollouts"


def folder_of(place: Path, number: int) -> Path:
    """That of one of them, which need not be there."""
    return place / f"rollout-{number}"


def number_of(folder: Path) -> int:
    """The number of the rollout in ``folder``."""
    return int(folder.name.rpartition("-")[2])


def cluster_of(folder: Path) -> str:
    """The cluster of the rollout in ``folder``, whatever else of it can be read."""
    return folder.parents[1].name


def numbers(place: Path) -> list[int]:
    """The rollouts that there are, oldest first."""
    names = os.listdir(place) if place.is_dir() else []
    return sorted(int(found[1]) for name in names if (found := NAME.fullmatch(name)))


def read(place: Path, number: int) -> Kept:
    """One of them. Raises ``UsageError`` when there is none of this number, ``DamagedError`` when it can't be
    read."""
    folder = folder_of(place, number)
    if not folder.is_dir():
        known = ", ".join(map(str, numbers(place))) or "none"
        raise UsageError(f"there is no rollout {number} (there are: {known})", where=str(place))
    try:
        order = order_of(folder)
        running = is_running(folder)  # first: what it writes until then is read as well
        progress = after((node.name for node in order.nodes), events(folder / JOURNAL))
    except DamagedError as error:
        raise _with_next_step(error, folder) from None
    return Kept(folder, order, progress, running)


def order_of(folder: Path) -> Order:
    """What was agreed. Raises ``DamagedError`` when it can't be read."""
    file = folder / ORDER
    try:
        return msgspec.json.decode(file.read_bytes(), type=Order)
    except FileNotFoundError:
        raise DamagedError("the order of the rollout is gone", where=str(file), hint=BY_HAND) from None
    except UNREADABLE as error:
        what = f"the order of the rollout is damaged: {error}"
        raise DamagedError(what, where=str(file), hint=BY_HAND) from None


def _with_next_step(error: DamagedError, folder: Path) -> DamagedError:
    """The same with what is known of the nodes, and how to give the rollout up."""
    [problem] = error.problems
    known = lost(folder).states()
    told = f"the last that is known: {known}; " if known else ""
    command = None if is_at_its_end(folder) else abort_command(folder)
    return DamagedError(problem.message, where=problem.where, hint=f"{told}{BY_HAND}", command=command)


class Lost(msgspec.Struct, frozen=True):
    """What is known of a rollout that can't be read as a whole: ``order`` is None when that is damaged,
    ``progress`` what comes of the lines of the journal that can be read."""

    folder: Path
    order: Order | None
    progress: Progress

    def states(self) -> str:
        """How its nodes were last: ``released: node001; rebooting: node002``; "" when nothing is known."""
        from pipeline.cluster.nodesets import folded

        return "; ".join(
            f"{state}: {folded(names)}" for state in STATES if (names := self.progress.named(state))
        )


def lost(folder: Path) -> Lost:
    """What can be known of a damaged rollout. Without its order these are the nodes that had their turn."""
    told = list(readable(folder / JOURNAL))
    try:
        order = order_of(folder)
        names = [node.name for node in order.nodes]
    except DamagedError:
        order, names = None, list(dict.fromkeys(event.node for event in told if event.node))
    return Lost(folder, order, after(names, told))


def is_at_its_end(folder: Path) -> bool:
    """Whether the journal ends so, whatever else of the rollout can be read."""
    return is_ended(folder / JOURNAL)


def abort_command(folder: Path) -> str:
    """The command that gives up the rollout in ``folder``."""
    return command("abort", cluster_of(folder), number_of(folder))


def abandon(folder: Path, who: str) -> Lost:
    """End a damaged rollout that nobody runs, so that others may have its nodes. Nothing is undone: what was
    done to them is not known well enough."""
    with held(folder) as journal:
        found = lost(folder)
        journal.write([Event(time.time(), word="ended", why=f"given up by {who}: it could not be read")])
    return found


def last(place: Path) -> Kept | None:
    """The newest one; None when there was none yet."""
    found = numbers(place)
    return read(place, found[-1]) if found else None


def folders_of_all(clusters: Path) -> list[Path]:
    """Those of all rollouts of all clusters, at their end or not."""
    places = sorted(clusters.glob("*/rollouts")) if clusters.is_dir() else []
    return [folder_of(place, number) for place in places for number in numbers(place)]


def unfinished(store: Path) -> list[Kept | Lost]:
    """Of all clusters: those that have not come to their end, running or not, and readable or not."""
    folders = folders_of_all(store / "clusters")
    return _unfinished([(folder.parent, number_of(folder)) for folder in folders])


def unfinished_in(place: Path) -> list[Kept | Lost]:
    """The same of one cluster, oldest first."""
    return _unfinished([(place, number) for number in numbers(place)])


def _unfinished(rollouts: Iterable[tuple[Path, int]]) -> list[Kept | Lost]:
    left = [one for one in rollouts if not is_at_its_end(folder_of(*one))]
    found = [read_or_lost(place, number) for place, number in left]
    return [one for one in found if isinstance(one, Lost) or one.is_unfinished]


def read_or_lost(place: Path, number: int) -> Kept | Lost:
    """One that there is, or what can be known of it."""
    try:
        return read(place, number)
    except DamagedError:
        return lost(folder_of(place, number))


def begin(store: Path, order: Order) -> Path:
    """Keep a new order, under the next number; returns its folder.

    Raises ``UsageError`` when nodes of it are in another rollout that is not at its end.
    """
    place = rollouts(store, order.cluster)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(store / "clusters"):
        refuse_overlap(store, order)
        number = max(numbers(place), default=0) + 1
        new = place / f".new-{number}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        (new / LOGS).mkdir()
        (new / LOCK).touch()
        (new / JOURNAL).touch()
        write_whole(new / ORDER, msgspec.json.encode(msgspec.structs.replace(order, number=number)))
        sync_directory(new)
        # Stopped here: the folder has a name that nobody looks at, and is made anew.
        new.rename(folder_of(place, number))
        sync_directory(place)
    return folder_of(place, number)


def refuse_overlap(store: Path, order: Order, but: Path | None = None) -> None:
    """Raise ``UsageError`` with each unfinished rollout that has nodes of this one, ``but`` for that of this
    folder, which is given up for it."""
    names = {node.name for node in order.nodes}
    problems = []
    for kept in unfinished(store):
        if kept.folder == but:
            continue
        theirs = {node.name for node in kept.order.nodes} if kept.order else names
        if shared := sorted(names & theirs):
            problems.append(_damaged(kept, shared) if isinstance(kept, Lost) else _overlap(kept, shared))
    if problems:
        raise UsageError(problems)


def _damaged(lost: Lost, shared: list[str]) -> Problem:
    from pipeline.cluster.nodesets import folded

    cluster, known = cluster_of(lost.folder), lost.states()
    which = f"rollout {number_of(lost.folder)} of {cluster}"
    return Problem(
        f"{folded(shared)}: {which}, to which they belong, can't be read"
        if lost.order
        else f"{which} can't be read, and which nodes belong to it is not known",
        str(lost.folder),
        f"{f'the last that is known: {known}; ' if known else ''}see how they are, and give it up (abort)",
        abort_command(lost.folder),
    )


def _overlap(kept: Kept, shared: list[str]) -> Problem:
    from pipeline.cluster.nodesets import folded

    order = kept.order
    how = "is running" if kept.is_running else "has not come to its end"
    return Problem(
        f"{folded(shared)}: rollout {order.number} of {order.cluster}, to which they belong, {how}",
        str(kept.folder),
        "wait for it" if kept.is_running else "resume it, take it back (rollback) or give it up (abort)",
        command_of("status", order),
    )


def is_running(folder: Path) -> bool:
    """Whether a process holds its lock."""
    try:
        with open(folder / LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def held(folder: Path) -> Iterator[Journal]:
    """Be the one who runs it; whoever was asked to stop before is forgotten.

    Raises ``PipelineError`` when another process runs it.
    """
    with open(folder / LOCK, "a") as lock:
        # Nobody asks between the two: that was said to whoever holds the lock now.
        with _abort_held(folder):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PipelineError(
                    "another process runs this rollout",
                    where=str(folder),
                    command=command("status", cluster_of(folder), number_of(folder)),
                ) from None
            (folder / ABORT).unlink(missing_ok=True)
        journal = Journal(folder / JOURNAL)
        try:
            yield journal
        finally:
            journal.close()


def ask_to_abort(folder: Path, who: str) -> None:
    """Have whoever runs it begin nothing new."""
    with _abort_held(folder):
        write_whole(folder / ABORT, f"{who}\n".encode())


def asked_to_abort(folder: Path) -> str:
    """Who asked for it; "" when nobody did."""
    try:
        return (folder / ABORT).read_text().strip() or "somebody"
    except FileNotFoundError:
        return ""


@contextmanager
def _abort_held(folder: Path) -> Iterator[None]:
    with open(folder / ABORT_LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def alone(clusters: Path) -> Iterator[None]:
    """Be the only one of all clusters who begins a rollout, or takes nodes for one."""
    with open(clusters / "rollouts.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
