"""What a rollout is, as plain data: which nodes, to what, in which order, within which limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

OnFailure = Literal["stop", "roll back failed", "roll back all"]

OSD_HOSTS = "osd-hosts"
"""The failure domain of all nodes with OSDs: of one value, with a limit of one."""


class Node(msgspec.Struct, frozen=True):
    """A node of a rollout. ``domains`` are its failure domains: ``{"rack": "r1"}``.

    ``osds`` are the Ceph OSDs on it. ``image`` is the manager's image that it is installed from until now,
    and ``own_image`` what is set at the node itself ("": its category's).
    """

    name: str
    category: str
    image: str = ""
    own_image: str = ""
    domains: Mapping[str, str] = {}
    osds: tuple[int, ...] = ()
    is_virtual: bool = False


class Target(msgspec.Struct, frozen=True):
    """What nodes are taken to: ``name`` is the manager's image, made from ``image@version`` (0: no version of
    this store, as before the first rollout), whose directory on the head node is ``path``. When the manager
    has no such image, it becomes a clone of ``source`` with ``kernel_parameters`` and
    ``without`` these of the source's."""

    name: str
    image: str = ""
    version: int = 0
    path: str = ""
    source: str = ""
    kernel_parameters: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.image}@{self.version}" if self.version else self.name


class Waits(msgspec.Struct, frozen=True):
    """How long each step of a node may take, in seconds; afterwards the node has failed."""

    prepare: float = 1800
    begin: float = 600
    install: float = 10800
    start: float = 900
    verify: float = 600
    release: float = 1800
    poll: float = 5


class Policy(msgspec.Struct, frozen=True):
    """Limits, counted in nodes; ``canary`` in those of each category. ``domains`` is how many nodes of each
    value of a failure domain may be away at once, ``failure_budget`` how many may fail before it stops.
    """

    canary: int = 1
    max_unavailable: int = 1
    domains: Mapping[str, int] = {}
    failure_budget: int = 0
    on_failure: OnFailure = "roll back failed"
    install: str = "FULL"
    waits: Waits = Waits()


class Order(msgspec.Struct, frozen=True):
    """A rollout as it was agreed: kept beside its journal, never changed.

    ``batches`` are names of ``nodes``, the canaries first. ``targets`` maps the manager's name of an image
    to what it is; ``wanted`` maps each node to one. ``categories`` maps those of which the rollout has all
    nodes to the image that they are switched to in the end. ``unavailable`` are nodes of the same domains or
    categories that were down before it began. ``own`` maps nodes to what is set at them, where that isn't the
    name of their image: "" where their category has it already. ``neighbours`` are all others that share a
    failure domain with ``nodes``, up or not: what is away of them is seen at each turn.
    ``meant`` is the image that the cluster file gives to each category, ``back_of`` the rollout that this one
    takes back; ``held`` are nodes that users did not have before it either, and get only when they are
    released; ``not_rebooted`` are those that have lost nothing: what was set at them and what hooks did is
    undone, and they are never installed for it. ``had`` maps ``categories`` to what they had when this was
    ordered. ``linked`` maps images that nodes had, whose directory is a link, to that of the version to which
    it led then: nodes go back to that one.
    """

    number: int
    cluster: str
    who: str
    when: float
    nodes: tuple[Node, ...]
    batches: tuple[tuple[str, ...], ...]
    targets: Mapping[str, Target]
    wanted: Mapping[str, str]
    policy: Policy = Policy()
    categories: Mapping[str, str] = {}
    hooks: tuple[str, ...] = ()
    unavailable: tuple[Node, ...] = ()
    own: Mapping[str, str] = {}
    meant: Mapping[str, str] = {}
    back_of: int | None = None
    held: tuple[str, ...] = ()
    neighbours: tuple[Node, ...] = ()
    not_rebooted: tuple[str, ...] = ()
    had: Mapping[str, str] = {}
    linked: Mapping[str, str] = {}

    def back_to(self, image: str) -> str:
        """The image to which nodes go back that had ``image``: a link may lead elsewhere by then."""
        return self.linked.get(image, image)

    def had_before(self, category: str) -> str:
        """The image that a category had when this was ordered; "": an older order does not tell."""
        mine = (node for node in self.nodes if node.category == category and not node.own_image)
        return self.had.get(category) or next((node.image for node in mine), "")


class Check(msgspec.Struct, frozen=True):
    """One test on one node: ``passed``, ``failed``, ``error`` or ``skipped``, and why."""

    name: str
    outcome: str
    why: str = ""
    seconds: float = 0.0


class Verdict(msgspec.Struct, frozen=True):
    """What verification found on a node. ``facts`` are what tests reported: ``{"ib_interface": "eth6"}``;
    ``notes`` say what was not looked at."""

    passed: bool
    why: str = ""
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()


class Finding(msgspec.Struct, frozen=True, order=True):
    """Something about a rollout that is known before anything is touched.

    An ``error`` stops it, a ``warning`` is told. ``where`` is a node, a file or an object; ``hint`` is what
    to do, ``command`` the one to run next. ``unasked``: nothing is known, for nobody could be asked.
    """

    severity: Literal["error", "warning"]
    what: str
    where: str = ""
    hint: str = ""
    command: str = ""
    unasked: bool = False
