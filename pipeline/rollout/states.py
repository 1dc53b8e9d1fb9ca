"""What happened, one event after the other, and how each node is after all of it.

A node goes through ``STATES`` in their order; ``installing`` is left out when nobody saw it. From each of
them it may fail. What is told here is all that the journal keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import msgspec

State = Literal[
    "waiting",
    "preparing",
    "prepared",
    "switched",
    "rebooting",
    "installing",
    "up",
    "provisioned",
    "verified",
    "released",
    "failed",
]
STATES: tuple[State, ...] = get_args(State)

Way = Literal["out", "back"]
"""``out`` to the new version, ``back`` to what the node had."""
WAYS: tuple[Way, ...] = get_args(Way)

Word = Literal[
    "begun",
    "resumed",
    "batch",
    "abort",
    "going back",
    "once more",
    "switching",
    "category",
    "not switched",
    "stopped",
    "ended",
    "note",
]
"""What happens to a rollout as a whole. ``once more``: nodes go out again, and not back; ``switching``: from
here on a category may have its new image, until ``category`` (it has) or ``not switched``; ``stopped``: there
is more to do, and it can be resumed; ``ended``: all nodes are where they stay."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the journal. ``at`` is in seconds since 1970.

    With ``node`` it is about that one: its new ``state``, or without one a note. ``why`` is for people: why a
    node failed or waits, why a rollout stopped. ``facts`` are what tests reported, ``log`` the file with all
    that was printed. ``sync`` is when the node was provisioned before it was rebooted (the manager's clock;
    -1: unknown): a later one is the proof; with ``prepared``: before anything was set. ``failed_checks`` are
    names of checks. ``rebooted``: somebody else has rebooted the node.
    """

    at: float
    word: Word | None = None
    node: str = ""
    state: State | None = None
    why: str = ""
    way: Way = "out"
    batch: int = 0
    sync: float = 0.0
    facts: Mapping[str, str] = {}
    passed: int = 0
    failed_checks: tuple[str, ...] = ()
    log: str = ""
    image: str = ""
    rebooted: bool = False


class NodeProgress(msgspec.Struct, frozen=True):
    """A node after all events. ``since`` is when it came to ``state``; ``began`` when its turn came (0: not
    yet). ``failed_in`` is the state in which it failed, ``why`` why it failed or what it waits for.
    ``before`` is how it was when it was sent the other way: why it was taken back stands there.
    ``rebooted``: it was on this way, at whichever of its turns.
    """

    state: State = "waiting"
    way: Way = "out"
    since: float = 0.0
    began: float = 0.0
    failed_in: State | None = None
    why: str = ""
    sync: float = 0.0
    facts: Mapping[str, str] = {}
    passed: int = 0
    failed_checks: tuple[str, ...] = ()
    log: str = ""
    times: Mapping[str, float] = {}
    notes: tuple[str, ...] = ()
    image: str = ""
    before: NodeProgress | None = None
    rebooted: bool = False

    @property
    def is_away(self) -> bool:
        """Whether users can't rely on it: from the first thing done to it until it is released."""
        return self.state not in ("waiting", "released")

    @property
    def is_settled(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ("released", "failed")

    @property
    def is_moving(self) -> bool:
        """Whether its turn has come, and it is not at its end."""
        return not self.is_settled and self.state != "waiting"

    @property
    def was_rebooted(self) -> bool:
        """Whether it was told to reboot, on any of its ways: what it had may be gone from its disk."""
        before = self.before is not None and self.before.was_rebooted
        return self.rebooted or self.state == "rebooting" or before

    @property
    def is_touched(self) -> bool:
        """Whether there is something to take back: it has the new, or is not back yet."""
        if self.way == "back":
            return self.state != "released"
        return self.was_rebooted or "waiting" not in (self.state, self.failed_in)


class Progress(msgspec.Struct, frozen=True):
    """A rollout after all events. ``outcome`` is "" while it goes on (or was killed), else ``stopped`` or
    ``ended``; ``why`` says more. ``batch`` counts from 1; 0: none has begun. ``switched`` are categories,
    ``switching`` those of which only the cluster manager knows whether they are."""

    nodes: Mapping[str, NodeProgress]
    began: float = 0.0
    ended: float = 0.0
    batch: int = 0
    outcome: Literal["", "stopped", "ended"] = ""
    why: str = ""
    is_aborting: bool = False
    is_going_back: bool = False
    switched: tuple[str, ...] = ()
    switching: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_turned(self) -> bool:
        """Whether nodes have begun to go back: none goes out any more."""
        return self.is_going_back and any(node.way == "back" for node in self.nodes.values())

    def named(self, *states: State) -> tuple[str, ...]:
        """The nodes that are in one of these states."""
        return tuple(name for name, node in self.nodes.items() if node.state in states)


def after(names: Iterable[str], events: Iterable[Event]) -> Progress:
    """How all is after these events."""
    folded = Fold(names)
    for event in events:
        folded.take(event)
    return folded.progress()


class Fold:
    """Takes events one by one; a rollout of thousands of nodes has a hundred thousand of them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.nodes: dict[str, NodeProgress] = {name: NodeProgress() for name in names}
        self.whole = Progress({})
        """All but the nodes."""

    def take(self, event: Event) -> None:
        """Be as after ``event``. One about a node that isn't of this rollout changes nothing."""
        if not event.node:
            self.whole = _whole(self.whole, event)
        elif event.node in self.nodes:
            self.nodes[event.node] = _node(self.nodes[event.node], event)

    def progress(self) -> Progress:
        """A copy of what there is now."""
        return msgspec.structs.replace(self.whole, nodes=dict(self.nodes))


def _whole(now: Progress, event: Event) -> Progress:
    replace = msgspec.structs.replace
    match event.word:
        case "begun":
            return replace(now, began=event.at)
        case "resumed":
            return replace(now, outcome="", why="", ended=0.0, is_aborting=False)
        case "batch":
            return replace(now, batch=event.batch)
        case "abort":
            return replace(now, is_aborting=True)
        case "going back":
            return replace(now, is_going_back=True, why=event.why)
        case "once more":
            return replace(now, is_going_back=False, why="")
        case "switching" | "not switched":
            switching = tuple(name for name in now.switching if name != event.why)
            return replace(now, switching=(*switching, event.why) if event.word == "switching" else switching)
        case "category":
            switching = tuple(name for name in now.switching if name != event.why)
            return replace(now, switched=(*now.switched, event.why), switching=switching)
        case "stopped" | "ended":
            return replace(now, outcome=event.word, why=event.why or now.why, ended=event.at)
        case _:
            return replace(now, notes=(*now.notes, event.why))


def _node(now: NodeProgress, event: Event) -> NodeProgress:
    replace = msgspec.structs.replace
    if event.state is None:
        return replace(now, notes=(*now.notes, event.why))
    if event.state == now.state and event.way == now.way:
        # What it waits for is another thing now.
        return replace(now, why=event.why, rebooted=now.rebooted or event.rebooted)
    kept = _turned(now) if event.way != now.way else now
    return replace(
        kept,
        state=event.state,
        way=event.way,
        since=event.at,
        began=kept.began or event.at,
        failed_in=kept.state if event.state == "failed" else None,
        why=event.why,
        sync=event.sync or kept.sync,
        facts={**kept.facts, **event.facts},
        passed=event.passed or kept.passed,
        failed_checks=event.failed_checks or kept.failed_checks,
        log=event.log or kept.log,
        image=event.image or kept.image,
        times={**kept.times, event.state: event.at},
        # Back in "switched": the manager did not reboot it.
        rebooted=kept.rebooted or event.rebooted or (kept.state == "rebooting" and event.state != "switched"),
    )


def _turned(now: NodeProgress) -> NodeProgress:
    """A node at the beginning of the other way: what is known of it, and nothing of how far it came."""
    return NodeProgress(notes=now.notes, facts=now.facts, began=now.began, before=now)
