"""Where rollouts are kept: ``STORE/clusters/NAME/rollouts/rollout-N``, with the order, the journal and logs.

Whoever runs a rollout holds its lock; the kernel lets go of it when that process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, Problem, UsageError
from pipeline.rollout.journal import Journal, events, is_ended
from pipeline.rollout.model import Order
from pipeline.rollout.states import Progress, after
from pipeline.store.filesystem import sync_directory, write_whole

NAME = re.compile(r"rollout-(\d+)")
ORDER, JOURNAL, LOCK, ABORT = "order.json", "journal.jsonl", "running", "abort"
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


def numbers(place: Path) -> list[int]:
    """The rollouts that there are, oldest first."""
    names = os.listdir(place) if place.is_dir() else []
    return sorted(int(found[1]) for name in names if (found := NAME.fullmatch(name)))


def read(place: Path, number: int) -> Kept:
    """One of them. Raises ``UsageError`` when there is none of this number."""
    folder = place / f"rollout-{number}"
    try:
        order = msgspec.json.decode((folder / ORDER).read_bytes(), type=Order)
    except FileNotFoundError:
        known = ", ".join(map(str, numbers(place))) or "none"
        raise UsageError(f"there is no rollout {number} (there are: {known})", where=str(place)) from None
    except msgspec.MsgspecError as error:
        raise PipelineError(
            f"the order of the rollout is damaged: {error}",
            where=str(folder / ORDER),
            hint="see in the cluster manager how the nodes are; this rollout can't go on by itself",
        ) from None
    running = is_running(folder)  # first: what it writes until then is read as well
    progress = after((node.name for node in order.nodes), events(folder / JOURNAL))
    return Kept(folder, order, progress, running)


def last(place: Path) -> Kept | None:
    """The newest one; None when there was none yet."""
    found = numbers(place)
    return read(place, found[-1]) if found else None


def unfinished(store: Path) -> list[Kept]:
    """Of all clusters: those that have not come to their end, running or not."""
    clusters = store / "clusters"
    places = sorted(clusters.glob("*/rollouts")) if clusters.is_dir() else []
    open_ = [
        (place, number)
        for place in places
        for number in numbers(place)
        if not is_ended(place / f"rollout-{number}" / JOURNAL)
    ]
    return [kept for kept in (read(*each) for each in open_) if kept.is_unfinished]


def begin(store: Path, order: Order) -> Path:
    """Keep a new order, under the next number; returns its folder.

    Raises ``UsageError`` when nodes of it are in another rollout that is not at its end.
    """
    place = rollouts(store, order.cluster)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(store / "clusters"):
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
        new.rename(place / f"rollout-{number}")
        sync_directory(place)
    return place / f"rollout-{number}"


def refuse_overlap(store: Path, order: Order, but: Path | None = None) -> None:
    """Raise ``UsageError`` with each unfinished rollout that has nodes of this one, ``but`` for that of this
    folder, which is given up for it."""
    names = {node.name for node in order.nodes}
    problems = []
    for kept in unfinished(store):
        if kept.folder == but:
            continue
        shared = sorted(names & {node.name for node in kept.order.nodes})
        if shared:
            problems.append(_overlap(kept, shared))
    if problems:
        raise UsageError(problems)


def _overlap(kept: Kept, shared: list[str]) -> Problem:
    from pipeline.cluster.nodesets import folded

    order = kept.order
    how = "is running" if kept.is_running else "has not come to its end"
    return Problem(
        f"{folded(shared)}: rollout {order.number} of {order.cluster}, to which they belong, {how}",
        str(kept.folder),
        "wait for it" if kept.is_running else "resume it, take it back (rollback) or give it up (abort)",
        f"pipeline rollout status {order.cluster}",
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
    """Be the one who runs it. Raises ``PipelineError`` when another process does."""
    with open(folder / LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(
                "another process runs this rollout",
                where=str(folder),
                command=f"pipeline rollout status {folder.parents[1].name}",
            ) from None
        journal = Journal(folder / JOURNAL)
        try:
            yield journal
        finally:
            journal.close()


def ask_to_abort(folder: Path, who: str) -> None:
    """Have whoever runs it begin nothing new."""
    write_whole(folder / ABORT, f"{who}\n".encode())


def asked_to_abort(folder: Path) -> str:
    """Who asked for it; "" when nobody did."""
    try:
        return (folder / ABORT).read_text().strip() or "somebody"
    except FileNotFoundError:
        return ""


def forget_abort(folder: Path) -> None:
    (folder / ABORT).unlink(missing_ok=True)


@contextmanager
def _alone(clusters: Path) -> Iterator[None]:
    with open(clusters / "rollouts.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
