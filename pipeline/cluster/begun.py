"""What a cluster manager makes that looks whole before it is: kept until its end is seen.

Whatever ends a process or a connection in between, the next plan still knows that it is not whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.cluster.objects import Kind, Ref


class Begun:
    """Objects, as their manager calls them, that were begun and of which no end was seen.

    ``keep`` is called with all of them whenever they are others: it keeps them where a later process looks.
    """

    def __init__(
        self, names: Iterable[str] = (), keep: Callable[[tuple[str, ...]], None] = lambda names: None
    ) -> None:
        self._names = dict.fromkeys(names)
        self._keep = keep

    @property
    def names(self) -> tuple[str, ...]:
        """The ``str()`` of each."""
        return tuple(self._names)

    def of(self, kind: Kind) -> frozenset[str]:
        """The names of those of a kind."""
        return frozenset(name.removeprefix(f"{kind}/") for name in self._names if name.startswith(f"{kind}/"))

    def begin(self, ref: Ref) -> None:
        """Keep that this one is about to be begun."""
        self._names[str(ref)] = None
        self._keep(self.names)

    def end(self, ref: Ref) -> None:
        """Keep that this one is whole, or that nothing is there of it."""
        if str(ref) in self._names:
            del self._names[str(ref)]
            self._keep(self.names)
