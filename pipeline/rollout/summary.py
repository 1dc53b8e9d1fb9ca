"""What is told of a rollout: arithmetic on its order, how its nodes are, and the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Literal

import msgspec

from pipeline.rollout.commands import command, command_of, quoted, start_again
from pipeline.rollout.model import Node, Order
from pipeline.rollout.states import STATES, WAYS, NodeProgress, Progress, State, Way

IN = {
    "waiting": "before its turn",
    "preparing": "while its turn was prepared for",
    "prepared": "while its image was being set",
    "switched": "while it was about to be rebooted",
    "rebooting": "before its installation began",
    "installing": "while it was being installed",
    "up": "while the proof of its installation was waited for",
    "provisioned": "while it was being verified",
    "verified": "while it was being released",
}
"""When a node failed, by the state that it was in."""

HAS_OLD: tuple[State, ...] = ("waiting", "preparing", "prepared", "switched")
HAS_NEW: tuple[State, ...] = ("provisioned", "verified", "released")

Tail = Callable[[str], str]
"""The last line of a log."""

How = Literal["running", "interrupted", "stopped", "ended"]


class Failure(msgspec.Struct, frozen=True):
    """Why a node failed on a ``way``, in which state; ``line`` is the last one of its ``log``."""

    node: str
    way: Way
    failed_in: State
    why: str
    checks: tuple[str, ...] = ()
    log: str = ""
    line: str = ""

    def __str__(self) -> str:
        back = " on its way back" if self.way == "back" else ""
        checks = f" ({', '.join(self.checks)})" if self.checks else ""
        return f"{IN.get(self.failed_in, self.failed_in)}{back}: {self.why}{checks}"


class Said(msgspec.Struct, frozen=True):
    """What is said of several nodes alike: what they wait for, or a note."""

    text: str
    nodes: tuple[str, ...]


class Following(msgspec.Struct, frozen=True):
    """A command that can be run next, and what it does."""

    command: str
    what: str


class Summary(msgspec.Struct, frozen=True):
    """All that is told. ``by_state`` has only states in which there are nodes, in the order of ``STATES``,
    and nodes on their way back, or back, apart from the others.

    ``seconds_left`` is None while nothing is known about it: no node is through yet. ``taken_back`` are nodes
    that failed and are on their way back, or back.
    """

    how: How
    by_state: Mapping[tuple[State, Way], tuple[str, ...]]
    batch: int
    batches: int
    seconds: float
    seconds_left: float | None
    failed: tuple[Failure, ...]
    taken_back: tuple[Failure, ...]
    waits: tuple[Said, ...]
    notes: tuple[Said, ...]
    following: tuple[Following, ...]

    @property
    def counts(self) -> dict[State, int]:
        """How many nodes are in each state."""
        return {state: sum(len(self.by_state.get((state, way), ())) for way in WAYS) for state in STATES}


def _silent(log: str) -> str:
    return ""


def summarize(
    order: Order, progress: Progress, now: float, *, is_running: bool = True, tail: Tail = _silent
) -> Summary:
    """What to tell at ``now`` (seconds since 1970). ``is_running``: a process works on it."""
    how: How = progress.outcome or ("running" if is_running else "interrupted")
    end = now if how == "running" else (progress.ended or _last_change(progress) or now)
    failures = [(node, failures_of(name, node, tail)) for name, node in progress.nodes.items() if _fell(node)]
    return Summary(
        how=how,
        by_state=by_state(progress),
        batch=progress.batch,
        batches=len(order.batches),
        seconds=max(0.0, end - progress.began) if progress.began else 0.0,
        seconds_left=time_left(order, progress, now) if how == "running" else None,
        failed=tuple(found[-1] for node, found in failures if node.state == "failed"),
        taken_back=tuple(found[-1] for node, found in failures if node.state != "failed"),
        waits=waits(progress),
        notes=_same((name, note) for name, node in progress.nodes.items() for note in node.notes),
        following=following(order, progress, how),
    )


def by_state(progress: Progress) -> dict[tuple[State, Way], tuple[str, ...]]:
    """The nodes in each state that has some, by the way that they are on."""
    found: dict[tuple[State, Way], list[str]] = {(state, way): [] for state in STATES for way in WAYS}
    for name, node in progress.nodes.items():
        found[node.state, node.way].append(name)
    return {at: tuple(names) for at, names in found.items() if names}


def shown(state: State, way: Way) -> str:
    """A state as people read it: what was taken back has not the new version."""
    return f"{state} (back)" if way == "back" else state


def failures_of(name: str, node: NodeProgress, tail: Tail = _silent) -> tuple[Failure, ...]:
    """Each time that a node failed, the first one first."""
    earlier = failures_of(name, node.before, tail) if node.before else ()
    if node.failed_in is None:
        return earlier
    line = tail(node.log) if node.log else ""
    return (
        *earlier,
        Failure(name, node.way, node.failed_in, node.why, node.failed_checks, node.log, line),
    )


def waits(progress: Progress) -> tuple[Said, ...]:
    """What nodes wait for that have neither failed nor come to their end."""
    return _same(
        (name, node.why) for name, node in progress.nodes.items() if node.why and not node.is_settled
    )


def time_left(order: Order, progress: Progress, now: float) -> float | None:
    """Seconds until the end if all goes on as until now; None: no node is through yet.

    The nodes of a batch go side by side, one batch after the other; each is taken to need what half of those
    that are through needed. Nothing is begun after a failure that takes nodes back, or an abort.
    """
    through = [taken for node in progress.nodes.values() if (taken := duration(node)) is not None]
    if not through:
        return None
    typical = median(through)
    left = [typical - (now - began(node)) for node in progress.nodes.values() if node.is_moving]
    current = max([0.0, *left])
    if progress.is_going_back or progress.is_aborting:
        return current
    nodes = progress.nodes
    to_come = [any(nodes[name].state == "waiting" for name in batch) for batch in order.batches]
    if any(to_come[: progress.batch]):  # the limits hold some of these batches back
        current = max(current, typical)
    return current + sum(to_come[progress.batch :]) * typical


def began(node: NodeProgress) -> float:
    """When a node began the way that it is on; 0: it has not."""
    return min((at for state, at in node.times.items() if state != "waiting"), default=0.0)


def duration(node: NodeProgress) -> float | None:
    """Seconds that a node took that is through; None for others."""
    return node.times["released"] - began(node) if node.state == "released" else None


def installed(node: Node, progress: NodeProgress) -> str:
    """The manager's image that a node has now; "" while nobody knows: it is being rebooted or installed."""
    state = progress.failed_in or progress.state
    if state in HAS_NEW and (progress.image or progress.way == "out"):
        return progress.image
    if state in HAS_NEW:  # it was on its way back before anything had become of it
        return node.image
    if state in HAS_OLD:
        return installed(node, progress.before) if progress.before else node.image
    return ""


def version(order: Order, image: str) -> str:
    """``IMAGE@N`` of a manager's image, or the image's name when it is no version; "" for none."""
    return str(order.targets[image]) if image in order.targets else image


def following(order: Order, progress: Progress, how: How) -> tuple[Following, ...]:
    """The commands that make sense next, the likeliest first."""
    abort = command_of("abort", order)
    back = Following(command_of("rollback", order), "take the nodes back to what they had")
    touched = any(node.is_touched for node in progress.nodes.values())
    if how == "running":
        stop = Following(abort, "begin nothing new; nodes that are on their way arrive")
        return () if progress.is_aborting else (stop,)
    if how != "ended":
        resume = Following(command_of("resume", order), "go on where it stopped")
        if how == "stopped" and progress.named("failed") and not progress.has_turned:
            resume = Following(
                f"{resume.command} --retry", "go on, failed nodes once more, when they are mended"
            )
        given_up = Following(abort, "give it up: nodes stay as they are")
        return (resume, back, given_up) if touched else (resume, given_up)
    nodes = progress.nodes
    if order.back_of is not None:
        left = [name for name, node in nodes.items() if node.state != "released"]
        back = Following(
            f"{command('rollback', order.cluster, order.back_of)} --nodes {quoted(left)}" if left else "",
            "take back those that are not back yet",
        )
        return (back,) if left else ()
    failed = [name for name in progress.named("failed") if nodes[name].way == "out"]
    again = Following(
        start_again(order, failed) if failed else "",
        "once more with the nodes that failed, when they are mended",
    )
    return (*((again,) if failed else ()), *((back,) if touched else ()))


def _fell(node: NodeProgress) -> bool:
    """Whether it failed on any of its ways."""
    return node.failed_in is not None or (node.before is not None and _fell(node.before))


def _last_change(progress: Progress) -> float:
    return max((node.since for node in progress.nodes.values()), default=0.0)


def _same(said: Iterable[tuple[str, str]]) -> tuple[Said, ...]:
    """What is said of nodes, (name, text) each, with equal texts as one."""
    found: dict[str, list[str]] = {}
    for name, text in said:
        found.setdefault(text, []).append(name)
    return tuple(Said(text, tuple(names)) for text, names in found.items())
