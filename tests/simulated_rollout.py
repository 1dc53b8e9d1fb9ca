"""A cluster in memory for rollouts: nodes installed by an artificial clock, hooks, and verification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cluster.drivers.nodes import CategoryFacts, ImageFacts, NodeFacts, NodeStatus, Survey, Sync
from pipeline.errors import MachineError, PipelineError, Problem
from pipeline.rollout import folder as folders
from pipeline.rollout.batches import arrange
from pipeline.rollout.journal import Journal
from pipeline.rollout.model import Check, Finding, Node, Order, Policy, Target, Verdict, Waits
from pipeline.rollout.parts import Answer
from pipeline.rollout.returning import back_order
from pipeline.rollout.running import give_up, run
from pipeline.rollout.states import Event, Progress

if TYPE_CHECKING:
    import pytest

OLD, NEW, OTHER = "web-1", "web-2", "default-image"
BEFORE = Sync(OLD, "FULL", 1.0, True)
WAITS = Waits(prepare=60, begin=60, install=600, start=60, verify=30, release=60, poll=5)


def kill_at_journal(patch: pytest.MonkeyPatch, moment: int, *, written: bool) -> list[int]:
    """Killed at the ``moment``-th write of a journal (0: at none), before it or when it is ``written``.

    Returns what grows by one at each write.
    """
    write, writes = Journal.write, list[int]()

    def killing(journal: Journal, told: Iterable[Event]) -> None:
        writes.append(len(writes) + 1)
        if len(writes) == moment and not written:
            raise Killed
        write(journal, told)
        if len(writes) == moment:
            raise Killed

    patch.setattr(Journal, "write", killing)
    return writes


class Killed(BaseException):
    """SIGKILL, as far as a test can have it: no handler sees it, nothing more is written."""


@dataclass
class Machine:
    """A node. ``rebooted`` is when (None: it is up), ``synced`` is its last provisioning."""

    own: str = ""
    category: str = "web"
    install: str = ""
    rebooted: float | None = None
    synced: Sync = BEFORE
    installs: Counter[str] = field(default_factory=Counter)


@dataclass
class World:
    """The cluster manager and its nodes. ``faults`` maps nodes to what goes wrong with them.

    ``category`` is the image of the category ``web``; there is another one, ``default``.
    """

    names: Sequence[str]
    boot: float = 20.0
    installing: float = 100.0
    faults: dict[str, str] = field(default_factory=dict)
    bad_images: frozenset[str] = frozenset()
    begun: set[str] = field(default_factory=set)
    stuck: frozenset[str] = frozenset()
    now: float = 1000.0
    jump: float = 0.0
    gone: tuple[float, float] = (0.0, 0.0)
    category: str = OLD
    kill_at: int = 0
    count: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    switched: list[tuple[str, str]] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    name: str = "a simulation"

    def __post_init__(self) -> None:
        self.machines = {name: Machine() for name in self.names}

    # The clock

    def clock(self) -> float:
        """The time of day, which somebody may set."""
        return self.now + self.jump

    def ticks(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def effect(self, what: str) -> None:
        """Something is about to be done to the world, or was: here this process may be killed."""
        self.calls[what] += 1
        self.count += 1
        if self.count == self.kill_at:
            raise Killed
        if self.gone[0] <= self.now < self.gone[1]:
            raise MachineError("the head node does not answer")

    def _settle(self, name: str) -> None:
        machine, fault = self.machines[name], self.faults.get(name, "")
        if machine.rebooted is None or fault == "never returns":
            return
        if self.now - machine.rebooted >= self.boot + self.installing and fault != "install fails":
            image = OLD if fault == "wrong image" else self._image(machine)
            good = fault != "half"
            machine.synced = Sync(
                image, machine.install or "AUTO", self.now, good, "" if good else "rsync: 23"
            )
            machine.installs[image] += 1
            machine.install, machine.rebooted = "", None

    def _image(self, machine: Machine) -> str:
        return machine.own or (self.category if machine.category == "web" else OTHER)

    # NodeManager

    def survey(self) -> Survey:
        nodes = {
            name: NodeFacts(name, self._status(name), machine.category, self._image(machine), machine.own)
            for name, machine in self.machines.items()
        }
        images = {name: ImageFacts(name, f"/images/{name}") for name in {OLD, NEW, OTHER, self.category}}
        of = {"web": self.category, "default": OTHER}
        return Survey(nodes, images, {name: CategoryFacts(name, image) for name, image in of.items()})

    def statuses(self, nodes: Sequence[str]) -> Mapping[str, NodeStatus]:
        self.effect("statuses")
        return {name: self._status(name) for name in nodes}

    def _status(self, name: str) -> NodeStatus:
        self._settle(name)
        machine = self.machines[name]
        if machine.rebooted is None:
            return NodeStatus("up")
        if self.now - machine.rebooted < self.boot or self.faults.get(name) == "never returns":
            return NodeStatus("down")
        if self.faults.get(name) == "install fails":
            return NodeStatus("failed", "INSTALLER_FAILED")
        return NodeStatus("installing", "provisioning started")

    def synced(self, nodes: Sequence[str]) -> Mapping[str, Sync]:
        self.effect("synced")
        return {name: self.machines[name].synced for name in nodes}

    def make_image(
        self,
        name: str,
        source: str,
        path: str,
        kernel_parameters: Sequence[str],
        without: Sequence[str] = (),
    ) -> None:
        self.effect("make_image")
        self.begun.add(name)
        self.effect("image begun")
        self.begun.discard(name)

    def drop_begun(self, name: str, path: str) -> None:
        self.effect("drop_begun")
        if name in self.begun & self.stuck:
            raise PipelineError("it is used by category default", where=f"image/{name}")
        self.begun.discard(name)

    def point(self, nodes: Sequence[str], image: str, install: str) -> None:
        self.effect("point")
        refused = [name for name in nodes if self.faults.get(name) == "not pointed"]
        for name in nodes:
            if name not in refused:
                self.machines[name].own, self.machines[name].install = image, install
        self.effect("pointed")
        if refused:
            raise PipelineError(Problem("it is locked", name) for name in refused)

    def switch(self, category: str, image: str) -> None:
        self.effect("switch")
        self.category = image
        self.effect("switched")

    @property
    def noted(self) -> str:
        """What is remembered that the category has."""
        return self.switched[-1][1] if self.switched else OLD

    def note(self, category: str, image: str) -> None:
        """Who remembers what a category has by now."""
        self.effect("note")
        self.switched.append((category, image))
        self.effect("noted")

    def reboot(self, nodes: Sequence[str]) -> None:
        self.effect("reboot")
        refused = [name for name in nodes if self.faults.get(name) == "not rebooted"]
        for name in nodes:
            if name not in refused:
                self.machines[name].rebooted = self.now
        self.effect("rebooted")
        if refused:
            raise PipelineError(Problem("it does not want to", name) for name in refused)

    def update_provisioners(self, image: str) -> None:
        self.effect("update_provisioners")

    def instances(self, nodes: Sequence[str]) -> Mapping[str, str]:
        return dict.fromkeys(nodes, "")

    def terminate(self, nodes: Sequence[str]) -> None:
        raise AssertionError

    def power_on(self, nodes: Sequence[str]) -> None:
        raise AssertionError


@dataclass
class Drain:
    """A hook that takes nodes out of use. What it did is in ``world.held``."""

    world: World
    slow: int = 0
    refuses: frozenset[str] = frozenset()
    stuck: bool = False
    name: str = "drain"
    asked: Counter[str] = field(default_factory=Counter)

    def applies(self, node: Node) -> bool:
        return True

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        return ()

    def steps(self, node: Node) -> tuple[str, ...]:
        return (f"drain {node.name}",)

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        self.world.effect("before")
        return {node.name: self._drained(node.name) for node in nodes}

    def _drained(self, name: str) -> Answer:
        if name in self.refuses:
            return Answer("no", "somebody works there")
        self.world.held[name] = "drained"
        self.asked[name] += 1
        return Answer("done") if self.asked[name] > self.slow else Answer("wait", "a job runs")

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        self.world.effect("after")
        if self.stuck:
            return {node.name: Answer("wait", "it is not well") for node in nodes}
        for node in nodes:
            self.world.held.pop(node.name, None)
        return {node.name: Answer("done") for node in nodes}

    def leave(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        self.world.effect("leave")
        for node in nodes:
            self.world.held[node.name] = "left"
        return {node.name: Answer("done") for node in nodes}


@dataclass
class Judge:
    """Verification: a node is well when it has what it is to have, and that is none of ``bad_images``."""

    world: World

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        return ()

    def steps(self, node: Node, target: Target) -> tuple[str, ...]:
        return ("look",)

    def verify(self, nodes: Sequence[Node], target: Target, folder: Path) -> Mapping[str, Verdict]:
        return {node.name: self._verdict(node.name, target) for node in nodes}

    def _verdict(self, name: str, target: Target) -> Verdict:
        has = self.world.machines[name].synced.image
        if has in self.world.bad_images or has != target.name:
            return Verdict(False, "the agent is dead", (Check("agent", "failed", "dead"),))
        return Verdict(True, "", (Check("agent", "passed"),), {"interface": "eth6"})


class Scene:
    """A world with a rollout in it, from web-1 to web-2; processes that work on it may be killed."""

    def __init__(
        self,
        store: Path,
        world: World,
        policy: Policy,
        nodes: Sequence[Node] = (),
        linked: Mapping[str, str] = {},
        cluster: str = "lab",
    ) -> None:
        self.store, self.world = store, world
        self.nodes = tuple(nodes) or tuple(Node(name, "web", OLD) for name in world.names)
        self.hooks = [Drain(world)]
        self.seen: list[Progress] = []
        self.watch: Callable[[Progress], object] = self.seen.append
        targets = {NEW: Target(NEW, "web", 2, f"/images/{NEW}"), OLD: Target(OLD, "web", 1, f"/images/{OLD}")}
        targets |= {node.image: Target(node.image) for node in self.nodes if node.image not in targets}
        self.order = Order(
            0, cluster, "me", world.now, self.nodes, arrange(self.nodes, policy), targets,
            {node.name: NEW for node in self.nodes}, policy, {"web": NEW}, linked=linked,
        )  # fmt: skip
        self.folder = folders.begin(store, self.order)
        self.order = folders.order_of(self.folder)

    def run(self, *, retry: bool = False, withheld: str = "") -> Progress:
        return run(
            self.folder, self.order, self.world, self.hooks, Judge(self.world), retry=retry,
            watch=self.watch, clock=self.world.clock, ticks=self.world.ticks, pause=self.world.pause,
            switched=self.world.note, withheld=withheld,
        )  # fmt: skip

    def run_to_the_end(self, kill_at: int = 0) -> Progress:
        """Run it, killed once at that effect, and resumed; until it is at its end or was stopped."""
        self.world.count, self.world.kill_at = 0, kill_at
        try:
            return self.run()
        except Killed:
            self.hooks = [Drain(self.world, hook.slow, hook.refuses) for hook in self.hooks]
            return self.run()

    def give_up(self) -> Progress:
        """End it when nobody runs it and it has not ended, as ``abort`` does."""
        world = self.world
        world.kill_at = 0
        kept = folders.read(self.folder.parent, self.number)
        if not kept.is_unfinished:
            return kept.progress
        hooks = [Drain(world)]
        return give_up(self.folder, self.order, world, hooks, "me", world.note, world.clock, world.pause)

    def take_back(self) -> Progress:
        """Give it up, and run another one that takes its nodes back, as ``rollback`` does."""
        kept = folders.read(self.folder.parent, self.number)
        survey, syncs = self.world.survey(), self.world.synced(self.world.names)
        order = back_order(kept, survey, "me", syncs=syncs)
        self.give_up()
        self.order, self.hooks = order, [Drain(self.world)]
        self.folder = folders.begin(self.store, order)
        return self.run()

    @property
    def number(self) -> int:
        return folders.number_of(self.folder)
