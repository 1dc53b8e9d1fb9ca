"""The lab's head node with its services, hooks on it, and processes that are killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.cluster.drivers.bright.driver import Bright
from pipeline.cluster.drivers.bright.nodes import BrightNodes
from pipeline.cluster.head import Head, Ran
from pipeline.cluster.rollout_written import HookTables
from pipeline.lab.head import start
from pipeline.lab.head.power import put_status
from pipeline.lab.head.state import Store
from pipeline.lab.services import state, switches
from pipeline.lab.services.switches import Services
from pipeline.rollout.hooks.opening import open_hooks
from pipeline.rollout.model import Node
from pipeline.rollout.parts import Answer, Hook

ONE = Node("node001", "openstack-network-nodes")
TWO = Node("node002", "openstack-compute-hosts", osds=(0, 1))
THREE = Node("node003", "openstack-compute-hosts", osds=(2, 3))


class Killed(BaseException):
    """The process is gone at this place."""


class DyingHead(Head, frozen=True):
    """Kills whoever runs the ``at``-th program, just before it runs or just after."""

    at: int = 0
    ran: list[int] = msgspec.field(default_factory=list)
    after: bool = False

    def run(self, argv: Sequence[str], stdin: str = "", *, seconds: float | None = None) -> Ran:
        self.ran.append(0)
        dies = len(self.ran) == self.at
        if dies and not self.after:
            raise Killed
        found = super().run(argv, stdin, seconds=seconds)
        if dies:
            raise Killed
        return found


class ServicesLab:
    """A head node in ``directory``, and the folder where hooks note what they have begun."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "head"
        self.folder = directory / "hooks"
        start.make(self.directory)
        self.head = Head(root=str(self.directory / "root"), programs=(str(self.directory / "bin"),))
        self.tables = HookTables()

    def hook(self, name: str, *, number: int = 12, head: Head | None = None, **tables: Any) -> Hook:
        """A hook that has seen nothing yet, as a new process has it."""
        said = msgspec.structs.replace(self.tables, **tables)
        at = head or self.head
        manager, driver = BrightNodes(self.head), Bright(self.head)
        (found,) = open_hooks([name], said, at, manager, folder=self.folder, number=number, driver=driver)
        return found

    def switch(self, **values: Any) -> None:
        """These services as they are from now on; what isn't named is as usual."""
        switches.write(str(self.directory / state.FOLDER), Services(**values))

    def is_down(self, *names: str) -> None:
        for name in names:
            put_status(self.directory, name, "DOWN")

    def is_up(self, *names: str) -> None:
        for name in names:
            put_status(self.directory, name, "UP")

    def boot(self, name: str) -> None:
        """It was down and is up again, and nobody looked meanwhile."""
        store = Store(str(self.directory))
        with store.changing() as now:
            now["requests"][name] = now["requests"].get(name, 0) + 1
            store.touch()
        self.is_up(name)

    def ran(self, program: str, word: str = "") -> list[list[str]]:
        """The calls of a program, of those with ``word`` among their arguments."""
        return [argv for argv in self.calls() if argv[0] == program and (not word or word in argv)]

    def calls(self) -> list[list[str]]:
        return state.calls(str(self.directory))

    def now(self) -> state.State:
        """What the services keep."""
        return state.read(str(self.directory))

    def change(self, do: Callable[[state.State], object]) -> None:
        """Be somebody else who changes something."""
        with state.changing(str(self.directory)) as kept:
            do(kept)

    def run(self, *argv: str) -> Ran:
        return self.head.run(argv)


def states(answers: Mapping[str, Answer]) -> dict[str, str]:
    return {name: answer.state for name, answer in answers.items()}


Phase = Callable[[ServicesLab, Head | None], object]
"""A part of a node's way; a process after a kill goes on with the one in which it happened."""


def killed_everywhere(make: Callable[[], ServicesLab], phases: Sequence[Phase]) -> Iterator[ServicesLab]:
    """For each program that the phases run: a lab in which they came to their end although the process was
    killed just before that one; and one where it was killed just after the last."""
    counter = _through(make(), phases, 0, False)
    assert counter.ran
    every = [(at, False) for at in range(1, len(counter.ran) + 1)]
    for at, after in [*every, (len(every), True)]:
        lab = make()
        dying = _through(lab, phases, at, after)
        assert len(dying.ran) == at
        yield lab


def _through(lab: ServicesLab, phases: Sequence[Phase], at: int, after: bool) -> DyingHead:
    dying = DyingHead(lab.head.address, lab.head.root, lab.head.programs, at=at, after=after)
    head: Head = dying
    for phase in phases:
        try:
            phase(lab, head)
        except Killed:
            head = lab.head
            phase(lab, head)
    return dying
