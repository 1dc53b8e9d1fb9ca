"""What a cluster manager's driver does: read, write, survey. Everything else is the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.cluster.objects import Change, Kind, State, Wanted


class Driver(Protocol):
    """The objects of some kinds, wherever they are kept.

    ``read`` and ``survey`` change nothing. Errors are `PipelineError`s that name the object and
    the property in the words of ``objects``, with the ``Ref`` as the place; ``MachineError`` when the manager
    can't be reached or its program is missing.
    """

    name: str
    kinds: frozenset[Kind]

    def read(self, wanted: Sequence[Wanted]) -> State:
        """What there is of these objects (only of this driver's kinds), and of their sources and owners.

        All images, categories, networks and nodes are read in any case. How many programs are run must not
        grow with the number of nodes.
        """
        ...

    def write(self, changes: Sequence[Change], state: State) -> None:
        """Make these changes, in an order in which each finds what it needs; ``state`` is what was read.

        Values are written so that nothing in them can become a command. Raises ``PipelineError`` when one is
        refused, with everything known about which were done; the caller reads back in any case and tells what
        is left, so nothing here is trusted to have worked because no error came.
        """
        ...

    def survey(self) -> State:
        """Everything that there is of this driver's kinds, for writing a first cluster file."""
        ...
