"""Rollouts as tests of what is told about them need them."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.rollout.model import Node, Order, Policy, Target
from pipeline.rollout.states import Event, Progress, State, after

T0 = 1_760_000_000.0
OLD, NEW = "openstack-image", "openstack-image-mellanox-2"
WAY: tuple[State, ...] = (
    "preparing",
    "prepared",
    "switched",
    "rebooting",
    "installing",
    "up",
    "provisioned",
    "verified",
    "released",
)


def an_order(batches: Iterable[Iterable[str]] = (("node001",), ("node002", "node003"))) -> Order:
    """Nodes of one category to version 2 of an image, the first batch being the canaries."""
    named = tuple(tuple(names) for names in batches)
    nodes = tuple(Node(name, "computes", OLD) for names in named for name in names)
    return Order(
        number=3,
        cluster="ib",
        who="root",
        when=T0,
        nodes=nodes,
        batches=named,
        targets={NEW: Target(NEW, "openstack-image-mellanox", 2, f"/cm/images/{NEW}"), OLD: Target(OLD)},
        wanted={node.name: NEW for node in nodes},
        policy=Policy(canary=1, max_unavailable=2),
        categories={"computes": NEW},
    )


def goes(name: str, until: State, at: float = T0, step: float = 10.0) -> list[Event]:
    """The events of a node that goes out to ``until``, one each ``step`` seconds."""
    states = WAY[: WAY.index(until) + 1]
    return [
        Event(at + number * step, node=name, state=state, image=NEW if state == "switched" else "")
        for number, state in enumerate(states)
    ]


def how_it_is(order: Order, *events: Event | Iterable[Event]) -> Progress:
    """The progress after these events."""
    flat: list[Event] = []
    for each in events:
        flat += [each] if isinstance(each, Event) else each
    return after((node.name for node in order.nodes), flat)
